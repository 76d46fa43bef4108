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


@dataclass(frozen=True)
class Operator:
    """An operator where it stands: how many weights the whole network has, as those of a small one are still in a cache
    when it runs again; and whether it comes right behind a layer, into which a runtime may fuse it."""

    node: Node
    around: int = 0
    behind: bool = False


@dataclass(frozen=True)
class Kernel:
    """An operator, and what it took in ms."""

    operator: Operator
    ms: float


def operators_of(network: Sequence[Node]) -> list[Operator]:
    """All operators of a network, in its order."""
    around, behind, found = sum(node.weights for node in network), False, list[Operator]()
    for node in network:
        found.append(Operator(node, around, behind and node.kind not in LAYERS))
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
    """What a regression is given: logarithms of sizes, and the window."""
    node, around = operator.node, operator.around
    given, made = node.input, node.output
    places = prod(made[2:]) if len(made) > 2 else 1
    sizes = (
        node.macs, node.weights, prod(given), prod(made), places, given[1] if len(given) > 1 else 1,
        made[1] if len(made) > 1 else 1, made[-1] if made else 1, prod(given) + node.weights + prod(made), around,
    )  # fmt: skip
    window = (prod(node.kernel), prod(node.stride), node.groups > 1, _padding(made, 16), _padding(made, 8))
    return [*(log(1 + size) for size in sizes), *(float(one) for one in window)]


def _padding(made: tuple[int, ...], block: int) -> float:
    """By how much the channels grow where a kernel takes them by so many."""
    channels = made[1] if len(made) > 1 else 1
    return -(-channels // block) * block / max(1, channels)


def kernels_of(network: Sequence[Node], row: ProfileRow) -> list[Kernel]:
    """Every operator of the network with what the runtime spent on it. A layer that none of the runtime's operators was
    matched with is left out: its time stands with another one."""
    spent: dict[int, float] = {}
    for one in row.operators:
        if one.node is not None:
            spent[one.node] = spent.get(one.node, 0.0) + one.ms
    return [
        Kernel(operator, spent.get(place, 0.0))
        for place, operator in enumerate(operators_of(network))
        if place in spent or operator.node.kind not in LAYERS
    ]
