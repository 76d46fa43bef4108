"""`sdk models`: the networks that come with the SDK."""

from dataclasses import asdict

import click

METRICS = {"top1": "top-1", "map50_95": "mAP"}


@click.command(epilog="\b\nExamples:\n  sdk models\n  sdk models --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the networks of the zoo: task, input, size, published accuracy, and packaged weights.

    Accuracy is what the network's authors published; a tag's own stands in brackets.
    """
    from models_zoo import MODELS
    from sdk.console import print_json, print_table

    if as_json:
        print_json([asdict(spec) for spec in MODELS.values()])
        return
    rows = [
        [
            spec.name,
            spec.task,
            "x".join(map(str, spec.shape)),
            f"{spec.params / 1e6:.2f} M",
            f"{spec.macs / 1e9:.2f} G",
            _accuracy(spec.accuracy),
            "; ".join(f"{tag} ({_accuracy(row.accuracy)} at {row.input_size} px)" for tag, row in spec.weights.items())
            or "-",
        ]
        for spec in MODELS.values()
    ]
    columns = ("model", "task", "input", "params", "MACs", "published", "weights")
    print_table(columns, rows, right=("input", "params", "MACs", "published"))


def _accuracy(shares: dict[str, float]) -> str:
    """The first metric of a row, in percent: the one that its authors compare by."""
    metric, share = next(iter(shares.items()), ("", 0.0))
    return f"{METRICS.get(metric, metric)} {share:.1%}" if metric else "-"
