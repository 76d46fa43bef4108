"""Finds how a log's own time lies in the run, by cross-correlating its power with when the run was busy."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import sqrt

from devices.meters.samples import MeterFailed, Samples

LEAST_CORRELATION = 0.6
FINEST_S = 1e-3
SLACK_S = 2.0
"""A log may begin, or end, so much inside the run: what is written last may not be in the file yet."""
MOST_STEPS = 4000

Span = tuple[float, float]


class NotAligned(MeterFailed):
    """A log in which the run cannot be found."""

    id = "not-aligned"


@dataclass(frozen=True)
class Curve:
    """Cumulative joules by the log's time, straight between the samples."""

    times_s: tuple[float, ...]
    joules: tuple[float, ...]

    @property
    def duration_s(self) -> float:
        return self.times_s[-1] - self.times_s[0]

    @property
    def mean_w(self) -> float:
        return (self.joules[-1] - self.joules[0]) / self.duration_s

    @cached_property
    def deviation_w(self) -> float:
        """Of power from its mean, over the time."""
        steps = zip(pairwise(self.times_s), pairwise(self.joules), strict=True)
        squares = (((j1 - j0) / (t1 - t0) - self.mean_w) ** 2 * (t1 - t0) for (t0, t1), (j0, j1) in steps)
        return sqrt(sum(squares) / self.duration_s)

    def at(self, time_s: float) -> float:
        """Beyond its ends the value there."""
        after = bisect_right(self.times_s, time_s)
        if after in (0, len(self.times_s)):
            return self.joules[0 if after == 0 else -1]
        (t0, t1), (j0, j1) = self.times_s[after - 1 : after + 1], self.joules[after - 1 : after + 1]
        return j0 + (j1 - j0) * (time_s - t0) / (t1 - t0)


def aligned(samples: Samples, busy: Sequence[Span], run: Span) -> Samples:
    """The samples on the run's clock. Raises NotAligned.

    `busy` are the spans of the run, in its clock's seconds, in which the board worked; the rest of `run` it idled, and
    whatever else the log holds counts as idle too.
    """
    offset_s, correlation = best_offset(samples, busy, run)
    return samples.shifted(offset_s, f"the log was aligned by its power (correlation {correlation:.2f})")


def best_offset(samples: Samples, busy: Sequence[Span], run: Span) -> tuple[float, float]:
    """Seconds to add to the log's times, and the correlation there. Raises NotAligned."""
    curve = _curve(samples)
    first, last = curve.times_s[0], curve.times_s[-1]
    low, high = run[1] - last - SLACK_S, run[0] - first + SLACK_S
    if low > high:
        raise NotAligned(f"the log is {last - first:.3g} s long, the run {run[1] - run[0]:.3g} s")
    shortest = min(end - start for start, end in busy)
    step = min(max(samples.period_s, (high - low) / MOST_STEPS), shortest / 8)
    best = _best(curve, busy, low, high, step)
    while step > FINEST_S:
        low, high, step = best[1] - step, best[1] + step, step / 5
        best = _best(curve, busy, low, high, step)
    if best[0] < LEAST_CORRELATION:
        raise NotAligned(
            f"the log does not show when the run was busy (correlation {best[0]:.2f})",
            expected=f"at least {LEAST_CORRELATION}",
            hint="is it the right log? else give offset_s",
        )
    return best[1], best[0]


def _best(curve: Curve, busy: Sequence[Span], low: float, high: float, step: float) -> tuple[float, float]:
    offsets = [low + at * step for at in range(int((high - low) / step) + 1)]
    return max((_correlation(curve, busy, offset), offset) for offset in offsets)


def _correlation(curve: Curve, busy: Sequence[Span], offset_s: float) -> float:
    """Pearson's, over the log's time, of power with 1 where the run was busy and 0 elsewhere."""
    first, last = curve.times_s[0], curve.times_s[-1]
    clipped = [(max(first, start - offset_s), min(last, end - offset_s)) for start, end in busy]
    spans = [(start, end) for start, end in clipped if end > start]
    share = sum(end - start for start, end in spans) / curve.duration_s
    together_w = sum(curve.at(end) - curve.at(start) for start, end in spans) / curve.duration_s
    spread_w = sqrt(max(0.0, share * (1 - share))) * curve.deviation_w
    return (together_w - share * curve.mean_w) / spread_w if spread_w > 0 else 0.0


def _curve(samples: Samples) -> Curve:
    if samples.joules is not None:
        joules: Sequence[float] = samples.joules
    else:
        assert samples.watts is not None
        steps = zip(pairwise(samples.times_s), pairwise(samples.watts), strict=True)
        joules = list(accumulate(((t1 - t0) * (p0 + p1) / 2 for (t0, t1), (p0, p1) in steps), initial=0.0))
    rows = list(zip(samples.times_s, joules, strict=True))
    distinct = [row for at, row in enumerate(rows) if at + 1 == len(rows) or rows[at + 1][0] > row[0]]
    if len(distinct) < 2:
        raise NotAligned("the log has fewer than two times")
    times, values = zip(*distinct, strict=True)
    return Curve(times, values)
