"""What an operator takes on a device: looked up where the same one was measured, or else a regression's answer."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any

import numpy as np

from runtime_py.manifest import Node
from sdk.predicting.kernels import Kernel, family, key, numbers, weights_of

LEAST = 8
"""Operators of a family that trees need; with fewer, the fitted costs alone count."""
FLOOR_MS = 1e-4
TREES = 100
SIZES = 9
"""Of the numbers, those that come first: an operator's own sizes."""


@dataclass(frozen=True)
class Measured:
    """One network on a device: its operators, and an undisturbed inference in ms. One of the bank is learned from, and
    never counts where predictions are checked, as nobody runs it."""

    name: str
    kernels: tuple[Kernel, ...]
    whole_ms: float
    of_bank: bool = False


@dataclass(frozen=True)
class Predicted:
    """The whole in ms, and the shares of it that were looked up, that were interpolated, and that lie outside of what
    was measured. `by_node` are the ms of each operator, in the network's order."""

    ms: float
    looked_up: float
    outside: float
    by_node: tuple[float, ...]


class Model:
    """Of one device, target, precision and number of threads. Deterministic."""

    def __init__(self, measured: Sequence[Measured]) -> None:
        known: dict[tuple[object, ...], list[float]] = defaultdict(list)
        families: dict[str, list[Kernel]] = defaultdict(list)
        for one in measured:
            for kernel in one.kernels:
                known[key(kernel.node)].append(kernel.ms)
                families[family(kernel.node)].append(kernel)
        self._known = {one: median(values) for one, values in known.items()}
        self._families = {name: _Family(kernels) for name, kernels in families.items()}
        self._whole = median(one.whole_ms / max(FLOOR_MS, sum(kernel.ms for kernel in one.kernels)) for one in measured)

    def predict(self, network: Sequence[Node]) -> Predicted:
        """What an inference of `network` takes while nothing disturbs it."""
        by_node = [self._known.get(key(node), 0.0) for node in network]
        looked_up, outside = sum(by_node), 0.0
        unknown: dict[str, list[int]] = defaultdict(list)
        for at, node in enumerate(network):
            if key(node) not in self._known and family(node) in self._families:
                unknown[family(node)].append(at)
        around = weights_of(network)
        for name, places in unknown.items():
            of_kind, nodes = self._families[name], [network[at] for at in places]
            for at, ms, beyond in zip(places, of_kind.of(nodes, around), of_kind.outside(nodes), strict=True):
                by_node[at] = ms
                outside += ms if beyond else 0.0
        total = sum(by_node)
        share = 1.0 / total if total else 0.0
        return Predicted(
            ms=total * self._whole, looked_up=looked_up * share, outside=outside * share,
            by_node=tuple(by_node),
        )  # fmt: skip


class _Family:
    """Operators of one kind: what multiply-accumulates, elements moved and a call cost, none less than nothing, fitted
    to the relative error (Lawson and Hanson, 1974); and trees over what that leaves (Geurts et al., 2006)."""

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        from scipy.optimize import nnls

        self._fused = sum(one.ms <= FLOOR_MS for one in kernels) > len(kernels) / 2
        kept = [one for one in kernels if one.ms > FLOOR_MS] or list(kernels)
        features = np.array([numbers(one.node, one.around) for one in kept])
        self._low, self._high = features[:, :SIZES].min(axis=0), features[:, :SIZES].max(axis=0)
        work, ms = _work([one.node for one in kept]), np.array([max(one.ms, FLOOR_MS) for one in kept])
        self._costs, _ = nnls(work / ms[:, None], np.ones(len(ms)))
        self._trees: Any = None
        if len(kept) >= LEAST and not self._fused:
            from sklearn.ensemble import ExtraTreesRegressor

            left = np.log(ms / np.maximum(work @ self._costs, FLOOR_MS))
            self._trees = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0).fit(features, left)

    def of(self, nodes: Sequence[Node], around: int) -> list[float]:
        """ms of operators of this family; 0 where most of those that were measured are fused into others."""
        if self._fused:
            return [0.0] * len(nodes)
        found = np.maximum(_work(nodes) @ self._costs, FLOOR_MS)
        if self._trees is not None:
            found = found * np.exp(self._trees.predict([numbers(node, around) for node in nodes]))
        return [float(ms) for ms in found]

    def outside(self, nodes: Sequence[Node]) -> list[bool]:
        """Of each, whether one of its own sizes is beyond all that was measured."""
        found = np.array([numbers(node, 0)[:SIZES] for node in nodes])
        return [bool(one) for one in ((found < self._low - 1e-9) | (found > self._high + 1e-9)).any(axis=1)]


def _work(nodes: Sequence[Node]) -> Any:
    """(operators, 5): multiply-accumulates, elements of the input, of the weight and of the output, and a call."""
    return np.array([
        (node.macs, prod(node.input), node.weights, prod(node.output), 1.0) for node in nodes
    ], np.float64)  # fmt: skip
