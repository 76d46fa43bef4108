"""`sdk train`: train a network from a recipe."""

import json
from pathlib import Path

import click


@click.command(
    epilog="\b\nExamples:\n  sdk train tin200 --data data/tiny-imagenet --out runs/tin200\n"
    "  sdk train my.toml --data data --out runs/smoke --epochs 1 --limit 2048"
)
@click.argument("recipe")
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder of shards or images.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for checkpoints and weights.")
@click.option("--device", help="PyTorch device; the first GPU, or the CPU, by default.")
@click.option("--epochs", type=click.IntRange(min=1), help="Shorten each stage, for smoke runs.")
@click.option("--limit", type=click.IntRange(min=2), help="Use this many images of each split.")
@click.option("--fresh", is_flag=True, help="Ignore checkpoints in --out and start over.")
@click.option("--compile", "compiled", is_flag=True, help="Compile the network first; slow to start.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    recipe: str,
    data: Path,
    out: Path,
    device: str | None,
    epochs: int | None,
    limit: int | None,
    fresh: bool,
    compiled: bool,
    as_json: bool,
) -> None:
    """Train the network of RECIPE: a packaged recipe's name, or a .toml file.

    Ctrl-C saves a checkpoint; the same command goes on from there.
    """
    from sdk.train import train

    result = train(recipe, data, out, device, not fresh, epochs, limit, compiled)
    if as_json:
        click.echo(json.dumps(result.to_dict()))
        return
    click.echo(f"top-1 {result.top1:.2%}, top-5 {result.top5:.2%} on {result.images:,} images")
    click.echo(f"weights  {result.weights}")
    click.echo(f"card     {result.card}")
