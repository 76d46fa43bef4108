"""`sdk results`: what `sdk bench` has measured, and two runs beside each other."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from sdk.bench.comparing import Compared, Pair
    from sdk.bench.database import Database, Run
    from sdk.bench.results import Result

COLUMNS = ("network", "precision", "target", "threads", "device", "outcome", "p50 ms", "p90 ms", "p99 ms", "peak MB",
           "file MB", "energy mJ")  # fmt: skip
NUMBERS = ("threads", *COLUMNS[6:])
COMPARED = ("network", "precision", "target", "threads", "device", "old ms", "new ms", "ratio", "95 % interval",
            "spread", "p (Holm)", "verdict")  # fmt: skip


@click.command(
    epilog="\b\nExamples:\n  sdk results\n  sdk results --network mcunet_in3 --target tflite,onnx --run last\n"
    "  sdk results --runs\n  sdk results --compare previous last --fail-above 1.05"
)
@click.option("--db", type=click.Path(path_type=Path, dir_okay=False),
              help="The database of results; in the user's own state by default.")  # fmt: skip
@click.option("--network", default="", help="Only these, with commas.")
@click.option("--target", "-t", default="", help="Only these, with commas.")
@click.option("--precision", "-p", default="", help="Only these, with commas.")
@click.option("--device", "-d", default="", help="Only these, with commas, by the name that the bench file gives them.")
@click.option("--run", "named", default="last", show_default=True,
              help="A run's number, its name (the last of it), last, previous, or all.")  # fmt: skip
@click.option("--runs", "listing", is_flag=True, help="List the runs.")
@click.option("--compare", nargs=2, metavar="OLD NEW", help="Two runs beside each other, named as in --run.")
@click.option("--fail-above", type=click.FloatRange(min=0, min_open=True), metavar="RATIO",
              help="With --compare: exit 1 where a row's interval lies above RATIO as a whole.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def command(
    db: Path | None, network: str, target: str, precision: str, device: str, named: str, listing: bool,
    compare: tuple[str, str] | None, fail_above: float | None, as_json: bool,
) -> None:  # fmt: skip
    """Show what `sdk bench` has measured.

    --compare puts two runs side by side. A row is slower, or faster, where the rank test over its repeats says so after
    Holm's correction for all rows, and the ratio is beyond what the repeats of one run spread. --fail-above has a rule
    of its own: the lower end of the ratio's 95 % interval is above the limit. Rows that are not valid in both runs
    never decide; where no row decides, that is a failure too.
    """
    from sdk.bench.comparing import compare_runs
    from sdk.bench.database import Database, default_database

    if fail_above is not None and not compare:
        raise click.UsageError("--fail-above needs --compare OLD NEW")
    words = {"network": network, "target": target, "precision": precision, "device": device}
    only = {name: [word.strip() for word in text.split(",") if word.strip()] for name, text in words.items()}
    with Database(db or default_database()) as database:
        if listing:
            _print_runs(database, as_json)
        elif compare:
            found = compare_runs(database, database.run(compare[0]), database.run(compare[1]), only)
            raise SystemExit(_print_compared(found, fail_above, as_json))
        else:
            _print_results(database, database.runs() if named == "all" else [database.run(named)], only, as_json)


def cells_of(one: "Result") -> tuple[str, ...]:
    """A result as a row of COLUMNS."""
    row, timing = one.row, one.row.infer if one.row else None
    times = [f"{value:.2f}" for value in (timing.p50_ms, timing.p90_ms, timing.p99_ms)] if timing else ["–"] * 3
    memory = f"{row.peak_rss_mb:.0f}" if row and row.peak_rss_mb is not None else "–"
    size = f"{one.made.bytes / 1e6:.2f}" if one.made else "–"
    energy = f"{row.energy_mj:.2f}" if row and row.energy_mj is not None else "–"
    return (
        one.network,
        one.precision,
        one.target,
        str(one.threads),
        one.device,
        one.outcome,
        *times,
        memory,
        size,
        energy,
    )


def _print_results(database: "Database", runs: "Sequence[Run]", only: dict[str, list[str]], as_json: bool) -> None:
    import msgspec

    found = [(run, database.results(run, only)) for run in runs]
    if as_json:
        print_json([{"run": msgspec.to_builtins(run), "results": msgspec.to_builtins(rows)} for run, rows in found])
        return
    for run, rows in found:
        open_cells = "" if run.finished else ", not finished"
        click.echo(f"run {run.id}, {run.name}, {run.created}, commit {run.commit[:10] or '–'}{open_cells}\n")
        if rows:
            print_table(COLUMNS, [cells_of(one) for one in rows], right=NUMBERS)
        for one in rows:
            if one.why:
                click.echo(f"\n{one.cell}, {one.outcome}: {one.why}")
        click.echo("" if rows else "no result of that kind\n")


def _print_runs(database: "Database", as_json: bool) -> None:
    import msgspec

    runs = database.runs()
    if as_json:
        print_json(msgspec.to_builtins(runs))
        return
    columns = ("run", "name", "begun", "finished", "commit", "sdk", "cpu", "cells", "file")
    rows = [
        (str(run.id), run.name, run.created, run.finished or "no", run.commit[:10] or "–", run.sdk,
         run.host.get("cpu", ""), str(len(database.results(run))), run.file)
        for run in runs
    ]  # fmt: skip
    print_table(columns, rows, right=("run", "cells"))


def _print_compared(found: "Compared", limit: float | None, as_json: bool) -> int:
    """The exit code: 1 where a row is above the limit, or where there is a limit and nothing decides."""
    above = found.above(limit) if limit is not None else ()
    code = 1 if above or (limit is not None and not found.deciding) else 0
    if as_json:
        told = {"limit": limit, "above": [pair.cell._asdict() for pair in above], "decided": len(found.deciding)}
        print_json(found.to_dict() | told)
        return code
    for warning in found.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(f"old: run {found.old.id}, {found.old.name}, {found.old.created}, commit {found.old.commit[:10] or '–'}")
    click.echo(
        f"new: run {found.new.id}, {found.new.name}, {found.new.created}, commit {found.new.commit[:10] or '–'}\n"
    )
    print_table(COMPARED, [_compared(pair) for pair in found.pairs], right=("threads", *COMPARED[5:11]))
    for pair in found.pairs:
        for said in filter(None, (pair.why, ", ".join(pair.notes))):
            click.echo(f"\n{pair.cell}: {said}")
    for which, cells in (("old", found.only_old), ("new", found.only_new)):
        for cell in cells:
            click.echo(f"\n{cell}: in the {which} run alone", err=True)
    if limit is not None:
        _print_limit(found, above, limit)
    return code


def _print_limit(found: "Compared", above: "Sequence[Pair]", limit: float) -> None:
    click.echo()
    for pair in above:
        click.secho(
            f"above {limit:g}: {pair.cell} takes {pair.ratio:.3f} times as long, at least {pair.low:.3f}", fg="red"
        )
    if not found.deciding:
        click.secho("nothing is valid in both runs, so nothing can be said: that counts as a failure", fg="red")
    elif not above:
        click.echo(f"none of {len(found.deciding)} rows is above {limit:g} for certain (the interval's lower end)")


def _compared(pair: "Pair") -> tuple[str, ...]:
    def text(value: float | None, form: str) -> str:
        return "–" if value is None else format(value, form)

    cell = pair.cell
    interval = "–" if pair.low is None else f"{pair.low:.3f} .. {pair.high:.3f}"
    return (
        cell.network, cell.precision, cell.target, str(cell.threads), cell.device, text(pair.old_ms, ".3f"),
        text(pair.new_ms, ".3f"), text(pair.ratio, ".3f"), interval, text(pair.spread, ".1%"), text(pair.p_holm, ".2g"),
        pair.verdict,
    )  # fmt: skip
