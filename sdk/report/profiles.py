"""What the page says of measurements on devices: a table, bars of latency, and how it went on in a sustained run."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from devices.profiling import front, throttled
from runtime_py.manifest import ProfileRow
from sdk.report.axis import Axis, round_axis
from sdk.report.operators import Layers, layers_of

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
class Line:
    """Something else that was seen each second, on a scale of its own: its points, and from what to what it goes."""

    name: str
    points: str
    told: str
    style: str


@dataclass(frozen=True)
class Curve:
    """A sustained run: points of the median of each second with its axes, and the board's state."""

    title: str
    points: str
    ms: Axis
    at: Axis
    others: tuple[Line, ...]
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
    layers: Layers | None


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
    one = [row.threads for row in rows if row.operators]
    alike = [row for row in rows if row.operators and row.threads == min(one)]
    named = [f"{titles.get(row.target, row.target)}, {row.precision}, {_threads(row)}" for row in alike]
    layers = layers_of(alike, named)
    return OnDevice(device, kind, max(row.created for row in rows), made, columns, invalid, curves, layers)


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
    moments = [second.at_s for second in seconds]
    others = (
        _other("temperature", "°C", "hot", moments, [second.celsius for second in seconds], at),
        _other("frequency", "MHz", "mhz", moments, [second.mhz for second in seconds], at),
        _other("power", "W", "watts", moments, [second.watts for second in seconds], at),
    )
    slower = throttled(one.row)
    said = "It kept its speed." if slower is None else f"From {slower[0]:.0f} s on {slower[1]:.2f} times as slow."
    title = f"{one.title}, {_threads(one.row)}"
    points = _line([(at.place(second.at_s), ms.place(second.p50_ms)) for second in seconds])
    return Curve(title, points, ms, at, tuple(filter(None, others)), said)


def _other(
    name: str, unit: str, style: str, moments: list[float], values: Sequence[float | None], at: Axis
) -> Line | None:  # fmt: skip
    known = [(moment, value) for moment, value in zip(moments, values, strict=True) if value is not None]
    if len(known) < 2:
        return None
    low, high = min(value for _, value in known), max(value for _, value in known)
    axis = round_axis(low, high, BOTTOM, TOP)
    points = _line([(at.place(moment), axis.place(value)) for moment, value in known])
    return Line(name, points, f"{low:.4g} to {high:.4g} {unit}", style)


def _line(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _threads(row: ProfileRow) -> str:
    return f"{row.threads} thread{'s' if row.threads > 1 else ''}"


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"
