"""The report's section on a microcontroller's program: what it takes, stage by stage, and what holds it."""

from dataclasses import dataclass

from exporters.mcu.boards import Board, fits
from exporters.mcu.schedule import CODE_BYTES
from runtime_py.manifest import Manifest, Microcontroller, StageRow

STACK_BYTES = 4096
"""An allowance where no emulator measured it."""


@dataclass(frozen=True)
class Stage:
    """A stage and its parts of the arena, in % of it."""

    row: StageRow
    bytes: int
    kept: float
    lines: float
    waiting: float


@dataclass(frozen=True)
class OnBoard:
    """The whole section."""

    facts: Microcontroller
    stages: tuple[Stage, ...]
    flash_bytes: int
    boards: tuple[tuple[Board, bool, str], ...]


def on_board(manifest: Manifest) -> OnBoard | None:
    """Of the bundle's program for microcontrollers; None where it has none."""
    facts = next((artifact.mcu for artifact in manifest.artifacts if artifact.mcu is not None), None)
    if facts is None:
        return None
    stack = max((one.stack_bytes for one in facts.emulations), default=STACK_BYTES)
    flash = flash_of(facts)
    return OnBoard(
        facts, tuple(_stage(row, facts.arena_bytes) for row in facts.stages), flash,
        tuple(fits(facts.arena_bytes, stack, flash)),
    )  # fmt: skip


def flash_of(facts: Microcontroller) -> int:
    """Bytes of flash: measured, the largest of the cores, or else constants and an allowance for code."""
    return max((one.flash_bytes for one in facts.emulations), default=facts.constant_bytes + CODE_BYTES)


def _stage(row: StageRow, arena: int) -> Stage:
    parts = (row.kept_bytes, row.line_bytes, row.waiting_bytes)
    kept, lines, waiting = (100 * part / max(arena, 1) for part in parts)
    return Stage(row, sum(parts), kept, lines, waiting)
