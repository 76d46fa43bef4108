"""`sdk.plan`: how a network would run on a microcontroller, from its structure alone: RAM, recomputation and flash."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runtime_py.errors import SdkError, missing_extra
from sdk.progress import Progress
from sdk.source import Fetching, Wishes

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from exporters.mcu.boards import Board
    from exporters.mcu.network import Network
    from exporters.mcu.paper import Patched
    from exporters.mcu.schedule import Schedule
    from runtime_py.manifest import Microcontroller, StageRow

TARGET = "mcu"
STACK_BYTES = 4096
"""An allowance beside the arena where boards are listed: interrupts and the caller's own frames."""


class BadPlan(SdkError):
    """Wishes that no plan can have."""

    id = "plan"


@dataclass(frozen=True)
class MemoryPlan:
    """How a network would run. `facts` is what the manifest of an export says of it.

    To compare with: `paper_bytes` is the peak layer by layer by MCUNetV2's rule, `paper_patches` the least that its
    patches reach, None where none can be made. `boards` are those that hold it, or do not, and why.
    """

    model: str
    schedule: "Schedule"
    facts: "Microcontroller"
    paper_bytes: int
    paper_patches: "Patched | None"
    boards: "tuple[tuple[Board, bool, str], ...]"
    sram: int | None = None
    flash: int | None = None

    @property
    def network(self) -> "Network":
        """Its layers in integers."""
        return self.schedule.network

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        facts, best = self.facts, self.paper_patches
        patches = None if best is None else {
            "blocks": best.blocks,
            "patches": best.patches,
            "bytes": best.peak_bytes,
            "clipped_macs": best.network_clipped_macs,
            "unclipped_macs": best.network_unclipped_macs,
        }  # fmt: skip
        return {
            "model": self.model,
            "target": TARGET,
            "sram": self.sram,
            "flash": self.flash,
            "arena_bytes": facts.arena_bytes,
            "macs": facts.macs,
            "extra_macs": facts.extra_macs,
            "constant_bytes": facts.constant_bytes,
            "stages": [_stage(row) for row in facts.stages],
            "whole_bytes": facts.whole_bytes,
            "paper": {"layer_by_layer_bytes": self.paper_bytes, "patches": patches},
            "boards": [{"name": board.name, "fits": fits, "why": why} for board, fits, why in self.boards],
        }


def stage_bytes(row: "StageRow") -> int:
    """Of RAM while a stage runs."""
    return row.kept_bytes + row.line_bytes + row.waiting_bytes


def _stage(row: "StageRow") -> dict[str, Any]:
    import msgspec

    return msgspec.structs.asdict(row) | {"bytes": stage_bytes(row)}


def plan(
    model: Any,
    target: str = TARGET,
    *,
    weights: str | None = None,
    input_size: int | None = None,
    inputs: Iterable[Sequence[int]] = (),
    patches: str = "auto",
    sram: int | None = None,
    flash: int | None = None,
    max_extra_macs: float | None = None,
    progress: Progress | None = None,
) -> MemoryPlan:
    """The schedule that `sdk.export` would give a network on a microcontroller. Nothing is calibrated: structure alone
    matters.

    `model` is what `sdk.export` takes. `patches` is `auto`, `off` (one layer after the other) or `N,P`: the first N
    blocks, of which the stem is one, in P x P patches. `max_extra_macs` is the share of the network's
    multiply-accumulates that may be made again to save RAM; by default none, but for patches that were asked for, and
    as few as `sram` allows. `sram` and `flash` are bytes.

    Raises OverBudget where nothing fits, BadPlan, BadPatches, UnsupportedOperators, and what `sdk.export` raises of a
    network.
    """
    if target != TARGET:
        raise BadPlan(
            f"--target {target}", expected=TARGET, hint="other targets' runtimes plan their memory themselves"
        )
    from exporters.base import McuOptions
    from exporters.mcu.schedule import chosen

    progress = progress or Progress()
    wishes = Wishes(weights, input_size, tuple(tuple(shape) for shape in inputs))
    network, name = _network(model, wishes, progress)
    progress.say("looking for the schedule")
    schedule = chosen(network, McuOptions(patches, sram, flash, max_extra_macs))
    return _planned(name, schedule, sram, flash)


def integer_network(program: "ExportedProgram") -> "Network":
    """The layers that a w8a8 export of a captured program has, with made-up ranges: one random input is all that is
    measured. Its geometry is the export's; its scales, and what follows from them, mean nothing.

    Raises UnsupportedOperators, NotIntegers, and MissingExtra where no quantiser is installed.
    """
    import torch

    from exporters.base import quiet

    try:
        with quiet():
            from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

            from sdk.quantize.network import network_of
            from sdk.quantize.quantizer import EdgeQuantizer
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "torchao", "quantize", "planning") from error
    from exporters.mcu.reader import read

    examples = program.example_inputs[0]
    generator = torch.Generator().manual_seed(0)
    sample = tuple(torch.rand(value.shape, generator=generator) * 2 - 1 for value in examples)
    # torchao alone: NNCF, which an export asks, gives the same graph of the same annotations in twice the time.
    with quiet(), torch.no_grad(), torch.random.fork_rng(devices=[]):
        prepared = prepare_pt2e(network_of(program), EdgeQuantizer())
        prepared(*sample)
        quantised = torch.export.export(convert_pt2e(prepared), examples)
    return read(quantised)


def _network(model: Any, wishes: Wishes, progress: Progress) -> "tuple[Network, str]":
    from sdk.capture import capture
    from sdk.sources import find_source

    progress.say(f"capturing {model if isinstance(model, str) else type(model).__name__}")
    source = find_source(model, wishes, Fetching(progress.fetch, progress.say))
    captured = capture(source)
    progress.say("finding its layers in integers")
    return integer_network(captured.program), source.name


def _planned(name: str, schedule: "Schedule", sram: int | None, flash: int | None) -> MemoryPlan:
    from exporters.mcu import paper
    from exporters.mcu.boards import fits
    from exporters.mcu.schedule import CODE_BYTES
    from exporters.mcu.write import facts_of

    facts = facts_of(schedule, (), "")
    return MemoryPlan(
        model=name,
        schedule=schedule,
        facts=facts,
        paper_bytes=paper.layer_by_layer(schedule.network),
        paper_patches=paper.best(schedule.network),
        boards=tuple(fits(facts.arena_bytes, STACK_BYTES, facts.constant_bytes + CODE_BYTES)),
        sram=sram,
        flash=flash,
    )
