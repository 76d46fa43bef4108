"""Which operators of a captured graph compute in integers: a rule for graphs, with no model's name in it.

Everything between the first and the last layer with weights is a candidate. What comes after the last one (a detector's
decoding, a classifier's softmax) stays float, because pixels, probabilities and bins share no scale, and it costs
nothing to speak of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch.fx import Graph, Node

aten = torch.ops.aten
IN_FLOAT = "computes_in_float"
"""In a node's meta: its inputs and output stay as they are."""
CONVOLUTIONS = frozenset({aten.conv2d.default, aten.conv2d.padding, aten.convolution.default})
WEIGHTED = CONVOLUTIONS | {aten.linear.default}
CLAMPS = frozenset(
    {
        aten.relu.default, aten.relu_.default, aten.hardtanh.default, aten.hardtanh_.default,
        aten.relu6.default, aten.relu6_.default, aten.clamp.default, aten.clamp_.default,
    }
)  # fmt: skip
"""Part of the layer before them: an integer's own saturation, or one instruction, does it."""
PAIRS = frozenset({aten.add.Tensor, aten.add_.Tensor, aten.mul.Tensor, aten.mul_.Tensor})
SAME_SCALE = frozenset(
    {
        aten.max_pool2d.default, aten.upsample_nearest2d.vec, aten.upsample_nearest2d.default, aten.flatten.using_ints,
        aten.view.default, aten.reshape.default, aten.permute.default, aten.transpose.int, aten.slice.Tensor,
        aten.squeeze.dim, aten.unsqueeze.default, aten.dropout.default, aten.pixel_shuffle.default,
    }
)  # fmt: skip
"""Move integers about and leave their scale alone."""
MEANS = frozenset({aten.mean.dim, aten.adaptive_avg_pool2d.default, aten.avg_pool2d.default})
TAIL_SHARE = 1e-3
"""A layer with weights counts as part of the tail if nothing but the tail follows it and it does less than this share
of the multiply-accumulates, and no other layer's answer comes to it straight: the fixed sum over a detector's bins, for
one, and no classifier's last layer."""


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer with the clamp behind it, by its node's name.

    `module` is the path in the network, `macs` of one answer.
    """

    name: str
    module: str
    macs: int
    weights: int


@dataclass(frozen=True)
class Regions:
    """The graph's nodes by what becomes of them."""

    layers: dict[Node, Node]
    """Each weighted node that computes in integers, and the node whose output is quantised: itself, or its clamp."""
    pairs: dict[Node, Node]
    """Sums and products of two activations, likewise."""
    joins: dict[Node, Node]
    """Concatenations, whose inputs and output share a scale, likewise."""
    movers: tuple[Node, ...]
    """Operators that share the scale of their input."""


def layers_of(graph: Graph) -> list[Layer]:
    """All layers with weights outside the tail, in the graph's order."""
    from exporters.base import module_of

    tail = _tail(graph)
    return [
        Layer(node.name, module_of(node) or node.name, macs(node), prod(_shape(node.args[1])))
        for node in graph.nodes
        if _weighted(node) and node not in tail
    ]


def macs(node: Node) -> int:
    """Multiply-accumulates of a layer, by its output's and its weight's shape."""
    return prod(_shape(node)) * prod(_shape(node.args[1])[1:])


def regions(graph: Graph, floats: frozenset[str] = frozenset()) -> Regions:
    """What is quantised where the layers, pairs and joins named in `floats` are not."""
    tail = _tail(graph)
    inside = [node for node in graph.nodes if node.op == "call_function" and node not in tail]
    layers = {node: _end(node) for node in inside if _weighted(node) and node.name not in floats}
    ends = set(layers.values())
    pairs: dict[Node, Node] = {}
    joins: dict[Node, Node] = {}
    movers: list[Node] = []
    for node in inside:  # inputs come before their users
        if node.name in floats:
            continue
        if node.target in PAIRS and _two_activations(node, ends) and IN_FLOAT not in node.meta:
            pairs[node] = _end(node)
            ends.add(pairs[node])
        elif node.target is aten.cat.default and all(arg in ends for arg in _inputs(node)):
            joins[node] = _end(node)
            ends.add(joins[node])
        elif node.target in SAME_SCALE and node.args[0] in ends:
            movers.append(node)
            ends.add(node)
    wanted = _wanted(graph, set(layers) | set(pairs))
    return Regions(
        layers,
        pairs,
        {node: end for node, end in joins.items() if node in wanted},
        tuple(node for node in movers if node in wanted),
    )


