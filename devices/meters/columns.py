"""What the columns of a logger's CSV mean, by their names and units: time, power, or voltage and current, or energy."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Literal

from devices.meters.samples import BadReading

Clock = Literal["wall", "relative"]

NAMES = {
    "time": ("time", "timestamp", "date", "datetime", "elapsed", "t", "seconds", "ts"),
    "power": ("power", "watt", "watts", "p", "w"),
    "voltage": ("voltage", "volt", "volts", "vbus", "v", "u"),
    "current": ("current", "amps", "ampere", "amperes", "ibus", "i", "a"),
    "energy": ("energy", "e", "j", "joule", "joules"),
}
"""First words of a column's name, by what it holds."""
SCALES = {
    "time": {"": 1.0, "s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3, "us": 1e-6},
    "power": {"": 1.0, "w": 1.0, "watt": 1.0, "watts": 1.0, "mw": 1e-3, "uw": 1e-6},
    "voltage": {"": 1.0, "v": 1.0, "volt": 1.0, "volts": 1.0, "mv": 1e-3, "uv": 1e-6},
    "current": {"": 1.0, "a": 1.0, "amps": 1.0, "ma": 1e-3, "ua": 1e-6},
    "energy": {"": 1.0, "j": 1.0, "ws": 1.0, "mj": 1e-3, "uj": 1e-6, "wh": 3600.0, "mwh": 3.6},
}
"""Units, in s, W, V, A and J."""
FILLERS = frozenset({"time", "stamp", "unix", "utc", "in", "of", "total", "date"})
"""Words that change nothing; any other makes it another thing, as in power_limit_W."""
VALUES = (("power",), ("voltage", "current"), ("energy",))
"""In this order: power is what a logger measured, a counter of energy is often coarse."""
RELATIVE_BELOW = 1e8
"""Seconds: 1973 as a date. A logger that counts from its own start shows less."""


@dataclass(frozen=True)
class Columns:
    """Where things are, and their scales. Either power, or voltage and current, or cumulative energy."""

    delimiter: str | None
    time: int
    time_scale: float
    values: tuple[tuple[int, float], ...]
    counts: bool


def columns_of(header: str, time: str | None = None) -> Columns:
    """Of the line with the names; `time` names the column of times. Raises BadReading that lists what is missing."""
    delimiter = next((mark for mark in (";", "\t", ",") if mark in header), None)
    names = [name.strip().strip('"') for name in header.split(delimiter)]
    found: dict[str, tuple[int, float]] = {}
    for at, name in enumerate(names):
        quantity, scale = _meaning(name)
        if name == time:
            found["time"] = (at, scale if quantity == "time" else 1.0)
        elif quantity and (quantity != "time" or time is None):
            found.setdefault(quantity, (at, scale))
    wanted = next((kind for kind in VALUES if all(name in found for name in kind)), None)
    if wanted is None or "time" not in found:
        raise BadReading(
            f"the columns are {', '.join(names)}",
            expected="a time, and power, or voltage and current, or energy, with units as in power_mW or Voltage(V)",
        )
    return Columns(delimiter, *found["time"], tuple(found[name] for name in wanted), wanted == ("energy",))


def row_reader(columns: Columns) -> Callable[[str], tuple[float, Clock, float]]:
    """A function of a line: time in seconds, by which clock, and watts or cumulative joules. It raises BadReading."""

    def read(line: str) -> tuple[float, Clock, float]:
        cells = [cell.strip().strip('"') for cell in line.split(columns.delimiter)]
        try:
            product = 1.0
            for at, scale in columns.values:
                product *= _number(cells[at], columns.delimiter) * scale
            return *time_of(cells[columns.time], columns.time_scale, columns.delimiter), product
        except (ValueError, IndexError) as error:
            raise BadReading(f"the row {line!r}", expected="numbers, and a time") from error

    return read


def time_of(text: str, scale: float = 1.0, delimiter: str | None = None) -> tuple[float, Clock]:
    """Unix seconds, ms or µs, ISO 8601 (local time where it names no zone), or seconds from a logger's own start."""
    if re.match(r"\d{4}-\d\d-\d\d", text):
        return datetime.fromisoformat(text).timestamp(), "wall"
    value = _number(text, delimiter)
    if value * scale < RELATIVE_BELOW:
        return value * scale, "relative"
    while value > 1e11:  # milliseconds, or microseconds, whatever the name says
        value /= 1e3
    return value, "wall"


def _meaning(name: str) -> tuple[str, float]:
    """What a column holds, and its scale; "" for one that is not known."""
    first, *rest = re.findall(r"[a-z]+", name.lower().replace("µ", "u").replace("μ", "u")) or [""]
    for quantity, names in NAMES.items():
        scales = SCALES[quantity]
        if first in names:
            units = [word for word in rest if word not in FILLERS]
            if len(units) <= 1 and all(unit in scales for unit in units):
                return quantity, scales[units[0] if units else first if first in scales else ""]
        elif first and not rest and first in scales and quantity != "time":  # a unit alone, as in mW
            return quantity, scales[first]
    return "", 1.0


def _number(text: str, delimiter: str | None) -> float:
    """A finite number; a comma is a decimal one where cells are divided by something else. Raises ValueError."""
    value = float(text.replace(",", ".") if delimiter != "," else text)
    if not isfinite(value):
        raise ValueError(text)
    return value


def is_header(line: str) -> bool:
    """Whether a line names columns: one of its words is what a column may be called."""
    return any(_meaning(cell)[0] for cell in re.split(r"[;\t, ]", line))
