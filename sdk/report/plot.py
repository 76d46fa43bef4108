"""Where each mark of the error plot stands. The template draws; nothing here knows HTML.

Horizontal places are percent of the drawing's width, so that the plot follows the page and its text keeps its
size; vertical ones are px.
"""

import math
from dataclasses import dataclass

from runtime_py.manifest import Artifact
from runtime_py.proof import CEILING_DB, GATE_DB

EXCELLENT_DB = 100.0
LEFT, RIGHT, EXACT = 1.5, 86.0, 95.5
TOP, LABEL, ROW, GAP, AXIS = 4, 24, 11, 18, 40
SHAPES = 5
"""How many marks the template can tell apart; inputs beyond that start over."""


@dataclass(frozen=True)
class Dot:
    """One golden input's SQNR: `x` in percent, `y` in px, `shape` the number of its mark."""

    x: float
    y: float
    shape: int
    text: str


@dataclass(frozen=True)
class Lane:
    """One artifact: its dots, its band of values that would count as failed, and its worst value in words."""

    title: str
    precision: str
    worst: str
    top: float
    height: float
    limit_x: float | None
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Plot:
    """The whole drawing. `ticks` are (percent, dB)."""

    lanes: tuple[Lane, ...]
    ticks: tuple[tuple[float, int], ...]
    inputs: tuple[tuple[int, str], ...]
    excellent_x: float
    axis_y: float
    height: float
    exact_x: float | None
    limits: tuple[tuple[str, int], ...]
    text: str


def plot_sqnr(artifacts: list[tuple[str, Artifact]]) -> Plot | None:
    """The plot of titled artifacts; None where none of them was compared with PyTorch."""
    proven = [(title, artifact) for title, artifact in artifacts if artifact.proofs]
    if not proven:
        return None
    inputs = list(dict.fromkeys(proof.input for _, artifact in proven for proof in artifact.proofs))
    values = [p.sqnr_db for _, a in proven for p in a.proofs if p.sqnr_db < CEILING_DB]
    axis_db = max(120, 20 * math.ceil(max(values, default=0.0) / 20))
    lane_height = LABEL + ROW * len(inputs)
    lanes = tuple(
        _lane(title, artifact, TOP + row * (lane_height + GAP), inputs, axis_db)
        for row, (title, artifact) in enumerate(proven)
    )
    axis_y = TOP + len(proven) * (lane_height + GAP) - GAP / 2
    return Plot(
        lanes=lanes,
        ticks=tuple((place(db, axis_db), db) for db in range(0, axis_db + 1, 20)),
        inputs=tuple((index % SHAPES, name) for index, name in enumerate(inputs)),
        excellent_x=place(EXCELLENT_DB, axis_db),
        axis_y=axis_y,
        height=axis_y + AXIS,
        exact_x=EXACT if any(p.sqnr_db >= CEILING_DB for _, a in proven for p in a.proofs) else None,
        limits=tuple(
            (precision, round(limit))
            for precision, limit in GATE_DB.items()
            if any(artifact.precision == precision for _, artifact in proven)
        ),
        text="; ".join(f"{lane.title} {lane.precision}: {lane.worst}" for lane in lanes),
    )


def place(db: float, axis_db: float) -> float:
    """Percent of the width for a value in dB; an identical answer has a place of its own at the right."""
    if db >= CEILING_DB:
        return EXACT
    share = min(max(db / axis_db, 0.0), 1.0)
    return round(LEFT + (RIGHT - LEFT) * share, 3)


def _lane(title: str, artifact: Artifact, top: float, inputs: list[str], axis_db: float) -> Lane:
    dots = tuple(
        Dot(
            x=place(proof.sqnr_db, axis_db),
            y=top + LABEL + ROW * (inputs.index(proof.input) + 0.5),
            shape=inputs.index(proof.input) % SHAPES,
            text=f"{title} {artifact.precision}, input {proof.input}: {_in_words(proof.sqnr_db)}",
        )
        for proof in artifact.proofs
    )
    limit = GATE_DB.get(artifact.precision)
    return Lane(
        title=title,
        precision=artifact.precision,
        worst=_in_words(min(proof.sqnr_db for proof in artifact.proofs)),
        top=top,
        height=LABEL + ROW * len(inputs),
        limit_x=None if limit is None else place(limit, axis_db),
        dots=dots,
    )


def _in_words(db: float) -> str:
    return "identical" if db >= CEILING_DB else f"{db:.1f} dB"
