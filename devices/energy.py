"""Energy of an inference: an idle baseline, then windows of work, by the rules of MLPerf Tiny and Mobile.

E = (∫P dt − P_idle·t) / N in each window, median and spread over the windows. The latency run is a run of its own
without the meter, which may cost a tenth of the speed.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, ClassVar

from devices.meters import Meter
from devices.meters.alignment import NotAligned, aligned
from devices.meters.samples import Kind, Samples, WindowRefused, energy_j
from runtime_py.errors import SdkError

IDLE_S, WINDOWS, WINDOW_S = 30.0, 5, 10.0
"""The protocol's least."""
WARM_UP_RUNS, WARM_UP_S = 10, 1.0
SETTLE_S = 2.0
"""Idling after the last window, so that a logger writes it and its end can be seen."""
SPREAD = 0.05
"""Of the median: windows that are further apart were disturbed."""
IDLE_PARTS = 3
ROUNDING_S = 1e-3


class BadProtocol(SdkError):
    """A measurement that cannot be made as asked for."""

    id = "bad-protocol"


@dataclass(frozen=True)
class Spread:
    """Over the windows; `mad` is the median distance from the median. The field that holds it names the unit."""

    median: float
    min: float
    max: float
    mad: float


@dataclass(frozen=True)
class Window:
    """A stretch of work, `start_s` after the baseline began. `refused` says why its energy is None."""

    start_s: float
    duration_s: float
    inferences: int
    energy_j: float | None
    refused: str = ""


@dataclass(frozen=True)
class Span:
    """Seconds of the run's clock, and how many inferences were made in it."""

    start_s: float
    end_s: float
    inferences: int = 0

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Marks:
    """When a run idled and when it worked, warm-up and windows apart."""

    idle: Span
    warm_up: Span
    windows: tuple[Span, ...]


@dataclass(frozen=True)
class _Figures:
    """Millijoules an inference, all power counted (gross), and what is above idling (net). Unknown is None.

    `valid` is false, and `why` says so, where windows were refused or differ, or the run was shorter than the protocol.
    """

    meter: str
    rail: str
    gross_mj: Spread | None
    net_mj: Spread | None
    idle_w: float | None
    idle_spread_w: float | None
    idle_refused: str
    windows: tuple[Window, ...]
    valid: bool
    why: str
    notes: tuple[str, ...]

    kind: ClassVar[Kind]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the kind."""
        return {"kind": self.kind} | asdict(self)


@dataclass(frozen=True)
class MeasuredEnergy(_Figures):
    """From a sensor of power or energy."""

    kind: ClassVar[Kind] = "measured"


@dataclass(frozen=True)
class EstimatedEnergy(_Figures):
    """From a model or a fit. Never to be compared with a measured one."""

    kind: ClassVar[Kind] = "estimated"


@dataclass(frozen=True)
class NoSensor:
    """There is no figure, and `why`."""

    why: str
    kind: ClassVar[str] = "no sensor"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with the kind."""
        return {"kind": self.kind, "why": self.why}


Energy = MeasuredEnergy | EstimatedEnergy | NoSensor
KINDS: dict[Kind, type[MeasuredEnergy] | type[EstimatedEnergy]] = {
    "measured": MeasuredEnergy,
    "estimated": EstimatedEnergy,
}


def measure(
    meter: Meter, work: Callable[[], object], idle_s: float = IDLE_S, windows: int = WINDOWS,
    window_s: float = WINDOW_S, *, inferences: int = 1,
    clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
) -> Energy:  # fmt: skip
    """Energy of `work`, which makes so many `inferences` a call. NoSensor where the meter cannot be read here.

    `clock` must be the meter's. Whatever ends the run, the meter is stopped. Raises BadProtocol and MeterFailed.
    """
    if not (idle_s > 0 and windows >= 1 and window_s > 0 and inferences >= 1):
        given = f"idle {idle_s} s, {windows} windows of {window_s} s, {inferences} inferences a call"
        raise BadProtocol(given, expected="more than nothing of each")
    if (reason := meter.available()) is not None:
        return NoSensor(reason)
    meter.start()
    try:
        marks = _run(work, idle_s, windows, window_s, inferences, clock, sleep)
    except BaseException:
        with suppress(SdkError):  # what ended the run says more
            meter.stop()
        raise
    return evaluate(meter.name, meter.rail, meter.kind, marks, meter.stop())


def evaluate(meter: str, rail: str, kind: Kind, marks: Marks, samples: Samples) -> MeasuredEnergy | EstimatedEnergy:
    """The figures of a run whose samples are there; those in a logger's own time are aligned first."""
    if samples.relative:
        samples, why_not = _aligned(samples, marks)
    else:
        why_not = ""
    begin_s = marks.idle.start_s
    windows = tuple(_window(samples, span, begin_s, why_not) for span in marks.windows)
    idle_w, idle_spread_w, idle_refused = _idle(samples, marks.idle, why_not)
    kept = [(window, window.energy_j) for window in windows if window.energy_j is not None]
    gross = [joules * 1e3 / window.inferences for window, joules in kept]
    net = []
    if idle_w is not None:
        net = [(joules - idle_w * window.duration_s) * 1e3 / window.inferences for window, joules in kept]
    gross_mj, net_mj = _spread(gross), _spread(net)
    why = _why(marks, windows, gross_mj, net_mj, idle_refused)
    notes = (*samples.notes, *_noise(kept, idle_w, idle_spread_w))
    return KINDS[kind](
        meter, rail, gross_mj, net_mj, idle_w, idle_spread_w, idle_refused, windows, not why, "; ".join(why), notes
    )  # fmt: skip


