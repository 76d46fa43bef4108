"""`sdk sign`: sign a bundle."""

from pathlib import Path

import click

from sdk.commands.keys import passphrase_of, with_passphrase
from sdk.console import print_json


@click.command(
    epilog="\b\nExamples:\n  sdk keys new maker\n  sdk sign my.bundle --key maker.key\n"
    "  sdk sign my.bundle --key maker.key --release 7"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--key", required=True, type=click.Path(path_type=Path), help="NAME.key of sdk keys new.")
@click.option("--release", type=click.IntRange(min=1), help="Its number; one more than before by default.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@with_passphrase
def command(bundle: Path, key: Path, release: int | None, passphrase_file: Path | None, as_json: bool) -> None:
    """Check every byte of BUNDLE, and write its signature.json.

    Devices with the public key refuse what is not signed, was changed, or has a lower release than they have had.
    """
    import msgspec

    from sdk.signing import private_key, sign

    statement = sign(bundle, private_key(key, passphrase_of(passphrase_file)), release)
    if as_json:
        print_json(msgspec.to_builtins(statement))
    else:
        click.echo(f"{bundle}: release {statement.release} of {statement.model}, signed by {statement.key}")
