"""The range of each activation: what loses least where it is used.

The least and the largest value that was seen waste levels on what hardly ever occurs, and on what an activation
behind it flattens anyway: SiLU is almost nothing below -4, and a layer before it that is quantised from -18 costs
LeYOLO a third of its mAP. So each range is the one whose rounding and clipping, seen through the activation behind
it, leaves the least squared error on the calibration's own values (Banner et al., 2019, arXiv:1810.05723, section 3,
by search).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional as F

from sdk.quantize.regions import Regions, inputs_of, regions

aten = torch.ops.aten
Function = Callable[[Tensor], Tensor]
CURVES: Mapping[Any, Function] = {
    aten.silu.default: F.silu,
    aten.sigmoid.default: torch.sigmoid,
    aten.hardsigmoid.default: F.hardsigmoid,
    aten.hardswish.default: F.hardswish,
    aten.gelu.default: F.gelu,
    aten.tanh.default: torch.tanh,
}
CARRIED = frozenset({aten.flatten.using_ints, aten.transpose.int, aten.cat.default, aten.slice.Tensor})
"""Operators between a value and its activation that leave each number as it is."""
SAMPLES = 256
"""Numbers kept of each value and answer."""
SHRINK_LOW = torch.linspace(1.0, 0.1, 19)
SHRINK_HIGH = torch.linspace(1.0, 0.2, 25)
ROUNDS = 3
LEVELS = 255


@dataclass
class Seen:
    """Of one value: the extremes of each channel (of all answers), and some of its numbers."""

    low: Tensor | None = None
    high: Tensor | None = None
    numbers: list[Tensor] = field(default_factory=list)

    def add(self, value: Tensor, generator: torch.Generator) -> None:
        """Look at one answer's value (1, C, ...)."""
        flat = value.detach().transpose(0, 1).flatten(1) if value.dim() > 1 else value.detach()[None]
        low, high = flat.amin(1), flat.amax(1)
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)
        picks = torch.randint(flat.numel(), (min(SAMPLES, flat.numel()),), generator=generator)
        self.numbers.append(flat.flatten()[picks])


class Observer(Interpreter):
    """Runs the network and looks at the values of some nodes. Memory grows by SAMPLES numbers a value and answer."""

    def __init__(self, network: GraphModule, nodes: Iterable[Node]) -> None:
        super().__init__(network)
        self.seen = {node: Seen() for node in nodes}
        self._generator = torch.Generator().manual_seed(0)

    def run_node(self, n: Node) -> Any:
        """Look at what a node gives."""
        value = super().run_node(n)
        if n in self.seen:
            self.seen[n].add(value, self._generator)
        return value


def quantised_values(network: GraphModule, floats: frozenset[str] = frozenset()) -> list[Node]:
    """The nodes whose values have a range of their own, in the graph's order."""
    found: Regions = regions(network.graph, floats)
    ends = set(found.layers.values()) | set(found.pairs.values()) | set(found.joins.values())
    read = {source for node in (*found.layers, *found.pairs) for source in inputs_of(node)}
    return [node for node in network.graph.nodes if node in ends | read and node not in found.movers]


def curve_behind(node: Node) -> Function | None:
    """The activation that all uses of a value go through."""
    kinds = {user.target for user in node.users}
    if len(kinds) != 1:
        return None
    kind = next(iter(kinds))
    if kind in CURVES:
        return CURVES[kind]
    return curve_behind(next(iter(node.users))) if kind in CARRIED and len(node.users) == 1 else None


def best_range(numbers: Tensor, low: float, high: float, curve: Function | None) -> tuple[float, float]:
    """The bounds inside `low`..`high`, which hold 0, with the least squared error behind `curve`."""
    low, high = min(low, 0.0), max(high, 0.0)
    exact = numbers if curve is None else curve(numbers)

    def error(bounds: tuple[float, float]) -> float:
        found = rounded(numbers, *bounds)
        return float(((found if curve is None else curve(found)) - exact).square().mean())

    best = (low, high)
    for _ in range(ROUNDS):
        best = min(((low * share, best[1]) for share in SHRINK_LOW.tolist()), key=error)
        best = min(((best[0], high * share) for share in SHRINK_HIGH.tolist()), key=error)
    return best


def rounded(x: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """`x` through int8 with the range `low`..`high`."""
    scale = torch.as_tensor((high - low) / LEVELS).clamp(min=1e-9)
    zero = torch.round(-torch.as_tensor(low) / scale) - 128
    return ((torch.round(x / scale) + zero).clamp(-128, 127) - zero) * scale


def find_ranges(observer: Observer) -> dict[str, tuple[float, float]]:
    """The best range of each value that was observed, by its node's name."""
    found = {}
    for node, seen in observer.seen.items():
        assert seen.low is not None  # every node of the graph has run
        assert seen.high is not None  # likewise
        low, high = float(seen.low.min()), float(seen.high.max())
        numbers = torch.cat((*seen.numbers, torch.tensor([low, high])))
        found[node.name] = best_range(numbers, low, high, curve_behind(node))
    return found


def clamp_to(network: GraphModule, ranges: Mapping[str, tuple[float, float]]) -> list[str]:
    """Put a clamp behind each value, so that whoever measures it finds that range; gives the clamps' names."""
    names = []
    for node in list(network.graph.nodes):
        if node.name not in ranges:
            continue
        with network.graph.inserting_after(node):
            clamp = network.graph.call_function(aten.clamp.default, (node, *ranges[node.name]))
        clamp.meta = dict(node.meta)
        node.replace_all_uses_with(clamp, delete_user_cb=lambda user, own=clamp: user is not own)
        names.append(clamp.name)
    network.recompile()
    return names


def drop_clamps(network: GraphModule, names: Iterable[str]) -> None:
    """Take them out again: an integer's own saturation does it."""
    by_name = {node.name: node for node in network.graph.nodes}
    for name in names:
        node = by_name[name]
        node.replace_all_uses_with(node.args[0])
        network.graph.erase_node(node)
    network.recompile()
