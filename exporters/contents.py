"""What really is in a written artifact: its weights' types and which layers compute in integers, read from the file.

A layer is a convolution, plain, depthwise or transposed, or a matrix product with a stored operand. It computes in
integers where its weight is stored in 8 bits and its input is quantised too. Each format says so in its own way:
LiteRT and XNNPACK by the types of tensors, the others by a dequantisation of what was quantised right before it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from exporters.base import quiet
from runtime_py.errors import SdkError
from runtime_py.manifest import Contents

if TYPE_CHECKING:
    from exporters.mil.program import Argument, Operation

BYTES = frozenset({"int8", "uint8"})


class UnreadableArtifact(SdkError):
    """A file that is not what its target writes."""

    id = "unreadable-artifact"


@dataclass(frozen=True)
class Layer:
    """One layer of a file: elements of its weight, their type (`float16`, `int8`, ...), and whether both its operands
    are bytes."""

    elements: int
    stored: str
    integer: bool


def contents(target: str, path: Path) -> Contents | None:
    """What is in the artifact at `path`; None for a target that has no reader here. Raises UnreadableArtifact."""
    reader = READERS.get(target)
    if reader is None:
        return None
    try:
        with quiet():
            layers = list(reader(path))
    except SdkError:
        raise
    except Exception as error:  # five parsers, each with errors of its own
        raise UnreadableArtifact(
            f"{path.name}: {type(error).__name__}: {error}", expected=f"a file that was exported for {target}"
        ) from error
    weights: Counter[str] = Counter()
    for layer in layers:
        weights[layer.stored] += layer.elements
    return Contents(weights=dict(weights), layers=len(layers), integer_layers=sum(layer.integer for layer in layers))


def _tflite(path: Path) -> Iterator[Layer]:
    """By tensors' types: LiteRT's integer kernels are those whose tensors are integers."""
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    if not schema.Model.ModelBufferHasIdentifier(data, 0):
        raise UnreadableArtifact(f"{path.name} has no LiteRT identifier", expected="a .tflite file")
    model = schema.Model.GetRootAs(data)
    kinds = schema.BuiltinOperator
    places = {  # of the weight and of the input
        kinds.CONV_2D: (1, 0), kinds.DEPTHWISE_CONV_2D: (1, 0), kinds.CONV_3D: (1, 0), kinds.FULLY_CONNECTED: (1, 0),
        kinds.TRANSPOSE_CONV: (1, 2), kinds.BATCH_MATMUL: (1, 0),
    }  # fmt: skip
    names = {value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
    codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        operators = [graph.Operators(index) for index in range(graph.OperatorsLength())]
        source = {
            operator.Outputs(0): operator.Inputs(0)
            for operator in operators
            if codes[operator.OpcodeIndex()].BuiltinCode() in (kinds.DEQUANTIZE, kinds.RESHAPE, kinds.TRANSPOSE)
        }
        for operator in operators:
            where = places.get(codes[operator.OpcodeIndex()].BuiltinCode())
            if where is None:
                continue
            read, given = (operator.Inputs(place) for place in where)
            number = read
            while number in source:
                number = source[number]
            weight, value = graph.Tensors(number), graph.Tensors(given)
            buffer = model.Buffers(weight.Buffer())
            if buffer.DataLength() == 0 and buffer.Offset() < 2:  # a product of two activations
                continue
            stored = names[weight.Type()]
            given_bytes = names[graph.Tensors(read).Type()] == "int8"  # not what a DEQUANTIZE makes of them
            integer = given_bytes and names[value.Type()] in ("int8", "int16")
            yield Layer(prod(weight.ShapeAsNumpy().tolist()), stored, integer)


def _onnx(path: Path) -> Iterator[Layer]:
    """By what is dequantised right before a layer, which a runtime may fuse, and by integer operators themselves."""
    import onnx

    graph = onnx.load(path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    stored |= {
        node.output[0]: attribute.t
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    source = {name: node for node in graph.node for name in node.output}
    shapes = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity"}

    def behind(name: str, through: Iterable[str]) -> str:
        while name not in stored and name in source and source[name].op_type in through:
            sides = source[name].input[: 2 if source[name].op_type == "Mul" else 1]
            name = next((side for side in sides if side not in stored), sides[0])  # of a product: not the scales
        return name

    def quantised(name: str) -> bool:
        expanded = source.get(behind(name, shapes))
        if expanded is None or expanded.op_type != "DequantizeLinear":
            return False
        whole = source.get(behind(expanded.input[0], {*shapes, "MaxPool"}))
        return whole is not None and whole.op_type in ("QuantizeLinear", *_INTEGER_ONNX)

    for node in graph.node:
        places = {**_FLOAT_ONNX, **_INTEGER_ONNX}.get(node.op_type)
        if places is None:
            continue
        weight = stored.get(behind(node.input[places[1]], {*shapes, "DequantizeLinear", "Cast", "Mul"}))
        if weight is None:
            continue
        kind = onnx.helper.tensor_dtype_to_np_dtype(weight.data_type).name
        integer = kind in BYTES and (node.op_type in _INTEGER_ONNX or quantised(node.input[places[0]]))
        yield Layer(prod(weight.dims), kind, integer)


_FLOAT_ONNX = {"Conv": (0, 1), "ConvTranspose": (0, 1), "Gemm": (0, 1), "MatMul": (0, 1)}
_INTEGER_ONNX = {"QLinearConv": (0, 3), "QLinearMatMul": (0, 3), "ConvInteger": (0, 1), "MatMulInteger": (0, 1)}
"""Places of the input and of the weight."""


def _openvino(path: Path) -> Iterator[Layer]:
    """By the FakeQuantize before a layer: the CPU plugin computes in integers between it and a weight of bytes."""
    import openvino as ov

    kinds = {
        "Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul",
    }  # fmt: skip
    types = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"} | {
        f"{sign[0]}{bits}": f"{sign}{bits}" for sign in ("int", "uint") for bits in (4, 8)
    }
    shapes = {"Reshape", "Transpose", "Squeeze", "Unsqueeze"}

    def behind(node: Any, through: Iterable[str]) -> Any:
        while node.get_type_name() in through:
            sides = [port.get_source_output() for port in node.inputs()]
            node = max(sides, key=lambda side: prod(side.get_shape())).get_node()  # not the scale, nor the shape
        return node

    for node in ov.Core().read_model(path / "model.xml").get_ordered_ops():
        if node.get_type_name() not in kinds:
            continue
        data, read = (port.get_source_output().get_node() for port in node.inputs()[:2])
        weight = behind(read, {*shapes, "Convert", "Multiply", "Subtract", "FakeQuantize"})
        if weight.get_type_name() != "Constant":
            continue
        kind = weight.get_element_type().get_type_name()
        rounded = behind(data, {*shapes, "MaxPool"}).get_type_name() == "FakeQuantize"
        stored = types.get(kind, kind)
        yield Layer(prod(weight.get_output_shape(0)), stored, stored in BYTES and rounded)


def _coreml(path: Path) -> Iterator[Layer]:
    """By MIL's `quantize` and `dequantize` around an operator, which Core ML fuses into it."""
    from exporters.mil.package import read_program

    program = read_program(path)
    source = {output.name: operation for operation in program.operations for output in operation.outputs}
    names = {"fp32": "float32", "fp16": "float16"}
    places = {"conv": ("x", "weight"), "conv_transpose": ("x", "weight"), "linear": ("x", "weight"),
              "matmul": ("x", "y")}  # fmt: skip
    for operation in program.operations:
        place = places.get(operation.type)
        if place is None:
            continue
        weight = _mil_weight(operation.inputs[place[1]], source)
        if weight is not None:
            stored = names.get(weight[0], weight[0])
            yield Layer(weight[1], stored, stored in BYTES and _mil_quantised(operation.inputs[place[0]], source))


