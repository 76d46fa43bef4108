"""Where each trial stands between what it costs and how well it answers. The template draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from runtime_py.manifest import Quantization, Trial
from sdk.report import words
from sdk.report.axis import round_axis

LEFT, RIGHT = 13.0, 93.0
TOP, HEIGHT, AXIS = 34, 230, 44
LINE = 16
"""From one label to the next, in px: each has a line of its own, so none meets another at any width."""
ABOVE = 10
"""From a label's line up from its mark, so that it stands beside no line of the front."""
LETTERS = 22
"""Of a trial's name, so that the label fits half a phone."""


@dataclass(frozen=True)
class Mark:
    """One trial at `x` percent and `y` px; its label's line is `shift` px further down, at the left where `left`."""

    x: float
    y: float
    label: str
    left: bool
    shift: float
    on_front: bool
    chosen: bool
    text: str


@dataclass(frozen=True)
class Step:
    """One line of the front, percent across and px down."""

    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True)
class Front:
    """The whole drawing."""

    marks: tuple[Mark, ...]
    steps: tuple[Step, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_title: str
    y_title: str
    gate_y: float | None
    gate: str
    left: float
    right: float
    top: float
    axis_y: float
    height: float
    left_out: int


def plot_front(record: Quantization) -> Front | None:
    """The plot of the last trials' metric, over their size where two know it, over their integer share otherwise.

    None where there are not two to compare, or all cost the same.
    """
    trials = [trial for trial in record.trials if trial.metric == record.trials[-1].metric]
    sized = [trial for trial in trials if trial.bytes is not None]
    by_size = len(sized) > 1
    drawn = sized if by_size else trials
    if len(drawn) < 2:
        return None
    metric = drawn[0].metric
    unit, divisor = _size_unit(drawn)
    along = [(trial.bytes or 0) / divisor if by_size else 100 * trial.int8_macs for trial in drawn]
    if len(set(along)) < 2:
        return None
    costs = [value if by_size else -value for value in along]
    scores = [words.scale(metric) * trial.score for trial in drawn]
    gate = _gate(record, trials)
    bottom = TOP + max(HEIGHT, LINE * (len(drawn) + 1))
    x = round_axis(min(along), max(along), LEFT, RIGHT)
    y = round_axis(min([*scores, *gate]), max([*scores, *gate]), bottom, TOP)
    best = front_of(costs, scores)
    places = [(x.place(a), y.place(b)) for a, b in zip(along, scores, strict=True)]
    return Front(
        marks=_marks(drawn, places, best, bottom),
        steps=_steps([places[index] for index in best]),
        x_ticks=x.ticks,
        y_ticks=y.ticks,
        x_title=f"size, {unit}" if by_size else "multiply-accumulates in int8, %",
        y_title=f"{words.metric(metric)}, {'dB' if words.in_db(metric) else '%'}",
        gate_y=y.place(gate[0]) if gate else None,
        gate="" if record.max_drop is None else words.drop(metric, record.max_drop),
        left=LEFT,
        right=RIGHT,
        top=TOP,
        axis_y=bottom,
        height=bottom + AXIS,
        left_out=len(record.trials) - len(drawn),
    )


def front_of(costs: Sequence[float], scores: Sequence[float]) -> list[int]:
    """Whom no other beats in both (lower cost, higher score), from the least cost up; of equals, the first."""
    best: list[int] = []
    for index in sorted(range(len(costs)), key=lambda index: (costs[index], -scores[index])):
        if not best or scores[index] > scores[best[-1]]:
            best.append(index)
    return best


def spread(places: Sequence[float], top: float, bottom: float, gap: float) -> list[float]:
    """The places moved as little apart as a gap needs, in their order and between `top` and `bottom`."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    low = top
    for index in order:
        moved[index] = low = max(moved[index], low)
        low += gap
    high = bottom
    for index in reversed(order):
        moved[index] = high = min(moved[index], high)
        high -= gap
    return moved


def _marks(
    trials: Sequence[Trial], places: Sequence[tuple[float, float]], best: Sequence[int], bottom: float
) -> tuple[Mark, ...]:
    lines = spread([y - ABOVE for _, y in places], TOP - ABOVE, bottom - LINE / 2, LINE)
    return tuple(
        Mark(
            x=x,
            y=y,
            label=_shortened(trial.name) + (" · chosen" if trial.chosen else ""),
            left=x > (LEFT + RIGHT) / 2,
            shift=round(lines[index] - y, 3),
            on_front=index in best,
            chosen=trial.chosen,
            text=_in_words(trial),
        )
        for index, (trial, (x, y)) in enumerate(zip(trials, places, strict=True))
    )


def _steps(corners: Sequence[tuple[float, float]]) -> tuple[Step, ...]:
    """From the cheapest on: across at its own score, then up where the next is reached."""
    steps = []
    for (x1, y1), (x2, y2) in pairwise(corners):
        steps += [Step(x1, y1, x2, y1), Step(x2, y1, x2, y2)]
    return tuple(steps)


def _gate(record: Quantization, trials: Sequence[Trial]) -> list[float]:
    """The score below which the drop is too large, where it is known."""
    known = next((trial.score + trial.drop for trial in trials if trial.drop is not None), None)
    if record.max_drop is None or known is None:
        return []
    return [words.scale(trials[0].metric) * (known - record.max_drop)]


def _size_unit(trials: Sequence[Trial]) -> tuple[str, float]:
    return ("MB", 1e6) if max(trial.bytes or 0 for trial in trials) >= 1e6 else ("kB", 1e3)


def _shortened(name: str) -> str:
    return name if len(name) <= LETTERS else name[: LETTERS - 1].rstrip() + "…"


def _in_words(trial: Trial) -> str:
    cost = words.size(trial.bytes) if trial.bytes is not None else f"{words.share(trial.int8_macs)} of MACs in int8"
    return f"{trial.name}: {words.metric(trial.metric)} {words.score(trial.metric, trial.score)}, {cost}"
