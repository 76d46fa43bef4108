"""What runs would have taken at the processor's full speed.

A processor's clock goes up and down, and its cores may be shared with what no clock of this machine shows, as other
guests of its host are: for some seconds all takes 1.4 times as long, and the operators of such seconds would be no part
of the inference that they are compared with. So a small fixed piece of work, the pulse, is timed between runs, and each
run is put at what it would have taken where the pulse is least. On a board that keeps its clock that changes nothing.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import numpy as np

LEAST_RUNS, MOST_RUNS, SECONDS = 10, 300, 2.0
"""Until so many runs count and so much time has gone, but never more."""
PATIENCE = 4
"""Times as many runs or as much time, that are spent on getting runs that count."""
ALIKE = 1.1
"""The pulses before and after a run that counts are no further apart."""
SIDE, TIMES = 64, 5
"""Of the matrices, small enough that no library shares a product out; how often it is made."""

_MATRIX = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
_MADE = np.empty_like(_MATRIX)


def _work() -> None:
    for _ in range(TIMES):
        np.matmul(_MATRIX, _MATRIX, out=_MADE)


class Pulse:
    """The pulse of this process; `least_us` is the least that was seen so far. `sound` is false once too few runs
    counted."""

    def __init__(self) -> None:
        self.least_us, self.sound = float("inf"), True

    def read_us(self) -> float:
        """Microseconds of the work now, some 15 on a fast core."""
        _work()  # untimed: what ran before has taken its place in the caches, a large network more of it
        start = perf_counter()
        _work()
        found = 1e6 * (perf_counter() - start)
        self.least_us = min(self.least_us, found)
        return found


PULSE = Pulse()


def steady(
    call: Callable[[], Any], most: int = MOST_RUNS, seconds: float = SECONDS, patience: int = PATIENCE,
    least: int = LEAST_RUNS,
) -> list[float]:  # fmt: skip
    """Call again and again; of each run the mean of the pulses before and after it in us, or 0 where they are not
    ALIKE, so that it does not count. Where fewer than `least` are, so many count whose pulses are the most alike.

    Ends with `most` runs that count; with `least` of them once `seconds` have gone; or with `patience` times as many
    runs or as much time.
    """
    before, began = PULSE.read_us(), perf_counter()
    pulses: list[tuple[float, float]] = []
    counting = 0
    while counting < most and len(pulses) < patience * most:
        gone = perf_counter() - began
        if len(pulses) >= least and (gone >= patience * seconds or (gone >= seconds and counting >= least)):
            break
        call()
        after = PULSE.read_us()
        pulses.append((before, after))
        before = after
        counting += _apart(pulses[-1]) <= ALIKE
    limit = sorted(map(_apart, pulses))[min(least, len(pulses)) - 1]
    PULSE.sound = PULSE.sound and limit <= ALIKE
    return [sum(both) / 2 if _apart(both) <= max(ALIKE, limit) else 0.0 for both in pulses]


def _apart(pulses: tuple[float, float]) -> float:
    return max(pulses) / min(pulses)


def undisturbed_ms(call: Callable[[], Any], seconds: float = SECONDS, least: int = LEAST_RUNS) -> float:
    """What a call takes at the least pulse."""
    samples: list[float] = []

    def run() -> None:
        start = perf_counter()
        call()
        samples.append(1e3 * (perf_counter() - start))

    pulses = steady(run, seconds=seconds, least=least)
    return middle(samples, pulses)


def middle(samples: Sequence[float], pulses: Sequence[float]) -> float:
    """The mean of the middle half, of the runs that count, at the least pulse: clocks of whole microseconds average
    out."""
    ordered = sorted(value * PULSE.least_us / pulse for value, pulse in zip(samples, pulses, strict=True) if pulse)
    cut = len(ordered) // 4
    kept = ordered[cut : len(ordered) - cut]
    return sum(kept) / len(kept)
