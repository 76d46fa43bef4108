"""`sdk push`: a bundle onto a device."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from sdk.pushing import Pushed
    from sdk.removing import Removed

COLUMNS = ("target", "precision", "status", "SQNR dB", "at export", "ms", "peak MB", "runtime")
NUMBERS = (("sqnr_db", ".1f"), ("exported_sqnr_db", ".1f"), ("p50_ms", ".2f"), ("peak_rss_mb", ".0f"))


@click.command(
    epilog="\b\nExamples:\n"
    "  sdk push my.bundle ssh://pi@raspberrypi.local/home/pi/models\n"
    "  sdk push my.bundle ssh://pi@10.0.0.7:2222/~/models --extra onnxruntime\n"
    "  sdk push my.bundle ssh://pi@board/~/models --wheels wheels/ --ssh-option ProxyJump=gateway --json\n"
    "  sdk push my.bundle ssh://pi@raspberrypi.local/home/pi/models --remove"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("device")
@click.option("--extra", default="", help="Runtimes to install there, with commas: litert,onnxruntime,openvino.")
@click.option("--wheels", type=click.Path(path_type=Path), help="Install from this folder alone, without a network.")
@click.option("--python", default="python3", show_default=True, help="The device's Python, 3.11 or later.")
@click.option("--threads", type=click.IntRange(min=1), help="To prove with; as many as big cores by default.")
@click.option("--allow-failed", is_flag=True, help="Put it in place although an artifact fails there.")
@click.option("--remove", "removing", is_flag=True, help="Remove it there, and with the last bundle what runs them.")
@click.option("--ssh-option", "options", multiple=True, metavar="KEY=VALUE", help="As in ssh_config; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: Path, device: str, extra: str, wheels: Path | None, python: str, threads: int | None, allow_failed: bool,
    removing: bool, options: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Copy BUNDLE to DEVICE, ssh://user@host[:port]/folder or adb:SERIAL/folder, and prove it there.

    What runs it is installed in the folder .edge-sdk beside it where the device has none of this version. The old
    bundle stays in use until every byte of the new one is there and its golden inputs were answered rightly. The exit
    code is 1 where that did not happen.

    With --remove the bundle of that name goes, which need not be here any more, and is named with all that went.
    """
    from devices.reaching import reach_folder
    from sdk.live import live_progress
    from sdk.pushing import push

    if device == "local":
        raise click.BadParameter("local: this machine has the bundle already")
    there, place = reach_folder(device, options)
    if removing:
        if extra or wheels or threads or allow_failed:
            raise click.UsageError("--remove takes --python and --ssh-option alone")
        from sdk.removing import remove

        gone = remove(bundle.resolve().name.removesuffix(".zip"), there, place, python=python)
        print_json(gone.to_dict()) if as_json else _print_removed(gone)
        return
    extras = [name.strip() for name in extra.split(",") if name.strip()]
    with live_progress(quiet=as_json) as progress:
        found = push(
            bundle, there, place, extras=extras, wheels=wheels, python=python, threads=threads,
            allow_failed=allow_failed, progress=progress,
        )  # fmt: skip
    print_json(found.to_dict()) if as_json else _print(found)
    raise SystemExit(0 if found.in_place else 1)


def _print(found: "Pushed") -> None:
    print_table(COLUMNS, [_cells(row) for row in found.rows], right=COLUMNS[3:-1])
    click.echo(f"\non {found.processor or found.device}, {found.sent_bytes / 1e6:.1f} MB sent, {found.seconds:.0f} s")
    click.echo("ms: the median of a few answers right after loading; sdk profile measures")
    if found.installed:
        click.echo(f"installed there: {found.installed}")
    for row in found.rows:
        if row["why"]:
            click.echo(f"{row['target']}: {row['why']}", err=row["status"] == "failed")
    if found.in_place:
        click.echo(f"in place: {found.place}\nits Python: {found.python}")
    elif found.proven:
        click.echo("NOT put in place, as an artifact fails there; --allow-failed takes it all the same", err=True)
    else:
        click.echo("NOT put in place: nothing could be proven there", err=True)


def _print_removed(gone: "Removed") -> None:
    for path in gone.removed:
        click.echo(f"removed: {path}")
    for path in gone.kept:
        click.echo(f"kept: {path}, which {', '.join(gone.others)} needs")
    if gone.removed:
        click.echo(f"{gone.freed_bytes / 1e6:.1f} MB are free again on {gone.device}")
    else:
        click.echo(f"nothing was there of {gone.bundle} on {gone.device}")


def _cells(row: dict[str, object]) -> tuple[str, ...]:
    numbers = [format(row[name], form) if row.get(name) is not None else "–" for name, form in NUMBERS]
    return (str(row["target"]), str(row["precision"]), str(row["status"]), *numbers, str(row["runtime"]))
