"""Concatenations of a quantised program that are computed in float, as a detector's of its three sizes of maps are."""

from collections.abc import Sequence

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from exporters.quantized import DEQUANTIZE, QUANTIZE

aten = torch.ops.aten
MOVERS = frozenset({
    aten.flatten.using_ints, aten.view.default, aten.reshape.default, aten.transpose.int, aten.permute.default,
    aten.squeeze.dim, aten.squeeze.dims, aten.unsqueeze.default, aten.slice.Tensor,
})  # fmt: skip
"""Operators that change no number, through which LiteRT's converter carries integers."""


def kept_in_float(program: ExportedProgram) -> ExportedProgram:
    """The same answers, with what LiteRT's converter must not join in integers negated on both sides.

    It carries integers through movers into a concatenation, gives all of them the scale of the last one, and cuts off
    what that cannot hold: LeYOLO's scores fell to -8 dB where its smallest maps had the smallest scores. A negation has
    no form in integers, so it carries them no further; it is exact.

    before: dequantize (by scales that differ) -> flatten -> cat -> ...
    after:  dequantize -> flatten -> neg -> cat -> neg -> ...
    """
    if not any(_mixes_scales(node) for node in program.graph.nodes):
        return program
    network = program.module(check_guards=False)
    for node in list(network.graph.nodes):
        if _mixes_scales(node):
            _negate(network.graph, node)
    network.recompile()
    args, kwargs = program.example_inputs
    return torch.export.export(network, args, kwargs)


def _mixes_scales(node: Node) -> bool:
    """Whether it joins integers of several scales, and is not quantised itself."""
    if node.target is not aten.cat.default or any(user.target in QUANTIZE for user in node.users):
        return False
    scales = {source.args[1:] for source in map(_source, _parts(node)) if source.target in DEQUANTIZE}
    return len(scales) > 1


def _source(node: Node) -> Node:
    """Where a value comes from, before it was moved."""
    while node.target in MOVERS and isinstance(node.args[0], Node):
        node = node.args[0]
    return node


def _parts(join: Node) -> Sequence[Node]:
    found: Sequence[Node] = join.args[0]  # type: ignore[assignment]  # of cat: a list of tensors
    return found


def _negate(graph: Graph, join: Node) -> None:
    with graph.inserting_before(join):
        join.args = ([graph.call_function(aten.neg.default, (part,)) for part in _parts(join)], *join.args[1:])
    with graph.inserting_after(join):
        back = graph.call_function(aten.neg.default, (join,))
    join.replace_all_uses_with(back, delete_user_cb=lambda user: user is not back)
