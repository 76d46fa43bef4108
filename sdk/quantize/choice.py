"""Which layers stay float: the least costly set whose absence makes the answer good enough, as an exact small ILP."""

from collections.abc import Sequence

import numpy as np

from runtime_py.errors import SdkError
from runtime_py.manifest import LayerError

FLOAT_BYTES = 3
"""What a weight in float32 takes more than one in int8."""


class NoChoice(SdkError):
    """No set of layers satisfies the limits."""

    id = "no-mixed-choice"


def noise(row: LayerError) -> float:
    """Of the answer, in units of its energy."""
    return float(10.0 ** (-row.quality_db / 10.0))


def keep_in_float(
    layers: Sequence[LayerError], budget: float, *, float_macs: float | None = None, float_bytes: int | None = None
) -> frozenset[str]:
    """The names of the layers to keep: the fewest multiply-accumulates in float for which the others' noise, which
    adds up (it is small and independent: Dong et al., 2020, arXiv:1911.03852, section 3.2), is within `budget`.

    `float_macs` limits their share of all, `float_bytes` what their weights may take more. Solved exactly by HiGHS.
    Raises NoChoice.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    noises, macs, weights = (
        np.array([value(row) for row in layers], float)
        for value in (noise, lambda row: row.macs, lambda row: row.weights)
    )
    share = macs / macs.sum()
    # in units of the budget: the solver's tolerance is absolute, 1e-6, and noises may be smaller than that
    rules = [LinearConstraint(noises[None] / budget, lb=noises.sum() / budget - 1.0)]
    if float_macs is not None:
        rules.append(LinearConstraint(share[None], ub=float_macs))
    if float_bytes is not None:
        rules.append(LinearConstraint((FLOAT_BYTES * weights)[None], ub=float_bytes))
    cost = share + 1e-4 / len(layers)  # of two sets that cost the same, the smaller
    found = milp(cost, constraints=rules, integrality=np.ones(len(layers)), bounds=Bounds(0, 1))
    if not found.success:
        raise NoChoice(
            f"no set of layers brings the noise from {noises.sum():.2e} to {budget:.2e}",
            expected="; ".join(
                f"{name} {limit}"
                for name, limit in (("float MACs up to", float_macs), ("bytes up to", float_bytes))
                if limit is not None
            ),
            hint="a larger --max-mac-share or --max-size, or a larger --max-drop",
        )
    return frozenset(row.name for row, kept in zip(layers, found.x, strict=True) if kept > 0.5)
