"""Which microcontroller boards hold a network: bytes of SRAM and flash from their makers' data sheets."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("boards.toml")


@dataclass(frozen=True)
class Board:
    """A board. `sram` are the bytes of its longest run of addresses without a gap, `sram_all` of every run together;
    `flash` are those that a program may fill, and `source` says who wrote so."""

    name: str
    chip: str
    core: str
    clock_mhz: int
    sram: int
    sram_all: int
    flash: int
    source: str


@cache
def boards() -> tuple[Board, ...]:
    """All of the table, those with the least SRAM first."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["board"]
    return tuple(sorted((Board(**row) for row in rows), key=lambda board: (board.sram, board.flash, board.name)))


def fits(arena_bytes: int, stack_bytes: int, flash_bytes: int) -> list[tuple[Board, bool, str]]:
    """Each board, whether it holds arena and stack side by side and code with weights, and why where it does not."""
    found = []
    for board in boards():
        why = [
            f"{what} of {needed:,} bytes, {needed - has:,} more than its {has:,}"
            for what, needed, has in (
                ("RAM", arena_bytes + stack_bytes, board.sram),
                ("flash", flash_bytes, board.flash),
            )
            if needed > has
        ]
        found.append((board, not why, "; ".join(why)))
    return found
