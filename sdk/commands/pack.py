"""`sdk pack`: a bundle as one file."""

from pathlib import Path

import click

from sdk.console import print_json


@click.command(epilog="\b\nExamples:\n  sdk pack my.bundle\n  sdk pack my.bundle --out release-7.bundle.zip")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file; BUNDLE.zip by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: Path, out: Path | None, as_json: bool) -> None:
    """Check every byte of BUNDLE, and write it as one zip file, which runtime_py.load and Store take as it is."""
    from runtime_py.archive import pack

    made = pack(bundle, out)
    if as_json:
        print_json({"file": str(made), "bytes": made.stat().st_size})
    else:
        click.echo(f"{made}  {made.stat().st_size / 1e6:.1f} MB")
