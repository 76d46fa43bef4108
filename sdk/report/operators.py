"""The layers of a network on one device: a bar for each target, all on one scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime_py.manifest import ProfileRow, Roofline
from sdk.layers import Module, Spent, side_by_side

STYLE = Path(__file__).parent / "operators.css"
SHOWN = 20
"""Modules that are shown at once: the slowest ones, in the network's order."""


@dataclass(frozen=True)
class Bar:
    """One target's time of one module: its text, its bar in % of the slowest one's, and the whole story."""

    text: str
    width: float
    told: str


@dataclass(frozen=True)
class Line:
    """One module."""

    name: str
    macs: str
    bars: tuple[Bar | None, ...]


@dataclass(frozen=True)
class Layers:
    """The table: a column for each target, the slowest modules, and the others."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    others: tuple[Line, ...]
    sums: tuple[str, ...]
    roof: str
    """The device's own limits, the best of what was measured; empty where none was."""


def layers_of(rows: Sequence[ProfileRow], titles: Sequence[str]) -> Layers | None:
    """The table of rows of one number of threads that have operators, under their `titles`; None where none has."""
    kept = [(row, title) for row, title in zip(rows, titles, strict=True) if row.operators]
    if not kept:
        return None
    modules = side_by_side([row for row, _ in kept])
    longest = max(module.slowest_ms for module in modules) or 1.0
    first = set(sorted(range(len(modules)), key=lambda at: -modules[at].slowest_ms)[:SHOWN])
    return Layers(
        columns=tuple(title for _, title in kept),
        lines=tuple(_line(modules[at], longest) for at in range(len(modules)) if at in first),
        others=tuple(_line(modules[at], longest) for at in range(len(modules)) if at not in first),
        sums=tuple(_sum(row) for row, _ in kept),
        roof=_roof([row.roofline for row, _ in kept if row.roofline is not None], kept[0][0].threads),
    )


def _sum(row: ProfileRow) -> str:
    total = sum(one.ms for one in row.operators)
    whole = f" of {row.whole_ms:.2f}" if row.whole_ms else ""
    return f"{total:.2f}{whole} ms"


def _roof(roofs: Sequence[Roofline], threads: int) -> str:
    found = {
        "G float32 MAC/s": [one.float_gmacs_per_s for one in roofs],
        "G int8 MAC/s": [one.int8_gmacs_per_s for one in roofs],
        "GB/s": [one.gbytes_per_s for one in roofs],
    }
    known = {unit: [value for value in values if value is not None] for unit, values in found.items()}
    best = [f"{max(values):,.0f} {unit}" for unit, values in known.items() if values]
    return f"{', '.join(best)} with {threads} thread{'s' * (threads > 1)}" if best else ""


def _line(module: Module, longest: float) -> Line:
    macs = f"{module.macs / 1e6:.2f}" if module.macs else ""
    return Line(module.name, macs, tuple(None if one is None else _bar(one, longest) for one in module.spent))


def _bar(one: Spent, longest: float) -> Bar:
    told = [f"{one.ms:.4f} ms, {one.share:.1%} of the network"]
    told += [f"{one.gmacs_per_s:.1f} G MAC/s"] if one.gmacs_per_s is not None else []
    told += [f"{one.roof:.0%} of what the device could"] if one.roof is not None else []
    return Bar(f"{one.ms:.3f}", 100 * one.ms / longest, ", ".join([*told, "as " + " + ".join(one.operators)]))
