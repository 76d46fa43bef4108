"""Activations in 16 bits: those of a program in 8, each with a finer step."""

from typing import Any, cast

import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch.fx import Graph, GraphModule, Node

from exporters.base import module_of
from runtime_py.errors import SdkError

aten, q = torch.ops.aten, torch.ops.quantized_decomposed
LEVELS = 32767
HEADROOM = 2.0
"""Of the largest value that was seen, what a range reaches: with 16 bits one is cheap, and a value cut off is not."""
SHARES = frozenset({aten.sigmoid.default, aten.sigmoid_.default, aten.tanh.default, aten.tanh_.default})
SHARE_STEP = 2.0**-15
"""LiteRT's kernels of these two in 16 bits give no other step."""


class NoWideJoin(SdkError):
    """A network that LiteRT's converter cannot give 16 bits to."""

    id = "no-wide-join"


def check_joins(graph: Graph) -> None:
    """Raise NoWideJoin where values are concatenated: LiteRT's converter knows that in 8 bits and in float alone, and
    leaves no float between two layers in 16."""
    joins = [node for node in graph.nodes if node.target is aten.cat.default]
    if joins:
        where = ", ".join(module_of(node) or node.name for node in joins[:3])
        more = f" and {len(joins) - 3} more" if joins[3:] else ""
        raise NoWideJoin(
            f"--precision w8a16 for a network that concatenates values, in {where}{more}",
            expected="convolutions, linear layers, sums, products and pools: LiteRT has no concatenation in 16 bits",
            hint="--precision w8a8, or mixed, which keeps layers in float where they need it",
        )


def widen(network: GraphModule) -> None:
    """Quantise activations to symmetric int16, as LiteRT's kernels in 16 bits want them; weights stay as they are.

    The 16x8 scheme (Jacob et al., 2018, arXiv:1712.05877, with 16 bits for activations): zero points are zero.
    """
    for node in network.graph.nodes:
        if node.target is q.quantize_per_tensor.default:
            step = _step(node)
            for own in (node, *(user for user in node.users if user.target is q.dequantize_per_tensor.default)):
                own.args = (own.args[0], step, 0, -LEVELS - 1, LEVELS, torch.int16)
    network.recompile()


def _step(node: Node) -> float:
    """In 16 bits, of a quantisation in 8."""
    source, step, zero, *_ = cast(tuple[Node, float, int, Any], node.args)
    if source.target in SHARES:
        return SHARE_STEP
    return max(128 + zero, 127 - zero) * step * HEADROOM / LEVELS
