"""Where each artifact's drop and its interval stand beside the gate. The template draws."""

from dataclasses import dataclass

from runtime_py.manifest import Artifact
from sdk.report import words
from sdk.report.axis import round_axis

LEFT, RIGHT = 2.0, 98.0
TOP, LABEL, ROW, GAP, AXIS = 4, 20, 18, 12, 40


@dataclass(frozen=True)
class Interval:
    """One artifact: its drop at `x`, its 95 % interval from `low_x` to `high_x`, in percent of the width."""

    title: str
    precision: str
    drop: str
    top: float
    x: float
    low_x: float
    high_x: float
    beyond: bool
    """Whether the drop is larger than the gate."""
    text: str


@dataclass(frozen=True)
class Drops:
    """The whole drawing; heights in px."""

    lanes: tuple[Interval, ...]
    ticks: tuple[tuple[float, str], ...]
    zero_x: float
    limit_x: float | None
    limit: str
    unit: str
    axis_y: float
    height: float
    lane_height: int
    text: str


def plot_drops(artifacts: list[tuple[str, Artifact]], max_drop: float | None) -> Drops | None:
    """The plot of titled artifacts; None where no accuracy was measured."""
    measured = [(title, artifact, artifact.accuracy) for title, artifact in artifacts if artifact.accuracy]
    if not measured:
        return None
    metric = measured[0][2].metric
    scale = words.scale(metric)
    ends = [0.0] if max_drop is None else [0.0, scale * max_drop]
    ends += [scale * value for _, _, found in measured for value in (found.drop, found.low, found.high)]
    axis = round_axis(min(ends), max(ends), LEFT, RIGHT)
    lanes = tuple(
        Interval(
            title=title,
            precision=artifact.precision,
            drop=words.drop(found.metric, found.drop),
            top=TOP + row * (LABEL + ROW + GAP),
            x=axis.place(scale * found.drop),
            low_x=axis.place(scale * found.low),
            high_x=axis.place(scale * found.high),
            beyond=max_drop is not None and found.drop > max_drop,
            text=f"{title} {artifact.precision}: drop {words.drop(found.metric, found.drop)}, "
            f"95 % interval {words.interval(found)}",
        )
        for row, (title, artifact, found) in enumerate(measured)
    )
    axis_y = TOP + len(lanes) * (LABEL + ROW + GAP) - GAP / 2
    return Drops(
        lanes=lanes,
        ticks=axis.ticks,
        zero_x=axis.place(0.0),
        limit_x=None if max_drop is None else axis.place(scale * max_drop),
        limit="" if max_drop is None else words.drop(metric, max_drop),
        unit=words.unit(metric),
        axis_y=axis_y,
        height=axis_y + AXIS,
        lane_height=ROW,
        text="; ".join(lane.text for lane in lanes),
    )
