"""`sdk matrix`: every network of the zoo on every target."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

MADE_WITH = ("torch", "coremltools", "litert-torch", "ai-edge-litert", "executorch", "openvino", "onnx", "onnxruntime")
"""Cells that other versions made are forgotten."""
QUANTISED_WITH = ("nncf", "torchao", "ai-edge-quantizer")
"""And those of integers that other versions of these made."""

if TYPE_CHECKING:
    from collections.abc import Callable

    from sdk.matrix.cells import Cell


@click.command(
    epilog="\b\nExamples:\n  sdk matrix\n  sdk matrix --models ghostnet_050,leyolo_nano --precision fp32\n"
    "  sdk matrix --precision w8a8\n  sdk matrix --fresh --out docs"
)
@click.option("--models", default="all", show_default=True, help="Names of the zoo, with commas.")
@click.option("--target", "-t", "targets", default="all", show_default=True, help="Targets, with commas.")
@click.option("--precision", "-p", "precisions", default="fp32,fp16,w8a8", show_default=True,
              help="With commas; w8a8 takes one network a family.")  # fmt: skip
@click.option("--out", default="docs", show_default=True, type=click.Path(path_type=Path, file_okay=False),
              help="Where matrix.md, matrix.svg and matrix.json go.")  # fmt: skip
@click.option("--jobs", type=click.IntRange(min=1), help="Targets lowered at a time.")
@click.option("--fresh", is_flag=True, help="Forget what earlier runs found.")
@click.option("--json", "as_json", is_flag=True, help="Print the cells as JSON.")
def command(
    models: str, targets: str, precisions: str, out: Path, jobs: int | None, fresh: bool, as_json: bool
) -> None:
    """Export every network to every target, prove each file, and write the table and the picture.

    Each result is written at once: an interrupted run goes on where it stopped, and cells that failed or were refused
    are tried again. Exit code 1 where a cell failed; one that the SDK refused, as its answers are not good enough in
    that precision, stands in the table with its figure.
    """
    import msgspec

    from exporters import ALL, get_target
    from models_zoo import MODELS, get_spec
    from runtime_py.errors import SdkError
    from sdk.console import print_json, print_table
    from sdk.exporting import versions
    from sdk.matrix.cells import Matrix, read_matrix, write_matrix
    from sdk.matrix.columns import COLUMNS, has_row
    from sdk.matrix.page import markdown, picture
    from sdk.matrix.runner import open_tasks, run_tasks
    from sdk.quantize.scheme import SCHEMES, check_scheme
    from sdk.staging import replace_file

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    names = [get_spec(name).name for name in _words(models)] or list(MODELS)
    formats = [name for name in _words(targets) if get_target(name)] or list(ALL)
    kinds = [name for name in _words(precisions) if check_scheme(name, [])] or list(COLUMNS)
    for kind in kinds:
        absent = [name for name in _words(models) if not has_row(kind, name)]
        if absent:
            click.echo(f"not in the column {kind}, which has one network a family: {', '.join(absent)}", err=True)
    made_with, quantised_with, state = versions(MADE_WITH), versions(QUANTISED_WITH), out / "matrix.json"
    empty = Matrix(versions=made_with, quantisers=quantised_with)
    matrix = empty if fresh else read_matrix(state, made_with, quantised_with)
    tasks = open_tasks(matrix, names, kinds, formats)
    with _progress(len(tasks), quiet=as_json) as (begin, show):
        for cells in run_tasks(tasks, jobs, lambda task: begin(f"{task[0]} {task[1]}")):
            matrix = matrix.with_cells(cells)
            write_matrix(matrix, state)
            show(cells)
    if not matrix.cells:
        raise SdkError("no network has a cell of that precision and target", hint="sdk targets, sdk matrix --help")
    shown = [name for name in MODELS if any(cell.model == name for cell in matrix.cells)]
    shades = [kind for kind in SCHEMES if any(cell.precision == kind for cell in matrix.cells)]
    replace_file(out / "matrix.md", markdown(matrix, shown, shades).encode())
    replace_file(out / "matrix.svg", picture(matrix, shown, shades).encode())
    unproven = [cell for cell in matrix.cells if not cell.proven]
    if as_json:
        print_json([msgspec.to_builtins(cell) for cell in matrix.cells])
    else:
        rows = [(cell.model, cell.precision, cell.target, cell.status, cell.why) for cell in unproven]
        if rows:
            print_table(("network", "precision", "target", "how", "why"), rows)
        click.echo(f"{len(matrix.cells) - len(unproven)} of {len(matrix.cells)} cells proven: {out / 'matrix.md'}")
    raise SystemExit(1 if any(cell.status == "failed" for cell in unproven) else 0)


def _words(text: str) -> list[str]:
    return [] if text == "all" else [word.strip() for word in text.split(",") if word.strip()]


@contextmanager
def _progress(total: int, quiet: bool) -> "Iterator[tuple[Callable[[str], None], Callable[[tuple[Cell, ...]], None]]]":
    """A bar with the time left on a terminal, a line a network elsewhere."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    def line(cells: "tuple[Cell, ...]") -> str:
        told = ", ".join(
            f"{c.target} {c.sqnr_db:.0f} dB" if c.sqnr_db is not None and c.proven else f"{c.target} {c.status}"
            for c in cells
        )
        return f"{cells[0].model} {cells[0].precision}: {told}"

    if quiet:
        yield (lambda _: None), (lambda _: None)
        return
    if not sys.stderr.isatty():
        yield (lambda _: None), (lambda cells: click.echo(line(cells), err=True))
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)

        def show(cells: "tuple[Cell, ...]") -> None:
            bar.console.print(line(cells), highlight=False)
            bar.advance(task)

        yield (lambda text: bar.update(task, description=text)), show
