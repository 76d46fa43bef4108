"""`sdk verify`: prove a bundle again."""

from pathlib import Path

import click

from sdk.console import print_json


@click.command(
    epilog="\b\nExamples:\n  sdk verify mobilenetv4_conv_small.bundle\n  sdk verify my.bundle --key maker.pub\n"
    "  sdk verify my.bundle --json"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--jobs", "-j", type=click.IntRange(min=1), help="Targets at a time; one for each core by default.")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="Must have signed it: NAME.pub.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(bundle: Path, jobs: int | None, key: Path | None, as_json: bool) -> None:
    """Check every byte of BUNDLE, then run each artifact that this machine can run, from the bundle alone.

    The exit code is 1 where a byte differs or an artifact no longer answers as PyTorch did.
    """
    from sdk.commands.export import print_targets
    from sdk.live import live_progress
    from sdk.verifying import verify

    with live_progress(quiet=as_json) as progress:
        result = verify(bundle, jobs=jobs, progress=progress, key=key)
    if as_json:
        print_json(result.to_dict())
    else:
        print_targets(result.targets)
        click.echo(
            f"\n{bundle}: {'every byte and every answer that can be checked here holds' if result.ok else 'FAILED'}"
        )
        if result.signed is not None:
            click.echo(f"release {result.signed.release}, signed by {result.signed.key} at {result.signed.signed}")
    raise SystemExit(0 if result.ok else 1)
