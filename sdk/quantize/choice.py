"""Which operators stay float: the least costly set without which the answer is good enough, as an exact small ILP."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runtime_py.errors import SdkError
from sdk.quantize.job import NO_CHOICE

FLOAT_BYTES = 3
"""What a weight in float32 takes more than one in int8."""
TIE = 1e-4
"""Of the whole cost: of two sets that cost the same, the smaller."""


class NoChoice(SdkError):
    """No set of operators satisfies the limits."""

    id = NO_CHOICE


@dataclass(frozen=True)
class Operator:
    """What may compute in float, and what it costs there. Sums, products and concatenations have no weights."""

    name: str
    macs: int
    weights: int


@dataclass(frozen=True)
class Rounding:
    """The noise that one rounding puts into the answer, in units of its energy, and the operators that must all compute
    in float to be rid of it: one, of its weights; of a value the one that gives it and all that read it."""

    noise: float
    operators: frozenset[str]


def keep_in_float(
    roundings: Sequence[Rounding],
    operators: Sequence[Operator],
    budget: float | None,
    *,
    float_macs: float | None = None,
    float_bytes: int | None = None,
) -> frozenset[str]:
    """The names of the operators to keep: the fewest multiply-accumulates in float for which the other roundings'
    noise, which adds up (it is small and independent: Dong et al., 2020, arXiv:1911.03852, section 3.2), is within
    `budget`; without one, those that leave the least noise.

    `float_macs` limits their share of all, `float_bytes` what their weights may take more. Solved exactly by HiGHS.
    Raises NoChoice.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_matrix, hstack

    count, places = len(operators), {row.name: at for at, row in enumerate(operators)}
    noises = np.array([row.noise for row in roundings], float)
    macs, weights = (np.array([value(row) for row in operators], float) for value in (_macs, _weights))
    share = macs / macs.sum()
    nothing = np.zeros(len(roundings))
    # first a variable an operator (it is float), then one a rounding (it is gone)
    needs = [(at, places[name]) for at, row in enumerate(roundings) for name in sorted(row.operators)]
    lines, ones = np.arange(len(needs)), np.ones(len(needs))
    gone = csr_matrix((ones, (lines, [at for at, _ in needs])), shape=(len(needs), len(roundings)))
    kept = csr_matrix((ones, (lines, [at for _, at in needs])), shape=(len(needs), count))
    rules = [LinearConstraint(hstack([kept, -gone], format="csr"), lb=0.0)]
    if budget is not None:
        # in units of the budget: the solver's tolerance is absolute, 1e-6, and noises may be smaller than that
        rules.append(LinearConstraint(np.append(np.zeros(count), noises / budget)[None], lb=noises.sum() / budget - 1))
    if float_macs is not None:
        rules.append(LinearConstraint(np.append(share, nothing)[None], ub=float_macs))
    if float_bytes is not None:
        rules.append(LinearConstraint(np.append(FLOAT_BYTES * weights, nothing)[None], ub=float_bytes))
    costs = np.append(share + TIE / count, nothing)
    if budget is None:
        costs = np.append(TIE * (share + TIE / count), -noises / noises.sum())
    whole = np.append(np.ones(count), nothing)  # a rounding is gone, or not, by its operators
    found = milp(costs, constraints=rules, integrality=whole, bounds=Bounds(0, 1))
    if not found.success:
        raise NoChoice(
            f"no set of operators brings the noise from {noises.sum():.2e} to {budget or 0.0:.2e}",
            expected="; ".join(
                f"{name} {limit}"
                for name, limit in (("float MACs up to", float_macs), ("bytes up to", float_bytes))
                if limit is not None
            ),
            hint="a larger --max-mac-share or --max-size, or a larger --max-drop",
        )
    return frozenset(row.name for row, value in zip(operators, found.x, strict=False) if value > 0.5)


def _macs(row: Operator) -> int:
    return row.macs


def _weights(row: Operator) -> int:
    return row.weights
