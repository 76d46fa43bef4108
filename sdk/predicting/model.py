"""What an operator takes on a device: a regression's answer, put right by what the same one took where it was measured.

The same operator takes longer in a larger network, whose weights no cache keeps: so what is looked up is not its time,
but how that differs from what the regression makes of it there.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from statistics import median
from typing import Any

import numpy as np

from sdk.predicting.kernels import Kernel, Operator, family, key, numbers

LEAST = 8
"""Operators of a family that trees need; with fewer, the fitted costs alone count."""
FLOOR_MS = 1e-4
CACHED = 1e6
"""Elements that stay in a cache from one inference to the next, about: the weights of a network that touches more come
from memory."""
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
        families: dict[str, list[Kernel]] = defaultdict(list)
        for one in measured:
            for kernel in one.kernels:
                families[family(kernel.operator)].append(kernel)
        self._families = {name: _Family(kernels) for name, kernels in families.items()}
        known: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for name, kernels in families.items():
            usual = self._families[name].of([kernel.operator for kernel in kernels])
            for kernel, ms in zip(kernels, usual, strict=True):
                known[key(kernel.operator)].append(kernel.ms / max(ms, FLOOR_MS))
        self._known = {one: median(ratios) for one, ratios in known.items()}
        """By how much those that were measured differ from what the regression makes of them."""

    def predict(self, operators: Sequence[Operator]) -> Predicted:
        """What an inference of a network takes while nothing disturbs it."""
        by_node, looked_up, outside = [0.0] * len(operators), 0.0, 0.0
        places: dict[str, list[int]] = defaultdict(list)
        for at, one in enumerate(operators):
            if family(one) in self._families:
                places[family(one)].append(at)
        for name, own in places.items():
            of_kind, wanted = self._families[name], [operators[at] for at in own]
            for at, ms, beyond in zip(own, of_kind.of(wanted), of_kind.outside(wanted), strict=True):
                ratio = self._known.get(key(operators[at]))
                by_node[at] = ms if ratio is None else ratio * max(ms, FLOOR_MS)
                looked_up += 0.0 if ratio is None else by_node[at]
                outside += ms if beyond and ratio is None else 0.0
        total = sum(by_node)
        share = 1.0 / total if total else 0.0
        return Predicted(total, looked_up * share, outside * share, tuple(by_node))


class _Family:
    """Operators of one kind: what multiply-accumulates, elements moved and a call cost, none less than nothing, fitted
    to the relative error (Lawson and Hanson, 1974); and trees over what that leaves (Geurts et al., 2006)."""

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        from scipy.optimize import nnls

        self._fused = sum(one.ms <= FLOOR_MS for one in kernels) > len(kernels) / 2
        kept = [one for one in kernels if one.ms > FLOOR_MS] or list(kernels)
        features = np.array([numbers(one.operator) for one in kept])
        self._low, self._high = features[:, :SIZES].min(axis=0), features[:, :SIZES].max(axis=0)
        work, ms = _work([one.operator for one in kept]), np.array([max(one.ms, FLOOR_MS) for one in kept])
        self._costs, _ = nnls(work / ms[:, None], np.ones(len(ms)))
        self._trees: Any = None
        if len(kept) >= LEAST and not self._fused:
            from sklearn.ensemble import ExtraTreesRegressor

            left = np.log(ms / np.maximum(work @ self._costs, FLOOR_MS))
            self._trees = ExtraTreesRegressor(TREES, min_samples_leaf=2, random_state=0).fit(features, left)

    def of(self, operators: Sequence[Operator]) -> list[float]:
        """ms of operators of this family; 0 where most of those that were measured are fused into others."""
        if self._fused:
            return [0.0] * len(operators)
        found = np.maximum(_work(operators) @ self._costs, FLOOR_MS)
        if self._trees is not None:
            found = found * np.exp(self._trees.predict([numbers(one) for one in operators]))
        return [float(ms) for ms in found]

    def outside(self, operators: Sequence[Operator]) -> list[bool]:
        """Of each, whether one of its own sizes is beyond all that was measured."""
        found = np.array([numbers(one)[:SIZES] for one in operators])
        return [bool(one) for one in ((found < self._low - 1e-9) | (found > self._high + 1e-9)).any(axis=1)]


def _work(operators: Sequence[Operator]) -> Any:
    """(operators, 6): multiply-accumulates, elements of the input, of the weight, of it from memory, and of the output,
    and a call."""
    rows = [(one.node, one.node.weights * one.touched / (one.touched + CACHED)) for one in operators]
    return np.array([
        (node.macs, prod(node.input), node.weights, far, prod(node.output), 1.0) for node, far in rows
    ], np.float64)  # fmt: skip
