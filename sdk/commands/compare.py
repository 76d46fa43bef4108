"""`sdk compare`: two bundles side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from runtime_py.manifest import Accuracy, Artifact
    from sdk.comparing import Comparison, LayerRow, Pair

LETTERS = 60
"""Of a value that changed; `--json` has all of it."""


@click.command(
    epilog="\b\nExamples:\n"
    "  sdk compare fp32/mcunet_in3.bundle w8a8/mcunet_in3.bundle\n"
    "  sdk compare yesterday.bundle today.bundle --json"
)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(a: Path, b: Path, as_json: bool) -> None:
    """Show the bundles A and B side by side: every artifact's size, error and accuracy, and what else changed.

    Every byte of both is checked first; nothing is run. Artifacts are matched by their target, those of the same
    precision first. A difference is no failure: the exit code is 1 only where a bundle cannot be read.
    """
    from sdk.comparing import compare_bundles

    result = compare_bundles(a, b)
    if as_json:
        print_json(result.to_dict())
        return
    for warning in result.warnings:
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    click.echo(f"A {result.a}\nB {result.b}\n")
    _print_artifacts(result.pairs)
    _print_files(result)
    _print_changes(result)
    _print_layers(result)


def _print_artifacts(pairs: Sequence["Pair"]) -> None:
    """A row an artifact: its values in A, then in B; columns that nobody fills are left out."""
    values: dict[str, Callable[[Artifact], str]] = {
        "precision": lambda row: row.precision,
        "status": lambda row: row.status,
        "size, B": lambda row: f"{row.bytes:,}",
        "SQNR, dB": lambda row: "-" if row.sqnr_db is None else f"{row.sqnr_db:.1f}",
        "int8 weights": lambda row: "-" if row.contents is None else f"{100 * row.contents.int8_share:.1f} %",
        "accuracy": lambda row: _score(row.accuracy),
        "drop": lambda row: _drop(row.accuracy),
        "95 % interval": lambda row: _interval(row.accuracy),
    }
    rows = [
        (pair.target, side, *("-" if artifact is None else read(artifact) for read in values.values()), ratio)
        for pair in pairs
        for side, artifact, ratio in (("A", pair.a, ""), ("B", pair.b, _ratio(pair)))
    ]
    columns = ("target", "in", *values, "B / A")
    filled = [index for index in range(len(columns)) if any(row[index] not in ("", "-") for row in rows)]
    if rows:
        names = [columns[index] for index in filled]
        right = set(names) - {"target", "in", "precision", "status"}
        print_table(names, [[row[index] for index in filled] for row in rows], right=right)
    else:
        click.echo("neither bundle holds an artifact")


def _print_files(result: "Comparison") -> None:
    same = sum(row.state == "same" for row in result.files)
    click.echo(f"\nfiles: {same} the same, {len(result.files) - same} not")
    if len(result.files) > same:
        print_table(("file", "state"), [(row.file, row.state) for row in result.files if row.state != "same"])


def _print_changes(result: "Comparison") -> None:
    if not result.changes:
        click.echo("\nnetwork, tensors, preprocessing, postprocessing, labels, tools and calibration: all the same")
        return
    click.echo()
    rows = [(row.group, row.name, _cut(row.a), _cut(row.b)) for row in result.changes]
    print_table(("changed", "what", "A", "B"), rows)


def _print_layers(result: "Comparison") -> None:
    if not result.layers:
        return
    listed, total = len(result.layers), result.layers_joined
    click.echo(f"\nSQNR of the answer where one layer alone is quantised: the {listed} of {total} that differ most")
    rows = [
        (row.module or row.name, f"{row.a_db:.1f}", f"{row.b_db:.1f}", f"{row.difference_db:+z.1f}", _kept(row))
        for row in result.layers
    ]
    columns = ("layer", "A, dB", "B, dB", "B - A", "kept")
    print_table(columns, rows, right=columns[1:4])


def _kept(row: "LayerRow") -> str:
    return ", ".join(side for side, kept in (("A", row.a_kept), ("B", row.b_kept)) if kept) or "-"


def _ratio(pair: "Pair") -> str:
    return "-" if pair.ratio is None else f"{pair.ratio:.3f}"


def _score(found: "Accuracy | None") -> str:
    return "-" if found is None else f"{found.metric} {_scale(found) * found.value:.2f} {_unit(found, '%')}"


def _drop(found: "Accuracy | None") -> str:
    return "-" if found is None else f"{_scale(found) * found.drop:+z.2f} {_unit(found, 'points')}"


def _interval(found: "Accuracy | None") -> str:
    return "-" if found is None else f"{_scale(found) * found.low:+z.2f} .. {_scale(found) * found.high:+z.2f}"


def _scale(found: "Accuracy") -> float:
    return 1.0 if found.metric.endswith("_db") else 100.0


def _unit(found: "Accuracy", of_shares: str) -> str:
    return "dB" if found.metric.endswith("_db") else of_shares


def _cut(text: str) -> str:
    """One line, as long as a table takes; a dash where there is nothing."""
    line = " ".join(text.split())
    return (line if len(line) <= LETTERS else line[: LETTERS - 1] + "…") or "-"
