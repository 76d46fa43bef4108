"""What a meter saw, and the energy of a window of it. Times are seconds of the run's own monotonic clock."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from itertools import pairwise
from math import fsum
from typing import Literal

from runtime_py.errors import SdkError

Kind = Literal["measured", "estimated"]

GAP_PERIODS = 5
"""A window is refused where a meter was silent for longer than so many of its periods."""
FEWEST = 10
"""Samples, or steps of a counter, in a window: fewer say little about ten seconds."""
NOISE = 0.02
"""Of the largest magnitude: a sensor near zero may read a little below it."""


class MeterFailed(SdkError):
    """A meter that cannot be read, or that is used out of order."""

    id = "meter-failed"


class BadReading(MeterFailed):
    """A reading that is not what the interface's documentation promises."""

    id = "bad-reading"


class WindowRefused(SdkError):
    """A stretch of time whose energy is not known: gaps, a wrong sign, a counter that went back."""

    id = "window-refused"


@dataclass(frozen=True)
class Reading:
    """One value, in watts or cumulative joules, and the device's own time of it, in seconds, where it has one."""

    value: float
    time_s: float | None = None


@dataclass(frozen=True)
class Samples:
    """`watts` of each moment, or else cumulative `joules`.

    `faults` spoil the whole recording, `notes` do not. Where `relative`, the times are a logger's own and have to be
    aligned with the run first.
    """

    times_s: tuple[float, ...]
    period_s: float
    watts: tuple[float, ...] | None = None
    joules: tuple[float, ...] | None = None
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    relative: bool = False
    least_changes: int = 0
    """How often a window's power must change: a slow sensor shows its last value for long."""

    def __post_init__(self) -> None:
        values = self.watts if self.joules is None else self.joules
        if values is None or (self.watts is not None and self.joules is not None):
            raise MeterFailed("samples hold both watts and joules, or neither", expected="one of them")
        if len(values) != len(self.times_s):
            raise MeterFailed(f"{len(values)} values for {len(self.times_s)} times", expected="as many")

    def shifted(self, offset_s: float, note: str) -> "Samples":
        """The same, `offset_s` later on the run's clock."""
        times = tuple(time + offset_s for time in self.times_s)
        return replace(self, times_s=times, relative=False, notes=(*self.notes, note))


def energy_j(samples: Samples, start_s: float, end_s: float) -> float:
    """Joules from `start_s` to `end_s`. Raises WindowRefused.

    Samples outside belong to something else (idling before, another window after), so at the edges the nearest samples
    inside hold on: powers by the trapezoid rule between them, counters by their mean power.
    """
    if samples.faults:
        raise WindowRefused("; ".join(samples.faults))
    if samples.relative:
        raise WindowRefused("the log's times are not aligned with the run")
    inside = slice(bisect_left(samples.times_s, start_s), bisect_right(samples.times_s, end_s))
    _check_coverage(samples, inside, start_s, end_s)
    if samples.joules is not None:
        return _counted(samples.times_s, samples.joules, inside, end_s - start_s)
    assert samples.watts is not None
    watts = samples.watts[inside]
    _check_sign(watts)
    _check_changes(watts, samples.least_changes, end_s - start_s)
    return trapezoid((start_s, *samples.times_s[inside], end_s), (watts[0], *watts, watts[-1]))


def trapezoid(times_s: tuple[float, ...], watts: tuple[float, ...]) -> float:
    """Joules under power that goes straight from each sample to the next; the spacing may be irregular."""
    steps = zip(pairwise(times_s), pairwise(watts), strict=True)
    return fsum((later - earlier) * (before + after) / 2 for (earlier, later), (before, after) in steps)


def _check_coverage(samples: Samples, inside: slice, start_s: float, end_s: float) -> None:
    times = samples.times_s[inside]
    for earlier, later in pairwise((start_s, *times, end_s)):
        if later - earlier > GAP_PERIODS * samples.period_s:
            raise WindowRefused(
                f"no sample for {later - earlier:.3g} s, {earlier - start_s:.3g} s into the window",
                expected=f"one every {samples.period_s:.3g} s",
            )
    if len(times) < FEWEST:
        raise WindowRefused(f"{len(times)} samples in {end_s - start_s:.3g} s", expected=f"at least {FEWEST}")


def _check_sign(watts: tuple[float, ...]) -> None:
    lowest, highest = min(watts), max(watts)
    noise = NOISE * max(abs(lowest), abs(highest))
    if lowest >= -noise:
        return
    if highest > noise:
        raise WindowRefused(
            f"the sign changes: power goes from {lowest:.3g} to {highest:.3g} W",
            hint="a charger, or another source, fed the board in the middle",
        )
    raise WindowRefused(f"power is negative ({lowest:.3g} W)", hint="swap the two wires of the shunt")


def _check_changes(watts: tuple[float, ...], least: int, duration_s: float) -> None:
    changes = sum(before != after for before, after in pairwise(watts))
    if changes < least:
        raise WindowRefused(
            f"the sensor renewed its value {changes} times in {duration_s:.3g} s",
            expected=f"at least {least}",
            hint="longer windows, or another meter",
        )


def _counted(times_s: tuple[float, ...], joules: tuple[float, ...], inside: slice, duration_s: float) -> float:
    """From the first step of the counter inside to the last: between its steps a counter's value is an old one."""
    for earlier, later in pairwise(joules[inside]):
        if later < earlier:
            raise WindowRefused(f"the counter went back by {earlier - later:.3g} J", hint="it was reset: measure again")
    steps = [at for at in range(max(inside.start, 1), inside.stop) if joules[at] != joules[at - 1]]
    if len(steps) < FEWEST:
        raise WindowRefused(
            f"the counter moved {len(steps)} times in {duration_s:.3g} s",
            expected=f"at least {FEWEST}",
            hint="a longer window",
        )
    first, last = steps[0], steps[-1]
    return (joules[last] - joules[first]) / (times_s[last] - times_s[first]) * duration_s