def _tail(graph: Graph) -> set[Node]:
    """The nodes from which no path leads to another layer."""
    weighted = [node for node in graph.nodes if _weighted(node)]
    small = TAIL_SHARE * sum(macs(node) for node in weighted)
    tail: set[Node] = {node for node in graph.nodes if node.op == "output"}
    for node in reversed(graph.nodes):
        decodes = not _weighted(node) or (macs(node) < small and not _follows_a_layer(node))
        if node.op == "call_function" and decodes and tail.issuperset(node.users):
            tail.add(node)
    return tail - {_end(node) for node in weighted if node not in tail}


def _follows_a_layer(node: Node) -> bool:
    """Whether nothing but pools, clamps and moves lie between a layer and the one before: a classifier's last one does,
    however small; a detector's sum over bins has a softmax before it."""
    source = node.args[0]
    while isinstance(source, Node) and source.op == "call_function":
        if _weighted(source) or source.target in PAIRS:
            return True
        if source.target not in SAME_SCALE | CLAMPS | MEANS | {aten.batch_norm.default}:
            return False
        source = source.args[0]
    return False


def _wanted(graph: Graph, computing: set[Node]) -> set[Node]:
    """Movers and joins that lead to something that computes in integers: others would be quantised for nothing."""
    wanted: set[Node] = set()
    for node in reversed(graph.nodes):
        carries = node.target in SAME_SCALE or node.target in CLAMPS or node.target is aten.cat.default
        if node in computing or (carries and any(user in wanted for user in node.users)):
            wanted.add(node)
    return wanted


def _weighted(node: Node) -> bool:
    """A layer whose weight is stored. Of convolutions only those whose outputs are the weight's first axis."""
    if node.op != "call_function" or node.target not in WEIGHTED:
        return False
    transposed = node.target is aten.convolution.default and bool(node.args[6])
    return not transposed and _stored(node.args[1])


def _stored(node: Any) -> bool:
    return isinstance(node, Node) and node.op in ("get_attr", "placeholder") and len(node.all_input_nodes) == 0


def _end(node: Node) -> Node:
    """The last of the clamps behind a node, through a norm that will be folded, or the node itself."""
    last = node
    while len(last.users) == 1:
        user = next(iter(last.users))
        folded = user.target is aten.batch_norm.default and last.target in CONVOLUTIONS
        if not folded and user.target not in CLAMPS:
            break
        last = user
    return last


def _two_activations(node: Node, ends: set[Node]) -> bool:
    """Whether both operands are activations of the graph, and one at least is an integer already."""
    operands = node.args[:2]
    both = all(isinstance(arg, Node) and arg.op == "call_function" and _floating(arg) for arg in operands)
    return both and operands[0] is not operands[1] and any(arg in ends for arg in operands)


def _floating(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _inputs(node: Node) -> Sequence[Node]:
    found: Sequence[Node] = node.args[0]  # type: ignore[assignment]  # of cat: a list of tensors
    return found


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def weight_node(layer: Node) -> Node:
    """Where a layer reads its weight."""
    node = layer.args[1]
    assert isinstance(node, Node)  # a layer's weight is stored
    return node


def inputs_of(node: Node) -> Iterator[Node]:
    """The activations that an operator reads."""
    args = _inputs(node) if node.target is aten.cat.default else node.args[: 2 if node.target in PAIRS else 1]
    for arg in args:
        if isinstance(arg, Node):
            yield arg
