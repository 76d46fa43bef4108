"""The captured program as a graph to be quantised: norms folded, nothing in place, no wide depthwise kernels."""

from operator import attrgetter
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.utils import _fuse_conv_bn_

from exporters.frames import fold_time
from sdk.quantize.regions import IN_FLOAT

aten = torch.ops.aten
IN_PLACE = {
    aten.relu_.default: aten.relu.default,
    aten.relu6_.default: aten.relu6.default,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.clamp_.default: aten.clamp.default,
    aten.silu_.default: aten.silu.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.sigmoid_.default: aten.sigmoid.default,
    aten.add_.Tensor: aten.add.Tensor,
    aten.mul_.Tensor: aten.mul.Tensor,
}

MOST_TAPS = 25
"""Of XNNPACK's largest depthwise kernels for integers and floats; 49 run 15 to 50 times slower than 25."""


def network_of(program: ExportedProgram) -> GraphModule:
    """A graph of its own: what follows changes it in place, and the program stays as it is."""
    if any(node.target is aten.conv3d.default for node in program.graph.nodes):
        program = fold_time(program)  # no runtime has integer kernels in three dimensions
    network: GraphModule = program.module(check_guards=False)
    _fuse_conv_bn_(network)
    for node in network.graph.nodes:
        node.target = IN_PLACE.get(node.target, node.target)
    for node in list(network.graph.nodes):
        if _is_wide(network, node):
            _in_bands(network, node)
    network.graph.lint()
    network.recompile()
    return network


def _is_wide(network: GraphModule, node: Node) -> bool:
    """A depthwise convolution of more taps than XNNPACK (LiteRT, ExecuTorch) has a kernel for."""
    if node.target is not aten.conv2d.default or len(node.args) < 7 or node.args[6] == 1:
        return False
    shape = stored(network, node.args[1]).shape  # type: ignore[arg-type]  # a layer's weight is a node
    square = node.args[3][0] * shape[3] <= MOST_TAPS and node.args[5] == [1, 1]  # type: ignore[index, operator]
    return bool(shape[1] == 1 and shape[2] * shape[3] > MOST_TAPS and square)


def _in_bands(network: GraphModule, node: Node) -> None:
    """A wide depthwise convolution as a sum of convolutions with some of its kernel's rows each.

    before: x (N, C, H, W) -> conv2d, weight (C, 1, 7, 7)
    after:  x -> conv2d with the same padding, weight (C, 1, 2 or 3, 7) -> the rows that the whole would give -> add

    Five times faster in LiteRT, at the cost of rounding each band's answer; the sum is made in float, and rounded once.
    """
    x, kernel, bias, stride, padding, dilation, groups = node.args[:7]
    weight, out = stored(network, kernel), node.meta["val"]  # type: ignore[arg-type]  # a layer's weight is a node
    total: Node | None = None
    with network.graph.inserting_before(node):
        for index, (first, last) in enumerate(_bands(weight, stride[0])):  # type: ignore[index, arg-type]  # two numbers
            own = weight[:, :, first:last].detach().clone()
            key = f"{node.name}_band{index}"
            network.register_buffer(key, own)
            stored_band = network.graph.get_attr(key)
            stored_band.meta = {"val": own}
            arguments = (x, stored_band, bias if index == 0 else None, stride, padding, dilation, groups)
            part = _call(network, aten.conv2d.default, arguments, node)
            start = first * dilation[0] // stride[0]  # type: ignore[index, operator]  # two numbers
            rows = _call(network, aten.slice.Tensor, (part, 2, start, start + out.shape[2]), node)
            total = rows if total is None else _call(network, aten.add.Tensor, (total, rows), node)
            total.meta[IN_FLOAT] = True
    assert total is not None  # a kernel has rows
    node.replace_all_uses_with(total)
    network.graph.erase_node(node)


def _bands(weight: Tensor, stride: int) -> list[tuple[int, int]]:
    """First and last row (exclusive) of each band of at most MOST_TAPS taps. Each begins at a multiple of `stride`, so
    that its answers lie on the whole's own grid."""
    rows, width = weight.shape[2:]
    most = MOST_TAPS // width
    step = max(most // stride * stride, stride)
    starts = list(range(0, rows, step))
    if len(starts) > 1 and rows - starts[-2] <= most:  # the last one fits into the one before
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))


def _call(network: GraphModule, target: Any, args: tuple[Any, ...], like: Node) -> Node:
    """A node that stands for a part of `like`, with the value that it gives."""
    node = network.graph.call_function(target, args)
    values = [arg.meta["val"] if isinstance(arg, Node) else arg for arg in args]
    node.meta = dict(like.meta) | {"val": target(*values)}
    return node


def stored(network: GraphModule, node: Node) -> Tensor:
    """A tensor that the network holds, by the node that reads it."""
    value: Any = attrgetter(str(node.target))(network)
    found: Tensor = value
    return found


def store(network: GraphModule, node: Node, value: Tensor) -> None:
    """Put `value` where `node` reads."""
    owner, _, name = str(node.target).rpartition(".")
    holder = attrgetter(owner)(network) if owner else network
    old = getattr(holder, name)
    if isinstance(old, torch.nn.Parameter):
        value = torch.nn.Parameter(value, requires_grad=False)
    setattr(holder, name, value)


class OtherOperators(ValueError):
    """A saved network that is not the one in hand."""


def put_back(saved: GraphModule, network: GraphModule) -> None:
    """Give `network` the numbers of the same network as it was read from a file, where its nodes have other names.

    Saving names every node anew, and `mul_5` may be another product then. Operators keep their order.

    Raises OtherOperators.
    """
    ours, others = _operators(network), _operators(saved)
    if [node.target for node in ours] != [node.target for node in others]:
        raise OtherOperators(f"{len(others)} operators in the file, {len(ours)} here, or others")
    for own, other in zip(ours, others, strict=True):
        arguments = []
        for argument, theirs in zip(own.args, other.args, strict=True):
            if isinstance(argument, Node) and argument.op == "get_attr":
                store(network, argument, stored(saved, theirs).detach().clone())  # type: ignore[arg-type]  # a node too
            arguments.append(theirs if isinstance(argument, int | float) else argument)
        own.args = tuple(arguments)
    network.recompile()


def _operators(network: GraphModule) -> list[Node]:
    """In their order, without assertions, which saving adds."""
    return [node for node in network.graph.nodes if node.op == "call_function" and node.users]
