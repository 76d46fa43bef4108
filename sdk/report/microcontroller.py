"""The report's section on a microcontroller's program: what it takes, stage by stage, and what holds it."""

from dataclasses import dataclass
from pathlib import Path

from exporters.mcu.boards import Board, fits
from exporters.mcu.schedule import CODE_BYTES
from runtime_py.manifest import Artifact, Manifest, Microcontroller, StageRow
from sdk.report import words

STYLE = Path(__file__).parent / "microcontroller.css"
STACK_BYTES = 4096
"""An allowance where no emulator measured it."""


@dataclass(frozen=True)
class Stage:
    """A stage, its first and last module, and its parts of the arena, in % of it."""

    row: StageRow
    first: str
    last: str
    """Empty where the stage is one layer."""
    bytes: int
    kept: float
    lines: float
    waiting: float
    spoken: str
    """The bar in words."""


@dataclass(frozen=True)
class OnBoard:
    """The whole section."""

    facts: Microcontroller
    headline: tuple[tuple[str, str, str], ...]
    """Name, value, and the exact value where the first is rounded."""
    stages: tuple[Stage, ...]
    any_waits: bool
    cores: tuple[tuple[str, ...], ...]
    """Of each emulation: core, its tools, instructions, instructions a MAC, stack and flash."""
    host_only: str
    """What is known where no core was emulated; empty otherwise."""
    compared: str
    """What was compared with the boards."""
    boards: tuple[tuple[Board, bool, str], ...]
    """Those that hold it first."""


def on_board(manifest: Manifest) -> OnBoard | None:
    """Of the bundle's program for microcontrollers; None where it has none."""
    artifact = next((artifact for artifact in manifest.artifacts if artifact.mcu is not None), None)
    if artifact is None or artifact.mcu is None:
        return None
    facts = artifact.mcu
    stack = max((one.stack_bytes for one in facts.emulations), default=STACK_BYTES)
    flash = max((one.flash_bytes for one in facts.emulations), default=facts.constant_bytes + CODE_BYTES)
    return OnBoard(
        facts=facts,
        headline=_headline(facts),
        stages=tuple(_stage(row, facts.arena_bytes) for row in facts.stages),
        any_waits=any(row.waiting_bytes for row in facts.stages),
        cores=_cores(facts),
        host_only="" if facts.emulations else _host_only(artifact, facts),
        compared=_compared(facts, stack, flash),
        boards=tuple(sorted(fits(facts.arena_bytes, stack, flash), key=lambda row: not row[1])),
    )


def flash_of(artifact: Artifact) -> tuple[int, str]:
    """Bytes of flash for the table of targets, and what they are: the largest core's, or else the constants alone."""
    facts = artifact.mcu
    assert facts is not None
    sources = f"the folder of sources takes {words.size(artifact.bytes)}"
    if not facts.emulations:
        return facts.constant_bytes, f"of flash: constants, without code; {sources}"
    largest = max(facts.emulations, key=lambda one: one.flash_bytes)
    return largest.flash_bytes, f"of flash: code and constants, compiled for {largest.core}; {sources}"


def _headline(facts: Microcontroller) -> tuple[tuple[str, str, str], ...]:
    times = f" ({facts.whole_bytes / facts.arena_bytes:.1f} ×)" if facts.arena_bytes else ""
    again = f" ({words.share(facts.extra_macs / facts.macs)})" if facts.extra_macs and facts.macs else ""
    return (
        ("RAM, but for the stack", words.size(facts.arena_bytes), _exact(facts.arena_bytes)),
        ("one layer after the other", words.size(facts.whole_bytes) + times, _exact(facts.whole_bytes)),
        ("constants in flash", words.size(facts.constant_bytes), _exact(facts.constant_bytes)),
        ("MACs", f"{facts.macs:,}", ""),
        ("MACs made again, on top", (f"{facts.extra_macs:,}" if facts.extra_macs else "none") + again, ""),
    )


def _stage(row: StageRow, arena: int) -> Stage:
    first, _, last = row.modules.partition(" .. ")
    parts = (row.kept_bytes, row.line_bytes, row.waiting_bytes)
    kept, lines, waiting = (100 * part / max(arena, 1) for part in parts)
    names = ("input and output", "rows in between", "what later stages read")
    told = ", ".join(f"{name} {words.size(part)}" for name, part in zip(names, parts, strict=True) if part)
    whole = f"{100 * sum(parts) / max(arena, 1):.0f} % of the arena"
    spoken = f"{told}: {whole}" if told else whole
    return Stage(row, first, last, sum(parts), kept, lines, waiting, spoken)


def _cores(facts: Microcontroller) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            one.core,
            "; ".join(filter(None, (one.compiler, one.emulator))),
            f"{one.instructions:,}",
            f"{one.instructions / facts.macs:.2f}" if facts.macs else "–",
            words.size(one.stack_bytes),
            words.size(one.flash_bytes),
        )
        for one in facts.emulations
    )


def _host_only(artifact: Artifact, facts: Microcontroller) -> str:
    ran = "It ran on the exporting machine only" if artifact.status == "executed" else "No core was emulated"
    return f"{ran}: {facts.not_emulated or 'the bundle does not say why'}"


def _compared(facts: Microcontroller, stack: int, flash: int) -> str:
    ram, code = words.size(stack), words.size(CODE_BYTES)
    of_ram, of_flash, what = f"arena and the largest stack, {ram}", "the largest of the cores", ""
    if not facts.emulations:
        of_ram, of_flash = f"arena, and {ram} allowed for the stack", f"constants, and {code} allowed for code"
        what = " No core was emulated to measure them."
    total = words.size(facts.arena_bytes + stack)
    return f"It takes {total} of RAM ({of_ram}) and {words.size(flash)} of flash ({of_flash}).{what}"


def _exact(count: int) -> str:
    return f"{count:,} bytes"
