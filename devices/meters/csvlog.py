"""Any logger's file: its times come to the run's clock by the date, by a given offset, or by what the run did."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from devices.meters.access import Access
from devices.meters.columns import Clock, columns_of, is_header, row_reader
from devices.meters.samples import BadReading, Kind, MeterFailed, Samples


class BadLog(MeterFailed):
    """A log that cannot be read; says which line."""

    id = "bad-log"


@dataclass(frozen=True)
class Log:
    """What a file holds, in the logger's own time."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    clock: Clock
    counts: bool

    @property
    def period_s(self) -> float:
        """The usual distance of two times that differ: many loggers write several rows a second under one time."""
        return median(later - earlier for earlier, later in pairwise(self.times_s) if later > earlier)


class CsvLog:
    """A meter that reads a logger's file when the run is over. The logger runs by itself and writes as it goes."""

    def __init__(
        self, access: Access, path: Path, offset_s: float | None, align: bool, time: str | None, rail: str, kind: Kind
    ) -> None:
        self.name, self.rail, self.kind = "csv", rail, kind
        self._access = access
        self._path, self._offset_s, self._align, self._time = path, offset_s, align, time
        self._started: tuple[float, float] | None = None

    def available(self) -> str | None:
        """Why no log can come; its file may be absent still."""
        if not self._path.name:
            return "no log is named: path=..."
        return None if self._path.parent.is_dir() else f"there is no folder {self._path.parent}"

    def start(self) -> None:
        """Notes the clocks. Raises MeterFailed where it runs already."""
        if self._started is not None:
            raise MeterFailed("the meter 'csv' runs already", hint="stop it first")
        self._started = (self._access.clock(), self._access.wall())

    def stop(self) -> Samples:
        """The whole log. Raises BadLog, and MeterFailed where it was not started."""
        if self._started is None:
            raise MeterFailed("the meter 'csv' was not started")
        (clock_s, wall_s), self._started = self._started, None
        log = read_log(self._path, self._time)
        if self._align or (log.clock == "relative" and self._offset_s is None):
            return _samples(log, 0.0, relative=True)
        if log.clock == "relative":
            return _samples(log, clock_s + (self._offset_s or 0.0))
        return _samples(log, clock_s - wall_s + (self._offset_s or 0.0))


def csvlog(
    access: Access, path: str | Path = "", offset_s: float | None = None, align: bool = False,
    time: str | None = None, rail: str = "external logger", kind: Kind = "measured",
) -> CsvLog:  # fmt: skip
    """Dates need nothing where the logger's clock is this machine's; else `offset_s` is added, or `align` finds it.

    A log that counts from its own start is aligned, unless `offset_s` says how long after the meter's start that was.
    """
    return CsvLog(access, Path(path), offset_s, align, time, rail, kind)


def read_log(path: Path, time: str | None = None) -> Log:
    """Reads a CSV with a line of names. A last line without its end is still being written, and left. Raises BadLog."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadLog(f"{path} cannot be read: {error}") from error
    lines = text.split("\n")[:-1]
    head = next((at for at, line in enumerate(lines) if is_header(line)), None)
    if head is None:
        raise BadLog(f"{path.name} has no line that names its columns", expected="such as time_s,power_W")
    try:
        columns = columns_of(lines[head].strip(), time)
    except BadReading as error:
        raise BadLog(f"{path.name}: {error.given}", expected=error.expected) from error
    read = row_reader(columns)
    times: list[float] = []
    values: list[float] = []
    clocks: set[Clock] = set()
    for number, line in enumerate(lines[head + 1 :], head + 2):
        if not line.strip():
            continue
        try:
            time_s, clock, value = read(line.strip())
        except BadReading as error:
            raise BadLog(f"{path.name}, line {number}: {error.given}", expected=error.expected) from error
        if times and time_s < times[-1]:
            raise BadLog(
                f"{path.name}, line {number}: time goes back by {times[-1] - time_s:.6g} s",
                hint="the logger's clock was set, or two logs are in one file",
            )
        times.append(time_s)
        values.append(value)
        clocks.add(clock)
    if len(set(times)) < 2 or len(clocks) != 1:
        raise BadLog(f"{path.name} has {len(times)} rows at {len(set(times))} times", expected="at least two times")
    return Log(tuple(times), tuple(values), clocks.pop(), columns.counts)


def _samples(log: Log, offset_s: float, relative: bool = False) -> Samples:
    return Samples(
        tuple(time + offset_s for time in log.times_s),
        log.period_s,
        watts=None if log.counts else log.values,
        joules=log.values if log.counts else None,
        relative=relative,
    )
