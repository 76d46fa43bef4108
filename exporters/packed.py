"""Weights alone in 8 or 4 bits, as single targets store them.

The canonical program holds those of 4 bits as int8 values in -7..7, (groups, group), each group with a scale,
dequantised and then viewed in the weight's shape. Repacking two to a byte changes no value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import Node

INT4_OPSET = 21
"""The first of ONNX's standard domain with INT4."""
LOW, HIGH = -8, 7


def multiply_out_onnx(model: Any, *, pack: bool) -> None:
    """Write stored weights as plain products, in place; with `pack`, as INT4 where they fit. `model` is a ModelProto
    without shapes of its values, which INT4 would contradict.

    before: int8 weight -> DequantizeLinear
    after:  int8 or INT4 weight -> Cast -> Mul by the scales

    ONNX Runtime folds products at load, but never a DequantizeLinear, which it computes again for every answer:
    MCUNet takes 2.4 ms so and 16.5 otherwise. Weights are symmetric, and each scale is of one index of the first axis.
    """
    from onnx import TensorProto, helper, numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in stored:
            nodes.append(node)
            continue
        weight, name = stored[node.input[0]], node.output[0]
        values, scale = numpy_helper.to_array(weight), numpy_helper.to_array(stored[node.input[1]])
        if pack and _fits(values):
            packed = _pairs(values).tobytes()
            weight.CopyFrom(helper.make_tensor(weight.name, TensorProto.INT4, values.shape, packed, raw=True))
        rank = [-1, *[1] * (values.ndim - 1)]
        model.graph.initializer.append(numpy_helper.from_array(scale.reshape(rank).copy(), f"{name}_scale"))
        nodes.append(helper.make_node("Cast", [weight.name], [f"{name}_whole"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}_whole", f"{name}_scale"], [name]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def pack_openvino(model: Any) -> None:
    """Store every int8 constant that is converted to float and whose values fit as i4, in place."""
    import openvino as ov

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Convert":
            continue
        source = node.input_value(0).get_node()
        if source.get_type_name() != "Constant" or source.get_element_type() != ov.Type.i8:
            continue
        values = source.data
        if _fits(values):
            packed = ov.Tensor(_pairs(values), list(values.shape), ov.Type.i4)
            constant = ov.op.Constant(packed, shared_memory=False)  # the pairs are gone when this function ends
            node.input(0).replace_source_output(constant.output(0))


def group_in_place(program: ExportedProgram) -> None:
    """Give stored groups their weight's shape, and their scales the weight's rank, which says what shares one.

    before: int8 (O * G, 32) -> dequantize, scales (O * G,) -> view (O, I, 1, 1)
    after:  int8 (O, I, 1, 1) -> dequantize, scales (O, G, 1, 1)

    Only coremltools reads the graph so, and writes constexpr_blockwise_shift_scale; PyTorch would refuse to run it.
    """
    import torch

    for node in list(program.graph.nodes):
        source = node.args[0] if node.target is torch.ops.aten.view.default else None
        if source is None or source.target is not torch.ops.quantized_decomposed.dequantize_per_channel.default:
            continue
        shape = [int(size) for size in node.args[1]]
        groups = source.args[0].meta["val"].shape[0] // shape[0]
        _reshape(program, source.args[0], shape)
        for scales in source.args[1:3]:
            _reshape(program, scales, [shape[0], groups, *[1] * (len(shape) - 2)])
        source.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(source)
        program.graph.erase_node(node)


def _reshape(program: ExportedProgram, node: Node, shape: list[int]) -> None:
    key = program.graph_signature.inputs_to_buffers[node.name]
    program.state_dict[key] = program.state_dict[key].reshape(shape)
    node.meta["val"] = node.meta["val"].reshape(shape)


def _fits(values: npt.NDArray[np.int8]) -> bool:
    return bool(values.size and values.min() >= LOW and values.max() <= HIGH)


def _pairs(values: npt.NDArray[np.int8]) -> npt.NDArray[np.uint8]:
    """Two values a byte, the first in the lower half."""
    flat = values.ravel()
    flat = np.append(flat, np.zeros(flat.size % 2, np.int8)) & 15
    packed: npt.NDArray[np.uint8] = (flat[0::2] | flat[1::2] << 4).astype(np.uint8)
    return packed
