"""`sdk targets`: the formats to export to, and what this machine can do with each."""

import click


@click.command(epilog="\b\nExamples:\n  sdk targets\n  sdk targets --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the targets: file suffix, precisions, types of inputs and outputs (`--io`), and whether this machine can
    convert and run them.

    `interpret` is Core ML away from macOS: the saved program's own operators, run over torch.
    """
    from sdk.capabilities import capabilities
    from sdk.console import print_json, print_table

    found = capabilities()
    if as_json:
        print_json([row.to_dict() for row in found])
        return
    words = {True: "yes", False: "no"}
    rows = [
        [
            row.target,
            row.title,
            row.suffix,
            ", ".join(row.precisions),
            ", ".join(row.io),
            words[row.convert],
            words[row.execute],
            words[row.interpret] if row.interpret or not row.execute else "-",
        ]
        for row in found
    ]
    print_table(("target", "title", "suffix", "precisions", "io", "convert", "execute", "interpret"), rows)
    for row in found:
        for reason in row.missing:
            click.echo(f"{row.target}: {reason}")
        if row.install:
            click.echo(f"{row.target}: {row.install}")
