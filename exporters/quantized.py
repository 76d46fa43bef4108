"""The canonical quantised program as single targets want its stored weights."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

aten, q = torch.ops.aten, torch.ops.quantized_decomposed
DEQUANTIZE = frozenset({q.dequantize_per_channel.default, q.dequantize_per_tensor.default})
QUANTIZE = frozenset({q.quantize_per_channel.default, q.quantize_per_tensor.default})


LARGEST_PAIR = 127.5
"""Two neighbours' sum: times 255, the largest unsigned byte, it stays below 2^15."""


def is_quantized(program: ExportedProgram) -> bool:
    """Whether a program holds quantised values."""
    return any(node.target in DEQUANTIZE for node in program.graph.nodes)


def computes_in_integers(program: ExportedProgram) -> bool:
    """Whether activations are quantised too. Where weights alone are, all is computed in float."""
    return any(node.target in QUANTIZE for node in program.graph.nodes)


def has_wide_values(program: ExportedProgram) -> bool:
    """Whether activations have 16 bits."""
    return any(node.target in QUANTIZE and torch.int16 in node.args for node in program.graph.nodes)


def unfolded(program: ExportedProgram) -> ExportedProgram:
    """Float weights, quantised in the graph: litert-torch knows a quantised weight by its two operators.

    before: int8 weight -> dequantize
    after:  float weight -> quantize -> dequantize
    """

    def rewrite(network: GraphModule, node: Node, stored: Node, key: str) -> None:
        network.register_buffer(key, _real(network, node))
        per_channel = node.target is q.dequantize_per_channel.default
        operator = q.quantize_per_channel.default if per_channel else q.quantize_per_tensor.default
        with network.graph.inserting_before(node):
            real = network.graph.get_attr(key)
            real.meta = dict(node.meta)
            whole = network.graph.call_function(operator, (real, *node.args[1:]))
            whole.meta = dict(stored.meta)
        node.replace_input_with(stored, whole)

    return _rewritten(program, rewrite)


def multiplied_out(program: ExportedProgram) -> ExportedProgram:
    """Weights as plain products, which OpenVINO's frontend keeps as integers. They are symmetric.

    before: int8 weight -> dequantize
    after:  int8 weight -> float -> * scale
    """

    def rewrite(network: GraphModule, node: Node, stored: Node, key: str) -> None:
        assert _attribute(network, stored).dtype == torch.int8  # what the quantiser writes
        network.register_buffer(f"{key}_scale", _scale(network, node))
        with network.graph.inserting_before(node):
            real = network.graph.call_function(aten.to.dtype, (stored, torch.float32))
            factor = network.graph.get_attr(f"{key}_scale")
            product = network.graph.call_function(aten.mul.Tensor, (real, factor))
        product.meta = dict(node.meta)
        node.replace_all_uses_with(product)
        network.graph.erase_node(node)

    return _rewritten(program, rewrite)


def unsigned(program: ExportedProgram) -> ExportedProgram:
    """Activations as unsigned bytes: ONNX Runtime on x86 leaves half of the layers in float where they are signed.
    Inputs and outputs of int8 stay what they are.

    before: quantize to int8 with zero point z, -128..127
    after:  quantize to uint8 with zero point z + 128, 0..255: the same real numbers
    """
    from exporters.edges import bridged, has_edges, input_edges, output_edges

    network = (bridged(program) if has_edges(program) else program).module(check_guards=False)
    kept = {node for node, _ in stored_weights(network)}
    kept |= {*input_edges(network.graph), *output_edges(network.graph)}
    for node in network.graph.nodes:
        kind = node.target in (q.quantize_per_tensor.default, q.dequantize_per_tensor.default)
        if kind and node not in kept and node.args[5] is torch.int8:
            node.args = (*node.args[:2], int(node.args[2]) + 128, 0, 255, torch.uint8)
    network.recompile()
    args, kwargs = program.example_inputs
    return torch.export.export(network, args, kwargs)


