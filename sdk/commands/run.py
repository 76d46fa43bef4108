"""`sdk run`: answers of a bundle to photos, or a decoder's video of latents."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime_py.errors import SdkError
from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from runtime_py.session import Session

VIDEOS = ("webp", "gif", "mp4", "frames")


@click.command(
    epilog="\b\nExamples:\n  sdk run mobilenetv4_conv_small.bundle cat.jpg dog.png\n"
    "  sdk run leyolo_nano.bundle street.jpg --save\n"
    "  sdk run my.bundle photo.jpg --target onnx --top 3 --json\n"
    "  sdk run turbo_vaed_ltx.bundle latent.npy --save --video mp4 --out clips/"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--target", "-t", help="Which artifact; the best that runs here by default.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.")
@click.option("--top", default=5, show_default=True, type=click.IntRange(min=1), help="Classes to show.")
@click.option("--confidence", type=click.FloatRange(0, 1), help="Of a detector, in place of the bundle's threshold.")
@click.option("--save", is_flag=True, help="Write each answer drawn on its photo, or the video, as NAME.TARGET.*")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Where --save writes; here by default.")
@click.option("--video", default="webp", show_default=True, type=click.Choice(VIDEOS),
              help="How --save writes a video; `frames`: a folder of .png.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def command(
    bundle: Path,
    files: tuple[Path, ...],
    target: str | None,
    threads: int | None,
    top: int,
    confidence: float | None,
    save: bool,
    out: Path | None,
    video: str,
    as_json: bool,
) -> None:
    """Answer FILES with BUNDLE: photos, or a video decoder's latents (.npy, .npz).

    A file that cannot be read is named, the others are answered; exit code 1. `--target coreml` runs Core ML's
    program over torch where there is no Core ML.
    """
    from sdk.interpreted import load_anywhere

    rows: list[dict[str, Any]] = []
    folder = (out or Path.cwd()) if save or out else None
    with load_anywhere(bundle, target, threads) as session:
        if not as_json:
            click.echo(session.why)
        if session.spec.weights == "random":
            click.secho("the weights in this bundle are random, and so are its answers", fg="yellow", err=True)
        for file in files:
            try:
                rows.append(_answer(session, file, top, confidence, folder, video))
            except SdkError as error:
                rows.append({"image": str(file), "error": error.to_dict()})
            if not as_json:
                _print(rows[-1])
    if as_json:
        print_json(rows)
    raise SystemExit(1 if any("error" in row for row in rows) else 0)


def _answer(
    session: "Session", file: Path, top: int, confidence: float | None, out: Path | None, video: str
) -> dict[str, Any]:
    from runtime_py.preprocess import decode_image
    from runtime_py.video import read_latent

    started, task = time.perf_counter(), session.spec.task
    answer: Any
    if task == "decode_video":
        answer = session.decode(read_latent(file))
    elif task == "detect":
        answer = session.detect(file, confidence)
    else:
        answer = session.classify(file)
    milliseconds = (time.perf_counter() - started) * 1e3
    plain = answer.to_dict()
    if task == "classify":
        plain = {"top": [{"label": r.name, "score": r.score, "index": r.index} for r in answer.top(top)]}
    row = {"image": str(file), "target": session.target, "ms": milliseconds, **plain}
    if out is not None:
        name = f"{file.stem}.{session.target}"
        if task == "decode_video":
            row["saved"] = str(_save_video(answer, out / (name if video == "frames" else f"{name}.{video}")))
        else:
            row["saved"] = str(_save_drawing(answer, decode_image(file), task, out / f"{name}.png"))
    return row


def _save_video(video: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    video.save(path)
    return path


def _save_drawing(answer: Any, image: Any, task: str, path: Path) -> Path:
    """Write the drawing beside its final name and rename it."""
    from runtime_py.draw import draw_classification, draw_detections

    path.parent.mkdir(parents=True, exist_ok=True)
    draw = draw_detections if task == "detect" else draw_classification
    beside = path.with_name(f".{path.name}.part")
    try:
        draw(image, answer).save(beside, format="PNG")
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _print(row: dict[str, Any]) -> None:
    if "error" in row:
        click.secho(f"\n{row['image']}: {row['error']['given']}", fg="red", err=True)
        for word in ("expected", "hint"):
            if row["error"][word]:
                click.echo(f"  {'try' if word == 'hint' else word}: {row['error'][word]}", err=True)
        return
    what = "latent to video" if "frames" in row else "photo to answer"
    click.echo(f"\n{row['image']}  ({row['ms']:.1f} ms, {what})")
    if "top" in row:
        best = [(one["label"], f"{one['score']:.1%}") for one in row["top"]]
        print_table(("class", "score"), best, right=("score",))
    elif "detections" in row:
        found = [(o["label"], f"{o['score']:.1%}", *(f"{v:.0f}" for v in o["box"])) for o in row["detections"]]
        columns = ("class", "score", "left", "top", "right", "bottom")
        print_table(columns, found, right=columns[1:]) if found else click.echo("nothing found")
    else:
        click.echo(f"{row['frames']} frames of {row['width']} x {row['height']}")
    if "saved" in row:
        click.echo(f"saved  {row['saved']}")
