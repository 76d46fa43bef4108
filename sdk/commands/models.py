"""`sdk models`: the networks that come with the SDK."""

from dataclasses import asdict

import click


@click.command(epilog="\b\nExamples:\n  sdk models\n  sdk models --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the networks of the zoo: task, input, size, published accuracy, and packaged weights.

    Top-1 is what the network's authors published; a tag's own accuracy stands in brackets.
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
            f"{spec.input_size} px",
            f"{spec.params / 1e6:.2f} M",
            f"{spec.macs / 1e9:.2f} G",
            f"{spec.top1:.1%}",
            ", ".join(f"{tag} ({w.top1:.1%} at {w.input_size} px)" for tag, w in spec.weights.items()) or "-",
        ]
        for spec in MODELS.values()
    ]
    columns = ("model", "task", "input", "params", "MACs", "top-1", "weights")
    print_table(columns, rows, right=("input", "params", "MACs", "top-1"))
