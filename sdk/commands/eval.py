"""`sdk eval`: the accuracy of a bundle's artifacts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from sdk.evaluate.running import EvalResult, Watch

TITLES = {
    "top1": "top-1",
    "top5": "top-5",
    "map50_95": "mAP50-95",
    "map50": "mAP50",
    "psnr_db": "PSNR dB",
    "ssim": "SSIM",
}


@click.command(
    epilog="\b\nExamples:\n  sdk eval mobilenetv4_conv_small.bundle --data photos/\n"
    "  sdk eval leyolo_nano.bundle --data instances_val.json --images val/ --weights leyolo_nano.pt\n"
    "  sdk eval mcunet_in3.bundle --data imagenette.zip --target tflite,onnx --limit 100 --json\n"
    "  sdk eval turbo_vaed_ltx.bundle --data clips/"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path),
              help="A folder or .zip of a folder a class, COCO's json, or a folder of .npz clips.")  # fmt: skip
@click.option("--images", type=click.Path(path_type=Path), help="COCO's images; beside the json by default.")
@click.option("--classes", type=click.Path(path_type=Path), help="Lines of FOLDER,NUMBER, for folders of other names.")
@click.option("--target", "-t", "targets", default="all", show_default=True, help="Targets, with commas.")
@click.option("--limit", type=click.IntRange(min=1), help="So many samples only, evenly chosen.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtimes; every core by default.")
@click.option("--weights", default="", help="The weights file of the export, for PyTorch's row.")
@click.option("--model", default="", help="The network of the export where it is none of the zoo, for PyTorch's row.")
@click.option("--no-pytorch", is_flag=True, help="Leave PyTorch's row out.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of rows; metrics are shares of 1, PSNR in dB.")
def command(
    bundle: Path,
    data: Path,
    images: Path | None,
    classes: Path | None,
    targets: str,
    limit: int | None,
    threads: int | None,
    weights: str,
    model: str,
    no_pytorch: bool,
    as_json: bool,
) -> None:
    """Score every artifact of BUNDLE in its own runtime on the same data, beside PyTorch.

    Classifiers: top-1 and top-5. Detectors: COCO's mAP. Video decoders: PSNR and SSIM. Exit code 1 where a target
    failed.
    """
    from sdk.evaluate.running import evaluate

    with _bars(quiet=as_json) as watch:
        result = evaluate(
            bundle,
            data,
            images=images,
            classes=classes,
            targets=targets,
            limit=limit,
            threads=threads,
            model=model,
            weights=weights,
            pytorch=not no_pytorch,
            watch=watch,
        )
    if as_json:
        print_json([row.to_dict() for row in result.rows])
    else:
        _print(result)
    raise SystemExit(0 if result.ok else 1)


def _print(result: "EvalResult") -> None:
    from sdk.evaluate.metrics import MAIN

    names = [name for name in TITLES if any(name in row.metrics for row in result.rows)]
    in_db = MAIN[result.task] == "psnr_db"
    rows = [
        (
            row.target,
            row.precision,
            row.status,
            *(_number(name, row.metrics.get(name)) for name in names),
            "-" if row.drop is None else f"{row.drop * (1 if in_db else 100):+.2f}",
            str(row.images),
            f"{row.seconds:.0f}",
        )
        for row in result.rows
    ]
    drop = "drop, dB" if in_db else "drop, points"
    columns = ("target", "precision", "status", *(TITLES[name] for name in names), drop, "samples", "seconds")
    print_table(columns, rows, right=columns[3:])
    for row in result.rows:
        if row.error:
            click.echo(f"\n{row.target}: {row.error['given']}")
            if row.error.get("hint"):
                click.echo(f"  try: {row.error['hint']}")
    if result.left_out:
        click.echo(f"\n{len(result.left_out)} files could not be read and were left out of every row:", err=True)
        for why in result.left_out[:5]:
            click.echo(f"  {why}", err=True)


def _number(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name in ("psnr_db", "ssim"):
        return f"{value:.2f}" if name == "psnr_db" else f"{value:.4f}"
    return f"{value:.2%}"


@contextmanager
def _bars(quiet: bool) -> "Iterator[Watch]":
    """A bar a target on a terminal, a line at every tenth elsewhere."""
    if quiet:
        yield lambda *_: None
    elif sys.stderr.isatty():
        with _rich_bars() as watch:
            yield watch
    else:
        said: dict[str, int] = {}

        def lines(target: str, done: int, total: int) -> None:
            if done * 10 // total > said.get(target, 0):
                said[target] = done * 10 // total
                click.echo(f"{target}: {done} of {total}", err=True)

        yield lines


@contextmanager
def _rich_bars() -> "Iterator[Watch]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def watch(target: str, done: int, total: int) -> None:
            if target not in tasks:
                tasks[target] = bars.add_task(target, total=total)
            bars.update(tasks[target], completed=done)

        yield watch
