"""LiteRT's operators: its interpreter times none, so the file is cut into one file an operator, and each is timed.

The pieces run one after the other, round after round, as the network's operators do, so that weights are as cold as
there; what a piece reads and writes is touched right before, as the network's operators find it warm. What an operator
computes from constants (a dequantisation of weights) goes along with its readers, and so does a padding that a
convolution alone reads, which XNNPACK makes one operator of. What the interpreter takes to be called is measured with a
piece that does nothing to speak of, and subtracted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from devices.operators import NotTimed, Timed
from devices.steady import middle, steady
from runtime_py.bundle import Bundle
from runtime_py.manifest import Artifact

IDENTIFIER = b"TFL3"
WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "CONV_3D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}
"""Which input is the weight."""
PADDED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})


@dataclass(frozen=True)
class Piece:
    """Operators of the graph, by number, that are timed as one: the last gives it its name."""

    operators: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def timed(bundle: Bundle, artifact: Artifact, threads: int, inputs: Mapping[str, Any]) -> list[Timed]:
    """The operators of the file, in its order."""
    try:
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise NotTimed(
            "LiteRT's file format comes with ai-edge-litert, which is not here: tflite-runtime lacks it",
            hint="pip install ai-edge-litert",
        ) from error
    model = read(bundle.path / artifact.file, schema)
    graph, kinds = model.subgraphs[0], names_of(model, schema)
    found = list(pieces(graph, kinds, model.buffers))
    made = [_Loaded(Interpreter, cut(model, graph, piece, schema), threads) for piece in found]
    empty = _Loaded(Interpreter, nothing(schema), threads)
    samples: list[list[float]] = [[] for _ in made]
    called: list[float] = []
    clock = perf_counter

    def round_of_all() -> None:
        for one, times in zip(made, samples, strict=True):
            one.warm()
            start = clock()
            one.invoke()
            times.append(clock() - start)
        empty.warm()
        start = clock()
        empty.invoke()
        called.append(clock() - start)

    round_of_all()
    pulses = [0.0, *steady(round_of_all)]
    overhead = middle(called, pulses)
    return [
        _timed(piece, kinds, graph, schema, 1e3 * max(0.0, middle(times, pulses) - overhead))
        for piece, times in zip(found, samples, strict=True)
    ]


def read(path: Path, schema: Any) -> Any:
    """The model of a .tflite as plain objects. Raises NotTimed for one with several graphs or weights outside."""
    data = path.read_bytes()
    if data[4:8] != IDENTIFIER:
        raise NotTimed(f"{path.name} has no LiteRT identifier", expected="a .tflite file")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(data), 0))
    if len(model.subgraphs) != 1:
        raise NotTimed(f"{path.name} has {len(model.subgraphs)} graphs", expected="one, without branches or loops")
    if any(buffer.offset > 1 for buffer in model.buffers):  # what 2 GB cannot hold is stored behind the graph
        raise NotTimed(f"{path.name} has weights outside of its graph", expected="a file of less than 2 GB")
    return model


def names_of(model: Any, schema: Any) -> list[str]:
    """The kind of each operator of the graph, such as CONV_2D."""
    codes = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    numbers = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    return [codes.get(numbers[operator.opcodeIndex], "CUSTOM") for operator in model.subgraphs[0].operators]


def pieces(graph: Any, kinds: Sequence[str], buffers: Sequence[Any]) -> Iterator[Piece]:
    """What to time: each operator with what it cannot be timed without."""
    stored = {index for index, tensor in enumerate(graph.tensors) if len(_data(buffers[tensor.buffer]))}
    maker = {int(made): number for number, operator in enumerate(graph.operators) for made in operator.outputs}
    readers = Counter(int(given) for operator in graph.operators for given in operator.inputs)
    readers.update(int(made) for made in graph.outputs)
    constant = set(stored)
    for operator in graph.operators:  # inputs come before their users
        if all(int(given) in constant or given < 0 for given in operator.inputs):
            constant.update(int(made) for made in operator.outputs)
    padding = {
        int(graph.operators[number].outputs[0]): number
        for number, kind in enumerate(kinds)
        if kind in ("PAD", "PADV2") and readers[int(graph.operators[number].outputs[0])] == 1
    }
    fused = {
        padding[int(operator.inputs[0])]
        for operator, kind in zip(graph.operators, kinds, strict=True)
        if kind in PADDED and int(operator.inputs[0]) in padding
    }
    for number, operator in enumerate(graph.operators):
        if number in fused or all(int(made) in constant for made in operator.outputs):
            continue
        before = (
            {padding[int(operator.inputs[0])]} & fused
            if len(operator.inputs) and int(operator.inputs[0]) in padding
            else set()
        )
        own = [*sorted({*before, *_behind([number, *before], graph, maker, constant - stored)}), number]
        given = dict.fromkeys(
            int(one)
            for each in own
            for one in graph.operators[each].inputs
            if one >= 0 and int(one) not in constant and maker.get(int(one)) not in own
        )
        yield Piece(tuple(own), tuple(given), tuple(int(made) for made in operator.outputs))


def _behind(numbers: Sequence[int], graph: Any, maker: Mapping[int, int], computed: set[int]) -> set[int]:
    """Operators that compute, from constants alone, what these read."""
    needed = {maker[int(one)] for each in numbers for one in graph.operators[each].inputs if int(one) in computed}
    return needed | _behind(sorted(needed), graph, maker, computed) if needed else needed


def cut(model: Any, graph: Any, piece: Piece, schema: Any) -> bytes:
    """The piece as a .tflite of its own."""
    operators = [copy(graph.operators[number]) for number in piece.operators]
    used = dict.fromkeys([*piece.inputs, *piece.outputs])
    used |= dict.fromkeys(
        int(one) for each in operators for side in (each.inputs, each.outputs) for one in side if one >= 0
    )
    place = {tensor: index for index, tensor in enumerate(used)}
    own, alone = schema.ModelT(), schema.SubGraphT()
    own.version, own.operatorCodes, own.buffers = 3, model.operatorCodes, [schema.BufferT()]
    alone.tensors = []
    for tensor in used:
        moved = copy(graph.tensors[tensor])
        if len(_data(model.buffers[moved.buffer])):
            own.buffers.append(model.buffers[moved.buffer])
            moved.buffer = len(own.buffers) - 1
        else:
            moved.buffer = 0
        alone.tensors.append(moved)
    for each in operators:
        each.inputs = np.array([place.get(int(one), -1) for one in each.inputs], np.int32)
        each.outputs = np.array([place[int(one)] for one in each.outputs], np.int32)
        each.intermediates = None
    alone.operators = operators
    alone.inputs = np.array([place[one] for one in piece.inputs], np.int32)
    alone.outputs = np.array([place[one] for one in piece.outputs], np.int32)
    own.subgraphs = [alone]
    return packed(own)


def nothing(schema: Any) -> bytes:
    """A file that adds two numbers: what it takes to call the interpreter."""
    model, graph, add, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    add.opcodeIndex, add.inputs, add.outputs = 0, np.array([0, 0], np.int32), np.array([1], np.int32)
    add.builtinOptionsType, add.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.tensors = [_tensor(schema, name, (1,), schema.TensorType.FLOAT32) for name in ("a", "b")]
    graph.operators, graph.inputs, graph.outputs = [add], np.array([0], np.int32), np.array([1], np.int32)
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    return packed(model)


def product(schema: Any, side: int) -> bytes:
    """A file that multiplies two square int8 matrices, one of them stored: a 1 x 1 convolution of side x 1 pixels."""
    model, graph, layer, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 3
    layer.opcodeIndex, layer.inputs, layer.outputs = 0, np.array([0, 1, 2], np.int32), np.array([3], np.int32)
    layer.builtinOptionsType, layer.builtinOptions = schema.BuiltinOptions.Conv2DOptions, schema.Conv2DOptionsT()
    layer.builtinOptions.strideH = layer.builtinOptions.strideW = 1
    layer.builtinOptions.dilationHFactor = layer.builtinOptions.dilationWFactor = 1
    layer.builtinOptions.padding = schema.Padding.VALID
    weight, bias = schema.BufferT(), schema.BufferT()
    weight.data = np.random.default_rng(0).integers(-127, 128, side * side, np.int8).view(np.uint8)
    bias.data = np.zeros(4 * side, np.uint8)
    graph.tensors = [
        _tensor(schema, "given", (1, side, 1, side), schema.TensorType.INT8),
        _tensor(schema, "weight", (side, 1, 1, side), schema.TensorType.INT8, 1),
        _tensor(schema, "bias", (side,), schema.TensorType.INT32, 2),
        _tensor(schema, "made", (1, side, 1, side), schema.TensorType.INT8),
    ]
    for tensor, scale in zip(graph.tensors, (0.02, 0.005, 0.0001, 0.05), strict=True):
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale = np.array([scale], np.float32)
        tensor.quantization.zeroPoint = np.array([0], np.int64)
    graph.operators, graph.inputs, graph.outputs = [layer], np.array([0], np.int32), np.array([3], np.int32)
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT(), weight, bias]
    return packed(model)


def _tensor(schema: Any, name: str, shape: tuple[int, ...], kind: int, buffer: int = 0) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, np.array(shape, np.int32), kind, buffer
    return tensor


def packed(model: Any) -> bytes:
    """The bytes of a .tflite."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _data(buffer: Any) -> Any:
    return () if buffer.data is None else buffer.data


