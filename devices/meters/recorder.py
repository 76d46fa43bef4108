"""The two ways to listen: ask a sensor every so often, or follow a command that prints. Memory is bounded in both."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise

from devices.meters.access import Access
from devices.meters.samples import Kind, MeterFailed, Reading, Samples
from runtime_py.errors import SdkError

MOST_SAMPLES = 50_000
"""About 6 MB: 80 minutes at ten a second. The oldest go first, and their windows are refused."""
FIRST_S = 10.0
"""How long a command may take to print its first value."""


class Recorder:
    """Keeps the newest readings, and counts what was lost."""

    def __init__(self, period_s: float, counts: bool, most: int = MOST_SAMPLES) -> None:
        self.period_s = period_s
        self.counts = counts
        self._kept: deque[tuple[float, Reading]] = deque(maxlen=most)
        self._added = 0
        self._failed = 0
        self.first_failure = ""

    @property
    def empty(self) -> bool:
        return not self._kept

    def add(self, time_s: float, reading: Reading) -> None:
        self._kept.append((time_s, reading))
        self._added += 1

    def fail(self, reason: str) -> None:
        self._failed += 1
        self.first_failure = self.first_failure or reason

    def samples(self, faults: tuple[str, ...] = (), least_changes: int = 0) -> Samples:
        """All that is kept, as watts or as joules."""
        times, values, back_s = _on_one_clock(list(self._kept))
        notes = []
        if self._failed:
            notes.append(f"{self._failed} of {self._failed + self._added} readings failed: {self.first_failure}")
        if lost := self._added - len(self._kept):
            notes.append(f"the first {lost} samples were dropped: {self._kept.maxlen} are kept")
        return Samples(
            times,
            self.period_s,
            watts=None if self.counts else values,
            joules=values if self.counts else None,
            faults=(*faults, f"the device's clock went back by {back_s:.3g} s") if back_s else faults,
            notes=tuple(notes),
            least_changes=least_changes,
        )


def _on_one_clock(kept: list[tuple[float, Reading]]) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Times, values, and how far the device's clock went back.

    The device's own times are better than those of arrival; the least delay links the clocks.
    """
    own = [(reading.time_s, reading.value, arrived) for arrived, reading in kept if reading.time_s is not None]
    if len(own) != len(kept) or not own:
        return tuple(time for time, _ in kept), tuple(reading.value for _, reading in kept), 0.0
    back_s = max((before[0] - after[0] for before, after in pairwise(own)), default=0.0)
    offset = min(arrived - time for time, _, arrived in own)
    fresh = [row for at, row in enumerate(own) if at == 0 or row[0] != own[at - 1][0]]  # not read twice
    return tuple(time + offset for time, _, _ in fresh), tuple(value for _, value, _ in fresh), max(0.0, back_s)


class Polled:
    """A meter that is asked every `period_s`. `begin` gives a fresh function that reads once."""

    def __init__(
        self, name: str, rail: str, kind: Kind, period_s: float, begin: Callable[[], Callable[[], Reading]],
        access: Access, *, counts: bool = False, at_end: Callable[[], tuple[str, ...]] = tuple, least_changes: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.rail, self.kind, self.period_s = name, rail, kind, period_s
        self._begin = begin
        self._access = access
        self._counts = counts
        self._at_end = at_end
        self._least_changes = least_changes
        self._recorder: Recorder | None = None

    def available(self) -> str | None:
        """Why it cannot be read; None where one reading works."""
        try:
            self._begin()()
        except SdkError as error:
            return error.given
        return None

    def start(self) -> None:
        """Raises MeterFailed where it runs already or its first reading fails."""
        if self._recorder is not None:
            raise MeterFailed(f"the meter {self.name!r} runs already", hint="stop it first")
        recorder, read = Recorder(self.period_s, self._counts), self._begin()
        recorder.add(*self._timed(read))
        self._recorder = recorder
        self._stop = self._access.every(self.period_s, lambda: self._tick(recorder, read))

    def stop(self) -> Samples:
        """All since `start`. Raises MeterFailed where it was not started."""
        recorder = self._recorder
        if recorder is None:
            raise MeterFailed(f"the meter {self.name!r} was not started")
        self._recorder = None
        self._stop()
        try:
            faults = self._at_end()
        except SdkError as error:  # unplugged in the middle: what is there is kept, and refused
            faults = (error.given,)
        return recorder.samples(faults, self._least_changes)

    def _tick(self, recorder: Recorder, read: Callable[[], Reading]) -> None:
        try:
            recorder.add(*self._timed(read))
        except SdkError as error:  # one lost reading is a gap, which a window judges
            recorder.fail(error.given)

    def _timed(self, read: Callable[[], Reading]) -> tuple[float, Reading]:
        """A reading belongs to the middle of the time that it takes."""
        before = self._access.clock()
        reading = read()
        return (before + self._access.clock()) / 2, reading


class Streamed:
    """A meter whose command prints. `begin` gives a fresh function that makes a reading of a line, or None."""

    def __init__(
        self, name: str, rail: str, kind: Kind, period_s: float, command: Sequence[str],
        begin: Callable[[], Callable[[str], Reading | None]], check: Callable[[], str | None], access: Access,
        *, counts: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.rail, self.kind, self.period_s = name, rail, kind, period_s
        self.command = tuple(command)
        self.available = check
        self._begin = begin
        self._access = access
        self._counts = counts
        self._recorder: Recorder | None = None

    def start(self) -> None:
        """Returns with the first value. Raises MeterFailed where none comes within FIRST_S."""
        if self._recorder is not None:
            raise MeterFailed(f"the meter {self.name!r} runs already", hint="stop it first")
        if (reason := self.available()) is not None:
            raise MeterFailed(reason)
        recorder, parse = Recorder(self.period_s, self._counts), self._begin()
        first, said = threading.Event(), deque[str](maxlen=1)

        def on_line(line: str) -> None:
            try:
                reading = parse(line)
            except SdkError as error:
                recorder.fail(error.given)
                return
            if reading is not None:
                recorder.add(self._access.clock(), reading)
                first.set()
            elif line.strip():
                said.append(line.strip())

        stop = self._access.follow(self.command, on_line, first.set)
        if not first.wait(FIRST_S) or recorder.empty:
            ended = stop()
            last = recorder.first_failure or (f"the last that it said: {said[0]}" if said else "it said nothing")
            raise MeterFailed(f"{self.command[0]} gave no value: {last}", hint=ended)
        self._recorder, self._stop = recorder, stop

    def stop(self) -> Samples:
        """All since `start`. Raises MeterFailed where it was not started."""
        recorder = self._recorder
        if recorder is None:
            raise MeterFailed(f"the meter {self.name!r} was not started")
        self._recorder = None
        ended = self._stop()
        return recorder.samples((ended,) if ended else ())
