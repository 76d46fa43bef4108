"""`sdk predict`: how fast a bundle would be on a board that is not at hand."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdk.predicting.answer import Checked, Prediction

COLUMNS = ("target", "precision", "threads", "predicted ms", "9 of 10 within", "looked up", "outside", "measured ms")
LIMITS = (0.05, 0.1, 0.15, 0.25, 0.5, float("inf"))
"""Of the errors' histogram."""


@click.command(
    epilog="\b\nExamples:\n  sdk predict my.bundle --device rpi5 --measured runs/\n"
    "  sdk predict my.bundle --device local --measured runs/ --json\n"
    "  sdk predict --check --device local --measured runs/"
)
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option(
    "--device", "-d", required=True, help="A board as in sdk devices, local, or a processor's name as profiles have it."
)
@click.option(
    "--measured", "-m", "measured", multiple=True, required=True, type=click.Path(path_type=Path, exists=True),
    help="A bundle, or a folder of them, whose operators were measured there; may be repeated.",
)  # fmt: skip
@click.option(
    "--check", "checking", is_flag=True, help="Predict each measured network from the others, and show the errors."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: Path | None, device: str, measured: tuple[Path, ...], checking: bool, as_json: bool) -> None:
    """Predict BUNDLE's latency on a device from the operators of other networks, measured on a device of that kind.

    Measure there first, as many networks as you can: sdk profile BUNDLE --device ssh://... --layers --save. An operator
    that was measured is looked up; others come from a regression over those of its kind. Without measurements of that
    kind of device there is no prediction. BUNDLE's own measurements are never used.
    """
    from sdk.live import live_progress
    from sdk.predicting.answer import check, predict

    if (bundle is None) != checking:
        raise click.UsageError("name a BUNDLE, or give --check and none")
    if bundle is None:
        with live_progress(quiet=as_json) as progress:
            checked = check(device, measured, progress)
        print_json([one.to_dict() for one in checked]) if as_json else _print_checked(checked)
        return
    with live_progress(quiet=as_json) as progress:
        found = predict(bundle, device, measured, progress)
    print_json(found.to_dict()) if as_json else _print(found)


def _print(found: "Prediction") -> None:
    from devices.profiling import called

    click.echo(f"{found.model} on {found.device}, predicted\n")
    cells = [
        (row.target, row.precision, f"{row.threads}", _ms(row.predicted_ms), f"{_ms(row.low_ms)} .. {_ms(row.high_ms)}",
         f"{row.looked_up:.0%}", f"{row.outside:.0%}", "–" if row.measured_ms is None else _ms(row.measured_ms))
        for row in found.rows
    ]  # fmt: skip
    print_table(COLUMNS, cells, right=COLUMNS[2:])
    for row in found.rows:
        errors = row.errors
        click.echo(
            f"\n{called(row.target, row.threads)}: of {errors.networks} other networks, each predicted from the rest,"
            f" half were off by up to {errors.median:.0%}, nine of ten by {errors.p90:.0%}, one by {errors.worst:.0%}"
        )
        if row.outside > 0.1:
            click.echo(f"  {row.outside:.0%} of the time is in operators larger or smaller than any that was measured")
    for why in found.missing:
        click.echo(f"\nnot predicted: {why}")


def _print_checked(checked: "Sequence[Checked]") -> None:
    from devices.profiling import called

    for one in checked:
        cell, errors = one.cell, one.errors
        click.echo(f"{called(cell.target, cell.threads)}, {cell.precision}\n")
        rows = [
            (row.name, _ms(row.measured_ms), _ms(row.predicted_ms), f"{row.error:+.1%}", f"{row.looked_up:.0%}")
            for row in sorted(one.rows, key=lambda row: abs(row.error))
        ]
        columns = ("network", "measured ms", "predicted ms", "off by", "looked up")
        print_table(columns, rows, right=columns[1:])
        click.echo(
            f"\n{errors.within:.0%} of {errors.networks} networks within 15%; off by {errors.median:.1%} at the median"
        )
        low = 0.0
        for high in LIMITS:
            count = sum(low <= abs(row.error) < high for row in one.rows)
            text = f"{low:4.0%} to {high:4.0%}" if high < 1 else f"{low:4.0%} or more"
            click.echo(f"  {text:<12}  {'#' * count}{' ' if count else ''}{count}")
            low = high
        click.echo()


def _ms(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:,.0f}"
