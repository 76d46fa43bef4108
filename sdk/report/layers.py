"""Where each layer's sensitivity stands: one row a layer, in the network's order. The template draws."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from runtime_py.manifest import LayerError
from runtime_py.proof import CEILING_DB
from sdk.report import words
from sdk.report.axis import round_axis

READABLE = 40
"""Rows that one can still read; of more layers only the most sensitive are drawn."""
DRAWN = 30
WIDE, NARROW = 36, 17
"""Letters of a name that fit its column on a page and on a phone."""
LEFT, RIGHT, BAR, BAR_WIDTH = 38.0, 75.0, 80.0, 7.0
TOP, ROW, AXIS = 24, 19, 24


@dataclass(frozen=True)
class LayerRow:
    """One layer: its quality at `x` and the bar of its changed answers, in percent of the width; `y` in px."""

    name: str
    short: str
    y: float
    x: float
    bar: float
    content: str
    kept: bool
    kept_left: bool
    """Whether the word stands left of the mark, where there is no room at its right."""
    text: str


@dataclass(frozen=True)
class Sensitivity:
    """The whole drawing. `whole_x` is where the network with every layer quantised stands; `left_out` layers are in
    the table only."""

    rows: tuple[LayerRow, ...]
    ticks: tuple[tuple[float, str], ...]
    left: float
    right: float
    bar: float
    top: float
    whole_x: float | None
    whole: str
    kept: int
    left_out: int
    axis_y: float
    height: float


def plot_sensitivity(layers: Sequence[LayerError], whole_db: float | None = None) -> Sensitivity | None:
    """The plot of the layers; of more than READABLE the DRAWN most sensitive and those kept. None where there is none.

    `whole_db` is the SQNR of the whole quantised program.
    """
    if not layers:
        return None
    drawn = _drawn(layers)
    values = [layer.quality_db for layer in drawn if layer.quality_db < CEILING_DB]
    values += [] if whole_db is None else [whole_db]
    axis = round_axis(min(0.0, *values, 0.0), max([20.0, *values]), LEFT, RIGHT, parts=3)
    most = max(layer.content for layer in layers) or 1.0
    names = labels(layers)
    rows = tuple(
        LayerRow(
            name=shortened(names[layer.name], WIDE),
            short=shortened(names[layer.name], NARROW),
            y=TOP + ROW * (index + 0.5),
            x=axis.place(layer.quality_db),
            bar=round(BAR_WIDTH * layer.content / most, 3),
            content=words.share(layer.content),
            kept=layer.kept,
            kept_left=axis.place(layer.quality_db) > RIGHT - 12,
            text=_in_words(layer),
        )
        for index, layer in enumerate(drawn)
    )
    axis_y = TOP + ROW * len(rows)
    return Sensitivity(
        rows=rows,
        ticks=axis.ticks,
        left=LEFT,
        right=RIGHT,
        bar=BAR,
        top=TOP,
        whole_x=None if whole_db is None else axis.place(whole_db),
        whole=words.sqnr(whole_db),
        kept=sum(layer.kept for layer in layers),
        left_out=len(layers) - len(rows),
        axis_y=axis_y,
        height=axis_y + AXIS,
    )


def labels(layers: Sequence[LayerError]) -> dict[str, str]:
    """By name, what a reader knows a layer by: its module, where that holds no other layer."""
    shared = Counter(layer.module for layer in layers)
    return {layer.name: layer.module if layer.module and shared[layer.module] == 1 else layer.name for layer in layers}


def shortened(name: str, letters: int) -> str:
    """The name in at most so many letters: its parts from the left become initials, as numbers and the end tell
    modules apart; what is still too long loses its beginning."""
    parts = name.split(".")
    for index in range(len(parts) - 1):
        if len(".".join(parts)) > letters and not parts[index].isdigit():
            parts[index] = parts[index][:1]
    text = ".".join(parts)
    return text if len(text) <= letters else "…" + text[1 - letters :]


def _drawn(layers: Sequence[LayerError]) -> list[LayerError]:
    if len(layers) <= READABLE:
        return list(layers)
    order = sorted(range(len(layers)), key=lambda index: layers[index].quality_db)
    chosen = set(order[:DRAWN]) | {index for index, layer in enumerate(layers) if layer.kept}
    return [layer for index, layer in enumerate(layers) if index in chosen]


def _in_words(layer: LayerError) -> str:
    parts = [
        f"{layer.name} ({layer.module})" if layer.module else layer.name,
        f"SQNR {words.sqnr(layer.quality_db)}{' dB' if layer.quality_db < CEILING_DB else ''}",
        f"{words.share(layer.content)} of the answers changed",
        f"{words.count(layer.macs)} MACs, {words.count(layer.weights)} weights",
    ]
    kept = (["kept: " + layer.why] if layer.why else ["kept"]) if layer.kept else []
    return "; ".join(parts + kept)