def _run(
    work: Callable[[], object], idle_s: float, windows: int, window_s: float, inferences: int,
    clock: Callable[[], float], sleep: Callable[[float], None],
) -> Marks:  # fmt: skip
    start_s = clock()
    sleep(idle_s)
    idle = Span(start_s, clock())
    warm_up = _work(work, WARM_UP_S, WARM_UP_RUNS, inferences, clock)
    spans = tuple(_work(work, window_s, 1, inferences, clock) for _ in range(windows))
    sleep(SETTLE_S)
    return Marks(idle, warm_up, spans)


def _work(
    work: Callable[[], object], seconds: float, runs: int, inferences: int, clock: Callable[[], float]
) -> Span:  # fmt: skip
    """Whole calls only, at least `runs` and for at least `seconds`."""
    start_s = now = clock()
    calls = 0
    while calls < runs or now - start_s < seconds:
        work()
        calls += 1
        now = clock()
    return Span(start_s, now, calls * inferences)


def _aligned(samples: Samples, marks: Marks) -> tuple[Samples, str]:
    """The samples on the run's clock, or why they cannot be."""
    end_s = marks.windows[-1].end_s
    try:
        return aligned(samples, [(marks.warm_up.start_s, end_s)], (marks.idle.start_s, end_s)), ""
    except NotAligned as error:
        return samples, error.given


def _window(samples: Samples, span: Span, begin_s: float, why_not: str) -> Window:
    joules, refused = _energy(samples, span.start_s, span.end_s, why_not)
    return Window(span.start_s - begin_s, span.duration_s, span.inferences, joules, refused)


def _energy(samples: Samples, start_s: float, end_s: float, why_not: str) -> tuple[float | None, str]:
    if why_not:
        return None, why_not
    try:
        return energy_j(samples, start_s, end_s), ""
    except WindowRefused as error:
        return None, error.given


def _idle(samples: Samples, idle: Span, why_not: str) -> tuple[float | None, float | None, str]:
    """Idle watts, how far its thirds are apart where they can be told, and why not."""
    joules, refused = _energy(samples, idle.start_s, idle.end_s, why_not)
    if joules is None:
        return None, None, refused
    edges = [idle.start_s + idle.duration_s * at / IDLE_PARTS for at in range(IDLE_PARTS + 1)]
    thirds = [_energy(samples, edges[at], edges[at + 1], "")[0] for at in range(IDLE_PARTS)]
    known = [third for third in thirds if third is not None]
    apart = (max(known) - min(known)) * IDLE_PARTS / idle.duration_s if len(known) == IDLE_PARTS else None
    return joules / idle.duration_s, apart, ""


def _spread(values: list[float]) -> Spread | None:
    if not values:
        return None
    middle = median(values)
    return Spread(middle, min(values), max(values), median(abs(value - middle) for value in values))


def _why(
    marks: Marks, windows: tuple[Window, ...], gross_mj: Spread | None, net_mj: Spread | None, idle_refused: str
) -> list[str]:  # fmt: skip
    """What keeps the run from being valid."""
    shortest_s = min(span.duration_s for span in marks.windows)
    reasons = []
    if min(marks.idle.duration_s - IDLE_S, shortest_s - WINDOW_S) < -ROUNDING_S or len(windows) < WINDOWS:
        given = f"idle {marks.idle.duration_s:.3g} s and {len(windows)} windows of {shortest_s:.3g} s"
        reasons.append(f"shorter than the protocol: {given}, not {IDLE_S:g} s and {WINDOWS} of {WINDOW_S:g} s")
    if refused := [window.refused for window in windows if window.refused]:
        reasons.append(f"{len(refused)} of {len(windows)} windows refused: {'; '.join(dict.fromkeys(refused))}")
    if idle_refused:
        reasons.append(f"no idle baseline: {idle_refused}")
    if gross_mj is not None and gross_mj.max - gross_mj.min > SPREAD * gross_mj.median:
        apart = (gross_mj.max - gross_mj.min) / gross_mj.median
        reasons.append(f"the windows are {apart:.0%} apart, more than {SPREAD:.0%}")
    if net_mj is not None and net_mj.median < 0:
        reasons.append("the board took less at work than idle: something else ran during the baseline")
    return reasons


def _noise(
    kept: list[tuple[Window, float]], idle_w: float | None, idle_spread_w: float | None
) -> tuple[str, ...]:  # fmt: skip
    """Says so where what is above idling is no more than idling itself varies."""
    if not kept or idle_w is None or idle_spread_w is None:
        return ()
    above_w = median(joules / window.duration_s for window, joules in kept) - idle_w
    if abs(above_w) > idle_spread_w:
        return ()
    return (f"net is noise: {above_w:.3g} W above idle, which itself varies by {idle_spread_w:.3g} W",)
