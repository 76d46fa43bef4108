"""What commands print: tables, which are never truncated, and JSON."""

import json
import shutil
import sys
from collections.abc import Collection, Sequence
from typing import Any

WORD_STYLES = {
    "executed": "green",
    "interpreted": "cyan",
    "converted": "yellow",
    "failed": "bold red",
    "yes": "green",
    "no": "red",
    "ok": "green",
    "missing": "red",
    "too old": "yellow",
    "too new": "yellow",
}
"""Cells that hold exactly one of these words are coloured on a terminal."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()) -> None:
    """Prints `rows` under `columns`; the columns named in `right` are right-aligned.

    On a terminal cells wrap where the table is too wide; elsewhere each row is one line of plain text.
    """
    if sys.stdout.isatty():
        _print_rich(columns, rows, right)
    else:
        print("\n".join(_plain_lines(columns, rows, right)))


def print_json(obj: Any) -> None:
    """Prints `obj` as indented JSON."""
    print(json.dumps(obj, indent=2, ensure_ascii=False))


def _plain_lines(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> list[str]:
    table = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    lines = []
    for cells in table:
        aligned = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(columns, cells, widths, strict=True)
        )
        lines.append("  ".join(aligned).rstrip())
    return lines


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=WORD_STYLES.get(cell, "")) for cell in row))  # Text: no markup in names
    Console(width=shutil.get_terminal_size().columns).print(table)
