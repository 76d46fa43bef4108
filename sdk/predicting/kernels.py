"""Measured operators as a regression wants them: what an operator is in numbers, and what it took.

After nn-Meter (Zhang et al., 2021, "nn-Meter: Towards Accurate Latency Prediction of Deep-Learning Model Inference on
Diverse Edge Devices"): a network's latency is the sum of its kernels'. What a runtime fuses or adds it finds by its own
rules on every device; here it is read from the measurements: each operator of the network has the time of what the
runtime ran for it, none where it was fused into another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, prod

from runtime_py.manifest import Node, ProfileRow

LAYERS = frozenset({"conv", "depthwise", "deconv", "linear", "product"})
PASSED = frozenset({"norm", "move"})
"""Kinds that runtimes take away or into the layer before, so that what comes next may be fused with that as well."""
BLOCKS = (16, 8, 4)
"""Of channels, that kernels take at once."""


@dataclass(frozen=True)
class Operator:
    """An operator where it stands: how many weights the whole network has, and with what its layers put out, how many
    elements it touches, as those of a small one are still in a cache when it runs again; and whether it comes right
    behind a layer, into which a runtime may fuse it."""

    node: Node
    around: int = 0
    behind: bool = False
    touched: int = 0


@dataclass(frozen=True)
class Kernel:
    """An operator, and what it took in ms."""

    operator: Operator
    ms: float


def operators_of(network: Sequence[Node]) -> list[Operator]:
    """All operators of a network, in its order."""
    around, behind, found = sum(node.weights for node in network), False, list[Operator]()
    touched = around + sum(prod(node.output) for node in network if node.kind in LAYERS)
    for node in network:
        found.append(Operator(node, around, behind and node.kind not in LAYERS, touched))
        if node.kind not in PASSED:
            behind = node.kind in LAYERS
    return found


def family(operator: Operator) -> str:
    """Operators that are predicted from one another: layers of a kind, plain convolutions of one point apart; others by
    their own name, as runtimes fuse one activation and not another, and only into the layer before it."""
    node = operator.node
    if node.kind in LAYERS:
        return "pointwise" if node.kind == "conv" and prod(node.kernel) == 1 else node.kind
    return f"{node.kind} {node.operator}{' behind a layer' if operator.behind else ''}"


def key(operator: Operator) -> tuple[object, ...]:
    """Operators with the same key are the same work; the module does not matter."""
    node = operator.node
    return (family(operator), node.input, node.output, node.kernel, node.stride, node.groups, node.weights)


def numbers(operator: Operator) -> list[float]:
    """What a regression is given: logarithms of sizes, the window, and how channels fill blocks."""
    node, given, made = operator.node, operator.node.input, operator.node.output
    places = prod(made[2:]) if len(made) > 2 else 1
    sizes = (
        node.macs, node.weights, prod(given), prod(made), places, given[1] if len(given) > 1 else 1,
        made[1] if len(made) > 1 else 1, made[-1] if made else 1, prod(given) + node.weights + prod(made),
        operator.around, operator.touched,
    )  # fmt: skip
    window = (prod(node.kernel), prod(node.stride), node.groups > 1)
    blocks = (_padding(shape, block) for shape in (given, made) for block in BLOCKS)
    return [*(log(1 + size) for size in sizes), *(float(one) for one in window), *blocks]


def _padding(made: tuple[int, ...], block: int) -> float:
    """By how much the channels grow where a kernel takes them by so many."""
    channels = made[1] if len(made) > 1 else 1
    return -(-channels // block) * block / max(1, channels)


def kernels_of(network: Sequence[Node], row: ProfileRow) -> list[Kernel]:
    """Every operator of the network with its part of an inference: the whole's time, shared out as the runtime spent it
    on them. So what a runtime's own profile adds, or an operator takes that is timed alone, counts for none of them.
    A layer that none of the runtime's operators was matched with is left out: its time stands with another one."""
    spent: dict[int, float] = {}
    for one in row.operators:
        if one.node is not None:
            spent[one.node] = spent.get(one.node, 0.0) + one.ms
    total = sum(spent.values())
    part = row.whole_ms / total if row.whole_ms is not None and total else 1.0
    return [
        Kernel(operator, part * spent.get(place, 0.0))
        for place, operator in enumerate(operators_of(network))
        if place in spent or operator.node.kind not in LAYERS
    ]
