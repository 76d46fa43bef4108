"""RAM over one answer, as steps: whole layers against the schedule that was chosen. The template draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdk.report.axis import round_axis

if TYPE_CHECKING:
    from exporters.mcu.schedule import Schedule
    from sdk.planning import MemoryPlan

WIDTH, HEIGHT = 960.0, 440.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 940.0, 92.0, 380.0
KB = 1000.0


@dataclass(frozen=True)
class Step:
    """A stage from `x1` to `x2` at `y`, in px of the drawing, and what it says when it is pointed at."""

    x1: float
    x2: float
    y: float
    text: str


@dataclass(frozen=True)
class Memory:
    """The whole drawing. Outlines are paths; `limit_y` is where `--sram` lies, None where there is none."""

    title: str
    text: str
    steps: tuple[Step, ...]
    outline: str
    whole_outline: str
    legend: tuple[str, str]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    limit_y: float | None
    limit: str
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM
    width: float = WIDTH
    height: float = HEIGHT


def plot_memory(plan: "MemoryPlan") -> Memory:
    """Where every step stands: across the share of the multiply-accumulates that are done, up the bytes of RAM."""
    from exporters.mcu.schedule import whole_layers
    from sdk.planning import stage_bytes

    facts, whole = plan.facts, whole_layers(plan.network)
    y = round_axis(0.0, max(facts.arena_bytes, whole.arena, plan.sram or 0) / KB, BOTTOM, TOP)
    x = round_axis(0.0, 100.0, LEFT, RIGHT, parts=5)
    steps = tuple(
        Step(
            x.place(100 * first),
            x.place(100 * last),
            y.place(stage_bytes(row) / KB),
            f"{row.modules}, {row.how}: {stage_bytes(row):,} bytes",
        )
        for row, (first, last) in zip(facts.stages, _shares([row.macs for row in facts.stages]), strict=True)
    )
    whole_steps = [
        (x.place(100 * first), x.place(100 * last), y.place(one.bytes / KB))
        for one, (first, last) in zip(whole.stages, _shares(_macs(whole)), strict=True)
    ]
    again = f", {facts.extra_macs / max(facts.macs, 1):.1%} of the MACs made again" if facts.extra_macs else ""
    return Memory(
        title=f"{plan.model}: RAM over one answer",
        text="; ".join(step.text for step in steps),
        steps=steps,
        outline=_path([(step.x1, step.x2, step.y) for step in steps]),
        whole_outline=_path(whole_steps),
        legend=(f"chosen: {facts.arena_bytes / KB:.1f} kB{again}", f"whole layers: {whole.arena / KB:.1f} kB"),
        x_ticks=x.ticks,
        y_ticks=y.ticks,
        limit_y=None if plan.sram is None else y.place(plan.sram / KB),
        limit="" if plan.sram is None else f"--sram {plan.sram / KB:g} kB",
    )


def draw_memory(plan: "MemoryPlan") -> str:
    """The drawing as an SVG file of its own."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    drawing: str = environment.get_template("memory.svg.j2").render(plot=plot_memory(plan))
    return drawing


def _macs(schedule: "Schedule") -> list[int]:
    """Of each stage."""
    network, stages = schedule.network, [one.stage for one in schedule.stages]
    return [sum(network.macs(layer) for layer in network.layers[one.first : one.last + 1]) for one in stages]


def _shares(macs: Sequence[int]) -> list[tuple[float, float]]:
    """From which to which share of the whole each of them goes; of equal size where nothing is multiplied."""
    sizes = macs if any(macs) else [1] * len(macs)
    found, done = [], 0
    for size in sizes:
        found.append((done / sum(sizes), (done + size) / sum(sizes)))
        done += size
    return found


def _path(steps: Sequence[tuple[float, float, float]]) -> str:
    """The outline. Steps that multiply nothing have no width: they are drawn where they stand out at the top alone."""
    kept = []
    for place, (first, last, y) in enumerate(steps):
        beside = [steps[other][2] for other in (place - 1, place + 1) if 0 <= other < len(steps)]
        if last > first or all(y < other for other in beside):
            kept.append((first, last, y))
    return "M" + " ".join(f"{first:g},{y:g} {last:g},{y:g}" for first, last, y in kept)
