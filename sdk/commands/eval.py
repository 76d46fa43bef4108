"""`sdk eval`: the task's own metric of every artifact, beside PyTorch's."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from sdk.evaluate.results import EvalResult, EvalRow

TITLES = {
    "top1": "top-1 %",
    "top5": "top-5 %",
    "map50_95": "mAP50-95 %",
    "map50": "mAP50 %",
    "psnr_db": "PSNR dB",
    "ssim": "SSIM %",
}
IN_DB = frozenset({"psnr_db"})


@click.command(
    epilog="\b\nExamples:\n"
    "  sdk eval mobilenetv4_conv_small.bundle --data photos/\n"
    "  sdk eval mcunet_in3.bundle --data imagenette.zip --target tflite,onnx --limit 100 --json\n"
    "  sdk eval leyolo_nano.bundle --data instances_val.json --images val/ --weights leyolo_nano.pt -v\n"
    "  sdk eval turbo_vaed_ltx.bundle --data clips/ --save predictions.json\n"
    "  sdk eval net.bundle --data photos/ --classes folders.csv --model net.py:make_net --weights net.safetensors"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path),
              help="A folder (or .zip) with a folder for each class; COCO's instances json; a folder of .npz clips "
              "with `latent` and `video`.")  # fmt: skip
@click.option("--images", type=click.Path(path_type=Path), help="The json's images; `images/` beside it by default.")
@click.option("--classes", type=click.Path(path_type=Path), help="Lines FOLDER,NUMBER for folders of other names.")
@click.option("--target", "-t", "targets", default="all", show_default=True, help="all, or names with commas.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many samples, evenly spread.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of a runtime; all cores by default.")
@click.option("--jobs", "-j", default=1, show_default=True, type=click.IntRange(min=1), help="Targets at a time.")
@click.option("--weights", default="", help="For PyTorch's row: the weights file that was exported.")
@click.option("--model", default="", help="For PyTorch's row: the network, as for `sdk export`, if not of the zoo.")
@click.option("--no-pytorch", is_flag=True, help="Leave PyTorch's row out.")
@click.option("--save", type=click.Path(path_type=Path, dir_okay=False), help="Write every prediction as JSON.")
@click.option("--verbose", "-v", is_flag=True, help="Show AP by size and by class of a detector.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of rows; metrics as shares of 1, PSNR in dB.")
def command(
    bundle: Path,
    data: Path,
    images: Path | None,
    classes: Path | None,
    targets: str,
    limit: int | None,
    threads: int | None,
    jobs: int,
    weights: str,
    model: str,
    no_pytorch: bool,
    save: Path | None,
    verbose: bool,
    as_json: bool,
) -> None:
    """Score every artifact of BUNDLE on the same data, each in its own runtime, beside PyTorch.

    Classifiers get top-1 and top-5, detectors COCO's mAP, video decoders PSNR and SSIM. A drop's 95 % interval says
    what other samples of the kind could have shown. A class's folder is named by its label, its ImageNet id or its
    number. Core ML's program is interpreted where there is no Core ML. The exit
    code is 1 where a target failed.
    """
    from sdk.evaluate import evaluate
    from sdk.evaluate.live import live_bars

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidies up as Ctrl-C does
    with live_bars(quiet=as_json) as watch:
        result = evaluate(
            bundle,
            data,
            images=images,
            classes=classes,
            targets=targets,
            limit=limit,
            threads=threads,
            jobs=jobs,
            model=model,
            weights=weights,
            pytorch=not no_pytorch,
            save=save,
            watch=watch,
        )
    if as_json:
        print_json([row.to_dict(details=verbose) for row in result])
    else:
        _print(result, verbose)
    _warn(result)
    raise SystemExit(0 if result.ok else 1)


def _print(result: "EvalResult", verbose: bool) -> None:
    from sdk.evaluate.results import MAIN

    main = MAIN[result.task]
    names = [name for name in TITLES if any(name in row.metrics for row in result)]
    drop = f"drop, {'dB' if main in IN_DB else 'points'}"
    scores = (*(TITLES[name] for name in names), drop, "95 % interval")
    columns = ("target", "precision", "status", *scores, "samples", "samples/s")
    print_table(columns, [_cells(row, names, main) for row in result], right=columns[3:])
    if verbose:
        _print_details(result)
    for row in result:
        if row.error:
            click.echo(f"\n{row.target}: {row.error['given']}")
            for word, key in (("expected", "expected"), ("try", "hint")):
                if row.error.get(key):
                    click.echo(f"  {word}: {row.error[key]}")
        elif row.reason:
            click.echo(f"\n{row.target}: {row.reason}")
    click.echo("\nsamples/s includes reading files and preparing inputs: it is no benchmark of a runtime")
    for note in result.notes:
        click.echo(note)
    click.echo(_verdict(result, main))


def _cells(row: "EvalRow", names: list[str], main: str) -> tuple[str, ...]:
    scores = tuple(_number(name, row.metrics.get(name)) for name in names)
    drop = (_number(main, row.drop, "+.2f"), " .. ".join(_number(main, end, "+z.1f") for end in row.interval or [None]))
    rate = f"{row.images / row.seconds:,.1f}" if row.images and row.seconds else "-"
    return (row.target, row.precision, row.status, *scores, *drop, f"{row.images:,}", rate)


def _number(name: str, value: float | None, form: str = ".2f") -> str:
    return "-" if value is None else format((value if name in IN_DB else 100 * value) + 0.0, form)


def _print_details(result: "EvalResult") -> None:
    """AP by size and class, a column a row of the result."""
    scored = [row for row in result if row.score.classes]
    for title in ("sizes", "classes"):
        tables = [getattr(row.score, title) for row in scored]
        names = list(dict.fromkeys(name for table in tables for name in table))
        if names:
            columns = ("AP %" if title == "sizes" else "AP % of class", *(row.target for row in scored))
            click.echo()
            print_table(
                columns, [(name, *(_number("", table.get(name)) for table in tables)) for name in names],
                right=columns[1:],
            )  # fmt: skip


def _verdict(result: "EvalResult", main: str) -> str:
    """The last line: the worst drop."""
    worst = result.worst
    if worst is None or worst.drop is None:
        return "no drop is known: there is no row of PyTorch to compare with, or no target that runs here"
    if worst.drop <= 0:
        return "no target falls behind PyTorch"
    unit = "dB" if main in IN_DB else "points"
    return (
        f"worst drop against PyTorch: {worst.target}, {_number(main, worst.drop)} {unit} of {TITLES[main][:-2].strip()}"
    )


def _warn(result: "EvalResult") -> None:
    if not result.left_out:
        return
    click.secho(
        f"warning: {len(result.left_out):,} samples could not be used and are left out of every row:",
        fg="yellow",
        err=True,
    )
    for why in result.left_out[:10]:
        click.echo(f"  {why}", err=True)
    if len(result.left_out) > 10:
        click.echo(f"  and {len(result.left_out) - 10:,} more", err=True)