_MIL_SHAPES = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "identity"})
_MIL_STORED = {
    "dequantize": "input", "constexpr_affine_dequantize": "quantized_data", "constexpr_blockwise_shift_scale": "data",
    "constexpr_lut_to_dense": "indices", "cast": "x", **dict.fromkeys(_MIL_SHAPES, "x"),
}  # fmt: skip
"""Operators between a weight and its layer, and which of their arguments holds the numbers."""


def _mil_weight(argument: Argument, source: dict[str, Operation]) -> tuple[str, int] | None:
    """Type and elements of the constant behind an argument; None for an activation."""
    from exporters.mil.program import Constant

    value = argument[0]
    while not isinstance(value, Constant):
        operation = source.get(value.name)
        if operation is None:
            return None
        if operation.type == "const":
            value = operation.attributes["val"]
        elif operation.type in _MIL_STORED:
            name = _MIL_STORED[operation.type]
            value = operation.inputs[name][0] if name in operation.inputs else operation.attributes[name]
        else:
            return None
    return value.type.dtype, prod(size or 1 for size in value.type.shape)


def _mil_quantised(argument: Argument, source: dict[str, Operation]) -> bool:
    """Whether an activation is dequantised from what a `quantize` gave."""
    expanded = _mil_behind(argument, _MIL_SHAPES, source)
    if expanded is None or expanded.type != "dequantize":
        return False
    whole = _mil_behind(expanded.inputs["input"], _MIL_SHAPES | {"max_pool"}, source)
    return whole is not None and whole.type == "quantize"


def _mil_behind(argument: Argument, through: Iterable[str], source: dict[str, Operation]) -> Operation | None:
    operation = source.get(getattr(argument[0], "name", ""))
    while operation is not None and operation.type in through:
        operation = source.get(getattr(operation.inputs["x"][0], "name", ""))
    return operation


