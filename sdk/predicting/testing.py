"""How far predictions are off: each network is predicted from all others, and compared with what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from sdk.predicting.model import Measured, Model

WITHIN = 0.15
LEAST_NETWORKS = 4
"""Fewer cannot say how far a prediction is off."""


@dataclass(frozen=True)
class Left:
    """One network that was left out: what the others make of it, and what it took; ms."""

    name: str
    predicted_ms: float
    measured_ms: float
    looked_up: float
    outside: float

    @property
    def error(self) -> float:
        """Above 0 where the prediction is too slow; 0.1 is 10 % of what was measured."""
        return self.predicted_ms / self.measured_ms - 1


def leave_one_out(
    measured: Sequence[Measured], count: Callable[[int, int], None] = lambda *_: None
) -> tuple[Left, ...]:
    """A row for each network that is not of the bank, predicted by a model that never saw it in any form; for each of
    the bank's where there are no others. `count` is told how many are done, and of how many."""
    found, wanted = [], [one for one in measured if not one.of_bank] or measured
    for done, one in enumerate(wanted, start=1):
        others = [other for other in measured if other.name.split()[0] != one.name.split()[0]]
        if others:
            made = Model(others).predict([kernel.operator for kernel in one.kernels])
            found.append(Left(one.name, made.ms, one.whole_ms, made.looked_up, made.outside))
        count(done, len(wanted))
    return tuple(found)


@dataclass(frozen=True)
class Errors:
    """The distribution of the errors' sizes; shares of 1."""

    networks: int
    within: float
    median: float
    p90: float
    worst: float


def errors_of(rows: Sequence[Left]) -> Errors:
    """Of at least one row."""
    sizes = sorted(abs(row.error) for row in rows)
    return Errors(
        networks=len(sizes),
        within=sum(size <= WITHIN for size in sizes) / len(sizes),
        median=median(sizes),
        p90=sizes[max(0, -(-9 * len(sizes) // 10) - 1)],
        worst=sizes[-1],
    )
