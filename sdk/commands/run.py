"""`sdk run`: answers of a bundle to photos."""

import time
from pathlib import Path
from typing import Any

import click

from runtime_py.errors import SdkError
from sdk.console import print_json, print_table


@click.command(
    epilog="\b\nExamples:\n  sdk run mobilenetv4_conv_small.bundle cat.jpg dog.png\n"
    "  sdk run my.bundle photo.jpg --target onnx --top 3 --json"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--target", "-t", help="Which artifact; the best that runs here by default.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime.")
@click.option("--top", default=5, show_default=True, type=click.IntRange(min=1), help="Classes to show.")
@click.option("--json", "as_json", is_flag=True, help="Print the answers as JSON.")
def command(
    bundle: Path, images: tuple[Path, ...], target: str | None, threads: int | None, top: int, as_json: bool
) -> None:
    """Answer IMAGES with BUNDLE. An image that cannot be read is named, the others are answered; exit code 1."""
    import runtime_py

    rows: list[dict[str, Any]] = []
    with runtime_py.load(bundle, target, threads) as session:
        if not as_json:
            click.echo(session.why)
        for image in images:
            started = time.perf_counter()
            try:
                best = session(image).top(top)
            except SdkError as error:
                rows.append({"image": str(image), "error": error.to_dict()})
            else:
                answers = [{"label": row.name, "score": float(row.score), "index": int(row.index)} for row in best]
                milliseconds = (time.perf_counter() - started) * 1e3
                rows.append({"image": str(image), "target": session.target, "ms": milliseconds, "top": answers})
            if not as_json:
                _print(rows[-1])
    if as_json:
        print_json(rows)
    raise SystemExit(1 if any("error" in row for row in rows) else 0)


def _print(row: dict[str, Any]) -> None:
    if "error" in row:
        click.secho(f"\n{row['image']}: {row['error']['given']}", fg="red", err=True)
        if row["error"]["hint"]:
            click.echo(f"  try: {row['error']['hint']}", err=True)
        return
    click.echo(f"\n{row['image']}  ({row['ms']:.1f} ms, photo to answer)")
    print_table(("class", "score"), [(best["label"], f"{best['score']:.1%}") for best in row["top"]], right=("score",))