class _Loaded:
    """A piece that is ready to run, and what it is given."""

    def __init__(self, interpreter: Any, content: bytes, threads: int) -> None:
        self._interpreter = interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        generator = np.random.default_rng(0)
        self._given: dict[int, Any] = {}
        for detail in self._interpreter.get_input_details():
            shape, kind = detail["shape"], np.dtype(detail["dtype"])
            values = generator.random(shape) if kind.kind == "f" else generator.integers(0, 2, shape)
            self._given[detail["index"]] = values.astype(kind)
        self._made = [detail["index"] for detail in self._interpreter.get_output_details()]
        self.invoke = self._interpreter.invoke
        self.warm()
        self.invoke()

    def warm(self) -> None:
        """Write the inputs and the outputs. The views must be gone before the interpreter runs."""
        for index, values in self._given.items():
            self._interpreter.tensor(index)()[...] = values
        for index in self._made:
            self._interpreter.tensor(index)()[...] = 0


def _timed(piece: Piece, kinds: Sequence[str], graph: Any, schema: Any, ms: float) -> Timed:
    number = piece.operators[-1]
    operator, kind, types = graph.operators[number], kinds[number], schema.TensorType
    given, made = [int(one) for one in operator.inputs], graph.tensors[int(operator.outputs[0])]
    place = WEIGHTS.get(kind)
    name = made.name.decode(errors="replace") if isinstance(made.name, bytes) else str(made.name)
    return Timed(
        name, kind, ms,
        weights=prod(_shape(graph.tensors[given[place]])) if place is not None else None,
        output=prod(_shape(made)),
        integers=graph.tensors[given[0]].type in (types.INT8, types.UINT8, types.INT16),
    )  # fmt: skip


def _shape(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]