def _executorch(path: Path) -> Iterator[Layer]:
    """By the types of values in XNNPACK's own graphs, one a partition, and of the kernels outside of them."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    program = deserialize_pte_binary(path.read_bytes()).program
    graphs = [
        bytes(program.backend_delegate_data[delegate.processed.index].data)
        for plan in program.execution_plan
        for delegate in plan.delegates
        if delegate.id == "XnnpackBackend"
    ]
    for graph in _xnnpack_graphs(graphs):
        yield from _xnnpack(graph)
    for plan in program.execution_plan:
        yield from _portable(plan)


def _xnnpack_graphs(payloads: Iterable[bytes]) -> Iterator[Any]:
    """XNNPACK's graphs as JSON, by the flatc and the schema that ExecuTorch brings; their weights lie behind them."""
    from importlib import resources

    from executorch.backends.xnnpack import serialization
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader
    from executorch.exir._serialize._flatbuffer import _get_flatc_path

    schema = resources.files(serialization).joinpath("schema.fbs").read_bytes()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "schema.fbs").write_bytes(schema)
        files = []
        for number, payload in enumerate(payloads):
            header = XNNHeader.from_bytes(payload[: XNNHeader.EXPECTED_LENGTH])
            start = header.flatbuffer_offset
            files.append(folder / f"{number}.bin")
            files[-1].write_bytes(payload[start : start + header.flatbuffer_size])
        if files:
            command = [_get_flatc_path(), "--json", "--strict-json", "--defaults-json", "-o", name]
            subprocess.run([*command, folder / "schema.fbs", "--", *files], check=True, capture_output=True)
        for file in files:
            text = file.with_suffix(".json").read_bytes()
            yield json.loads(re.sub(rb": (-?)inf\b", rb": \1Infinity", text))  # a layer without a clamp's bounds


_XNNPACK_TYPES = {
    "fp32": "float32", "pfp32": "float32", "fp16": "float16", "bf16": "bfloat16", "qint8": "int8", "qcint8": "int8",
    "quint8": "uint8", "qdint8": "int8", "qpint8": "int8", "qcint4": "int4", "qbint4": "int4",
}  # fmt: skip


def _xnnpack(graph: Any) -> Iterator[Layer]:
    values = {}
    for row in graph["xvalues"]:
        value = row["xvalue_union"]
        value = value.get("tensor_value", value)  # a quantised one has its tensor inside
        values[value["id_out"]] = value

    def kind(number: int) -> str:
        name = str(values[number]["datatype"]).removeprefix("xnn_datatype_")
        return str(_XNNPACK_TYPES.get(name, name))

    for row in graph["xnodes"]:
        node, multiplies = row["xnode_union"], row["xnode_union_type"] == "XNNBatchMatrixMultiply"
        number = node["input2_id"] if multiplies else node.get("filter_id")
        if number is None or values[number]["constant_buffer_idx"] == 0:
            continue
        stored = kind(number)
        yield Layer(prod(values[number]["dims"]), stored, stored in BYTES and kind(node["input1_id"]) in BYTES)


_PORTABLE = {"aten::convolution": 1, "aten::linear": 1, "aten::mm": 1, "aten::bmm": 1, "aten::addmm": 2}
"""Kernels with a weight, and its place; they compute in float."""


def _portable(plan: Any) -> Iterator[Layer]:
    """Layers outside of the partitions whose weight is stored, be it behind a dequantisation."""
    calls = [
        (plan.operators[step.instr_args.op_index].name, step.instr_args.args)
        for chain in plan.chains
        for step in chain.instructions
        if hasattr(step.instr_args, "op_index")
    ]
    expanded = {args[-1]: args[0] for name, args in calls if "::dequantize" in name}
    for name, args in calls:
        if name not in _PORTABLE:
            continue
        read = args[_PORTABLE[name]]
        weight = plan.values[expanded.get(read, read)].val
        if weight.data_buffer_idx > 0 or weight.extra_tensor_info is not None:  # stored inside, or by name
            yield Layer(prod(weight.sizes), _SCALARS.get(weight.scalar_type.name, "other"), integer=False)


_SCALARS = {"FLOAT": "float32", "HALF": "float16", "CHAR": "int8", "BYTE": "uint8"}


def _mcu(path: Path) -> Iterator[Layer]:
    """By the tables of the generated C, which holds nothing but bytes."""
    text = (path / "model.c").read_text(encoding="utf-8")
    sizes = {name: int(size) for name, size in re.findall(r"static const int8_t weight_(\d+)\[(\d+)\]", text)}
    rows = re.findall(r"\{MCU_(CONV|POINTWISE|DEPTHWISE), [^}]*\bweight_(\d+)", text)
    if not rows:
        raise UnreadableArtifact(f"{path.name} holds no layer", expected="the sources that sdk export writes")
    for _, number in rows:
        yield Layer(sizes[number], "int8", integer=True)


READERS: dict[str, Callable[[Path], Iterator[Layer]]] = {
    "coreml": _coreml,
    "tflite": _tflite,
    "executorch": _executorch,
    "openvino": _openvino,
    "onnx": _onnx,
    "mcu": _mcu,
}
