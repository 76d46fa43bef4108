"""`sdk bench`: networks, targets, precisions and devices from one file, into a database."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from sdk.bench.results import Result
    from sdk.bench.runner import Benched, Watch


@click.command(
    epilog="\b\nExamples:\n  sdk bench bench.toml\n  sdk bench bench.yaml --quick --db results.sqlite\n"
    "  sdk bench bench.toml --fresh --json"
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--db", type=click.Path(path_type=Path, dir_okay=False),
              help="The database of results; in the user's own state by default.")  # fmt: skip
@click.option("--quick", is_flag=True, help="10 s and 128 samples a row, in place of 60 s and 1024.")
@click.option("--fresh", is_flag=True, help="Begin a new run; exports that earlier ones made are used again.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(file: Path, db: Path | None, quick: bool, fresh: bool, as_json: bool) -> None:
    """Measure what FILE, in TOML or YAML, names: networks x precisions x targets x threads x devices.

    docs/benchmarking.md tells how to write it.
    What is missing is exported and pushed. Each row is written at once: an interrupted run goes on where it stopped,
    and rows that failed or were disturbed are measured again. Exit code 1 where one failed or stayed disturbed.
    """
    from sdk.bench.database import Database, default_database
    from sdk.bench.page import write_page
    from sdk.bench.plan import read_plan
    from sdk.bench.runner import run_plan

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    plan, path = read_plan(file, quick=quick), db or default_database()
    with Database(path, create=True) as database, _watch(quiet=as_json) as watch:
        found = run_plan(plan, database, path.with_suffix(".exports"), fresh=fresh, watch=watch)
    if plan.page is not None:
        write_page(plan, found)
    if as_json:
        import msgspec

        print_json({"run": found.run.id, "results": [msgspec.to_builtins(one) for one in _small(found)]})
    else:
        _print(found, path, plan.page)
    raise SystemExit(1 if found.failed else 0)


def _small(found: "Benched") -> "list[Result]":
    """Without every single time."""
    import msgspec

    return [msgspec.structs.replace(one, row=one.row and msgspec.structs.replace(one.row, samples_ms=()))
            for one in found.results]  # fmt: skip


def _print(found: "Benched", path: Path, page: Path | None) -> None:
    from sdk.commands.results import COLUMNS, NUMBERS, cells_of

    print_table(COLUMNS, [cells_of(one) for one in found.results], right=NUMBERS)
    for one in found.results:
        if one.outcome != "measured":
            click.echo(f"\n{one.cell}, {one.outcome}: {one.why}", err=one.outcome == "failed")
            if one.hint:
                click.echo(f"try: {one.hint}", err=one.outcome == "failed")
    there = f", {found.kept} of them from before" if found.kept else ""
    click.echo(f"\nrun {found.run.id} in {path}: {len(found.results)} cells{there}; sdk results --run {found.run.id}")
    if page is not None:
        click.echo(f"page  {page}")


@contextmanager
def _watch(quiet: bool) -> "Iterator[Watch]":
    """A bar with the time left on a terminal, a line for each result and what else happens elsewhere."""
    from sdk.bench.runner import Watch

    if quiet:
        yield Watch()
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("starting", total=1.0)
            yield Watch(
                lambda text: bar.console.print(text, highlight=False, markup=False),
                lambda share, doing: bar.update(task, completed=share, description=doing),
                lambda result: bar.console.print(_line(result), highlight=False, markup=False),
            )
    else:
        started, shares = time.monotonic(), [0.0]

        def line(result: "Result") -> None:
            gone, share = time.monotonic() - started, shares[-1]
            left = f"; about {gone * (1 - share) / share / 60:.0f} min left" if share > 0.02 else ""
            click.echo(f"[{share:4.0%}] {_line(result)}{left}", err=True)

        yield Watch(
            lambda text: click.echo(f"[{shares[-1]:4.0%}] {text}", err=True),
            lambda share, doing: shares.append(share),
            line,
        )


def _line(result: "Result") -> str:
    timing = result.row.infer if result.row else None
    what = f"{timing.p50_ms:.2f} ms, {result.outcome}" if timing else result.outcome
    return f"{result.cell}: {what}{f': {result.why}' if result.why else ''}"
