"""`sdk keys`: make a pair of keys, or look at one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from sdk.console import print_json

PASSPHRASE = "EDGE_SDK_PASSPHRASE"
F = TypeVar("F", bound=Callable[..., object])


def passphrase_of(file: Path | None) -> bytes | None:
    """From a file's first line, or the environment; None for a key without one. Raises SdkError for an empty one."""
    from runtime_py.errors import SdkError

    if file is not None:
        with file.open("rb") as text:
            found = text.readline(1025).rstrip(b"\r\n")
        if not 0 < len(found) <= 1024:  # an empty one would leave the key unlocked
            raise SdkError(f"{file} begins with {len(found)} bytes", expected="a passphrase of 1 to 1,024 bytes")
        return found
    return os.environ[PASSPHRASE].encode() if os.environ.get(PASSPHRASE) else None


def with_passphrase(command: F) -> F:
    """The option that says how a private key is locked."""
    return click.option(
        "--passphrase-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help=f"The key's passphrase, in a file; or set {PASSPHRASE}.",
    )(command)  # fmt: skip


@click.group(epilog="\b\nExamples:\n  sdk keys new maker\n  sdk keys show maker.pub")
def command() -> None:
    """Make the keys that sign bundles, or look at one.

    NAME.key signs and stays with you; NAME.pub goes to devices, where runtime_py.load(BUNDLE, key="NAME.pub") refuses
    what it did not sign.
    """


@command.command(epilog="\b\nExamples:\n  sdk keys new maker\n  sdk keys new maker --out ~/keys")
@click.argument("name")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="The folder for both.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@with_passphrase
def new(name: str, out: Path, passphrase_file: Path | None, as_json: bool) -> None:
    """Write NAME.key, which only you can read, and NAME.pub."""
    from runtime_py.errors import SdkError
    from runtime_py.signing import public_keys
    from sdk.signing import new_keys

    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise SdkError(f"the name {name!r}", expected="letters, digits, '-', '_' and '.'")
    private, public = new_keys(name, out, passphrase_of(passphrase_file))
    (identity,) = public_keys(public)
    if as_json:
        print_json({"private": str(private), "public": str(public), "key": identity})
        return
    click.echo(f"{private}  signs: keep it off devices, and a copy of it safe\n{public}  for devices; key {identity}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def show(file: Path, as_json: bool) -> None:
    """Print the identities of the public keys in FILE."""
    from runtime_py.signing import public_keys

    identities = list(public_keys(file))
    if as_json:
        print_json({"keys": identities})
    else:
        click.echo("\n".join(identities))
