"""The generated folder on disk, and its record for the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from exporters.base import McuOptions
from exporters.mcu.generate import Facts, sources
from exporters.mcu.network import Network, Tensor
from exporters.mcu.schedule import Placed, Schedule, title, whole_layers
from runtime_py.manifest import Affine, Emulation, Microcontroller, StageRow


def write(
    path: Path, schedule: Schedule, asked: McuOptions, image: np.ndarray[Any, Any], answer: np.ndarray[Any, Any]
) -> None:
    """All files of the folder `path`."""
    made = sources(schedule, Facts(path.parent.name, asked.arena == "dynamic"), image, answer)
    path.mkdir()
    for name, text in made.items():
        (path / name).write_text(text, encoding="utf-8")


def facts_of(schedule: Schedule, emulations: tuple[Emulation, ...], why_not: str) -> Microcontroller:
    """What the manifest says."""
    network = schedule.network
    return Microcontroller(
        arena_bytes=schedule.arena,
        macs=network.total_macs,
        extra_macs=schedule.extra_macs,
        constant_bytes=sum(layer.constants for layer in network.layers),
        input=_affine(network.input),
        output=_affine(network.output),
        whole_bytes=whole_layers(network).arena,
        stages=tuple(_row(network, one) for one in schedule.stages),
        emulations=emulations,
        not_emulated=why_not,
    )


def _affine(tensor: Tensor) -> Affine:
    return Affine(scale=tensor.scale, zero_point=tensor.zero)


def _row(network: Network, one: Placed) -> StageRow:
    stage = one.stage
    return StageRow(
        modules=title(network, stage),
        how=how(one),
        kept_bytes=stage.region,
        line_bytes=stage.lines,
        waiting_bytes=one.waiting,
        macs=sum(network.macs(layer) for layer in network.layers[stage.first : stage.last + 1]),
        extra_macs=stage.extra_macs,
    )


def how(one: Placed) -> str:
    """A stage's schedule in words."""
    down, across = one.stage.tiles
    if (down, across) != (1, 1):
        return f"{across} strips" if down == 1 else f"{down} x {across} patches"
    return "whole" if one.stage.first == one.stage.last else "rows"