def safe_in_pairs(program: ExportedProgram) -> ExportedProgram:
    """Weights that no x86 CPU's sums overflow on.

    Without VNNI, `vpmaddubsw` multiplies unsigned by signed bytes and adds two neighbours in 16 bits, which saturate
    where two large weights of one sign meet two large activations: MCUNet's answers fall from 19 to 3 dB. Weights of
    7 bits are the usual way out, and cost 8 dB of the 19. But few channels have such neighbours. So each output
    channel's weights shrink (and its scale grows) only until its own largest pair is safe, by 1.2 on average, and
    are rounded along the channel with the error carried on, which keeps what the channel answers to an even input:
    less than 1 dB. Where weights alone are quantised no such sum is made, and the program stays as it is.
    """
    if not computes_in_integers(program):
        return program

    def rewrite(network: GraphModule, node: Node, stored: Node, key: str) -> None:
        weight, scales = _attribute(network, stored), node.args[1]
        if node.target is not q.dequantize_per_channel.default or node.args[3] != 0 or not isinstance(scales, Node):
            return
        factor = (_largest_pair(weight) / LARGEST_PAIR).clamp(min=1.0)
        if not bool((factor > 1.0).any()):
            return
        network.register_buffer(f"{key}_safe", _carried(weight, factor))
        network.register_buffer(f"{key}_grown", _attribute(network, scales) * factor.to(_attribute(network, scales)))
        with network.graph.inserting_before(node):
            for old, name in ((stored, f"{key}_safe"), (scales, f"{key}_grown")):
                new = network.graph.get_attr(name)
                new.meta = dict(old.meta)
                node.replace_input_with(old, new)

    return _rewritten(program, rewrite)


def _largest_pair(weight: Tensor) -> Tensor:
    """Of each output channel (O,): the largest sum of neighbours, in the order in which kernels add up: the input
    channels of one place, then the next place's. Depthwise kernels add no neighbours."""
    if weight.dim() > 2 and weight.shape[1] == 1:
        return torch.zeros(weight.shape[0])
    row = _in_order(weight)
    if row.shape[1] < 2:
        return torch.zeros(weight.shape[0])
    return (row[:, 1:] + row[:, :-1]).abs().amax(1)


def _carried(weight: Tensor, factor: Tensor) -> Tensor:
    """The weight over `factor` (O,), rounded one after the other with each error added to the next; int8."""
    row = _in_order(weight) / factor[:, None]
    whole, carry = torch.empty_like(row), torch.zeros(row.shape[0])
    for index in range(row.shape[1]):
        value = row[:, index] + carry
        whole[:, index] = value.round()
        carry = value - whole[:, index]
    shrunk = torch.where((factor > 1.0)[:, None], whole, _in_order(weight)).clamp(-127, 127).to(torch.int8)
    if weight.dim() == 2:
        return shrunk
    places = weight[0, 0].numel()
    return shrunk.reshape(weight.shape[0], places, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def _in_order(weight: Tensor) -> Tensor:
    """(O, C, ...) as (O, places * C), float."""
    return weight.flatten(2).transpose(1, 2).flatten(1).float() if weight.dim() > 2 else weight.float()


def stored_weights(network: GraphModule) -> Iterator[tuple[Node, Node]]:
    """Each dequantisation of a stored tensor, and the node of that tensor."""
    for node in list(network.graph.nodes):
        if node.target in DEQUANTIZE and isinstance(node.args[0], Node) and node.args[0].op == "get_attr":
            yield node, node.args[0]


def _rewritten(program: ExportedProgram, rewrite: Any) -> ExportedProgram:
    args, kwargs = program.example_inputs
    network = program.module(check_guards=False)
    for index, (node, stored) in enumerate(stored_weights(network)):
        rewrite(network, node, stored, f"quantized_{index}")
    network.graph.eliminate_dead_code()
    network.recompile()
    return torch.export.export(network, args, kwargs)


def _attribute(network: GraphModule, node: Node) -> Tensor:
    value: Any = network
    for part in str(node.target).split("."):
        value = getattr(value, part)
    found: Tensor = value
    return found


def _real(network: GraphModule, node: Node) -> Tensor:
    """What a dequantisation of stored tensors gives."""
    args = [_attribute(network, arg) if isinstance(arg, Node) else arg for arg in node.args]
    real: Tensor = node.target(*args, **node.kwargs)  # type: ignore[operator]  # an operator of torch
    return real


def _scale(network: GraphModule, node: Node) -> Tensor:
    """The factor of each element, in the weight's rank."""
    weight, scale = (node.args[0], node.args[1])
    assert isinstance(weight, Node)
    if not isinstance(scale, Node):
        return torch.tensor(float(scale))  # type: ignore[arg-type]  # a number
    shape = [1] * _attribute(network, weight).dim()
    shape[int(node.args[3])] = -1  # type: ignore[arg-type]  # the axis
    return _attribute(network, scale).float().reshape(shape)
