"""What the page says of measurements on devices: a table, bars of latency, and how it went on in a sustained run."""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from devices.profiling import front, throttled
from runtime_py.manifest import ProfileRow
from sdk.report.axis import Axis, round_axis

STYLE = Path(__file__).parent / "profiles.css"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 800, 220, 56, 790, 12, 190
STAGES = {"decode": "decode", "preprocess": "prepare", "postprocess": "answer", "end_to_end": "photo to answer"}


@dataclass(frozen=True)
class Measured:
    """One row: its numbers in words, and its bar in % of the device's slowest p99."""

    row: ProfileRow
    title: str
    on_front: bool
    cells: tuple[tuple[str, str], ...]
    """Column and value."""
    p50: float
    p90: float
    p99: float
    spoken: str


@dataclass(frozen=True)
class Curve:
    """A sustained run: points of the median of each second, and of the temperature, with both axes."""

    title: str
    points: str
    hot: str
    ms: Axis
    at: Axis
    celsius: Axis | None
    said: str


@dataclass(frozen=True)
class OnDevice:
    """All rows of one device."""

    device: str
    kind: str
    created: str
    rows: tuple[Measured, ...]
    columns: tuple[str, ...]
    invalid: tuple[tuple[str, str], ...]
    curves: tuple[Curve, ...]


def on_devices(profiles: tuple[ProfileRow, ...], titles: dict[str, str]) -> tuple[OnDevice, ...]:
    """One section a device, in the manifest's order."""

    def place(row: ProfileRow) -> tuple[str, str]:
        return row.device, row.kind

    ordered = sorted(profiles, key=lambda row: [place(one) for one in profiles].index(place(row)))
    return tuple(_device(name, kind, tuple(rows), titles) for (name, kind), rows in groupby(ordered, key=place))


def _device(device: str, kind: str, rows: tuple[ProfileRow, ...], titles: dict[str, str]) -> OnDevice:
    best = front(rows)
    longest = max((row.infer.p99_ms for row in rows if row.infer), default=1.0)
    made = tuple(_measured(row, titles.get(row.target, row.target), row in best, longest) for row in rows)
    known = {name for one in made for name, value in one.cells if value != "–"}
    columns = tuple(name for name, _ in made[0].cells if name in known)
    invalid = tuple((f"{one.title}, {_threads(one.row)}", one.row.why) for one in made if not one.row.valid)
    curves = tuple(_curve(one) for one in made if len(one.row.sustained) > 1)
    return OnDevice(device, kind, max(row.created for row in rows), made, columns, invalid, curves)


def _measured(row: ProfileRow, title: str, on_front: bool, longest: float) -> Measured:
    infer = row.infer
    times = (infer.p50_ms, infer.p90_ms, infer.p99_ms) if infer else (0.0, 0.0, 0.0)
    cells = [(name, _ms(value) if infer else "–") for name, value in zip(("p50", "p90", "p99"), times, strict=True)]
    cells += [(word, _ms(row.stages[name].p50_ms) if name in row.stages else "–") for name, word in STAGES.items()]
    others = {"load": row.load_ms, "first": row.first_ms}
    cells += [(name, "–" if value is None else _ms(value)) for name, value in others.items()]
    cells += [("peak MB", "–" if row.peak_rss_mb is None else f"{row.peak_rss_mb:.0f}")]
    cells += [("energy mJ", "–" if row.energy_mj is None else f"{row.energy_mj:.1f}")]
    p50, p90, p99 = (100 * value / longest for value in times)
    spoken = f"median {_ms(times[0])} ms, nine of ten within {_ms(times[1])}, 99 of 100 within {_ms(times[2])}"
    return Measured(row, title, on_front, tuple(cells), p50, p90, p99, spoken)


def _curve(one: Measured) -> Curve:
    seconds = one.row.sustained
    ms = round_axis(0.0, max(second.p50_ms for second in seconds), BOTTOM, TOP)
    at = round_axis(0.0, seconds[-1].at_s, LEFT, RIGHT, parts=8)
    degrees = [second.celsius for second in seconds if second.celsius is not None]
    celsius = round_axis(min(degrees), max(degrees), BOTTOM, TOP) if len(degrees) > 1 else None
    hot = [] if celsius is None else [(at.place(s.at_s), celsius.place(s.celsius)) for s in seconds if s.celsius]
    slower = throttled(one.row)
    said = "It kept its speed." if slower is None else f"From {slower[0]:.0f} s on {slower[1]:.2f} times as slow."
    title = f"{one.title}, {_threads(one.row)}"
    return Curve(
        title, _line([(at.place(s.at_s), ms.place(s.p50_ms)) for s in seconds]), _line(hot), ms, at, celsius, said
    )


def _line(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _threads(row: ProfileRow) -> str:
    return f"{row.threads} thread{'s' if row.threads > 1 else ''}"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
