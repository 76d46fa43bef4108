"""`sdk profile`: latency and memory of a bundle, as an app would see them."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sdk.console import print_json, print_table

if TYPE_CHECKING:
    from devices.profiling import Profile, Report, There
    from runtime_py.manifest import EnergyRow, ProfileRow
    from sdk.layers import Spent

COLUMNS = ("target", "threads", "p50 ms", "p90 ms", "p99 ms", "decode", "prepare", "answer", "photo to answer",
           "load ms", "first ms", "peak MB", "file MB", "")  # fmt: skip
SLOWEST = 10
STAGES = ("decode", "preprocess", "postprocess", "end_to_end")


def _threads(_: click.Context, __: click.Parameter, value: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[1-9]\d{0,2}(,[1-9]\d{0,2})*", value):
        raise click.BadParameter(f"{value!r}: numbers of threads with commas between, such as 1,2,4")
    return tuple(dict.fromkeys(int(part) for part in value.split(",")))


def _duration(_: click.Context, __: click.Parameter, value: str | None) -> float:
    if value is None:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)", value)
    if found is None:
        raise click.BadParameter(f"{value!r}: a time such as 90s, 10m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


@click.command(
    epilog="\b\nExamples:\n  sdk profile my.bundle --quick\n  sdk profile my.bundle --target tflite --threads 1,2,4\n"
    "  sdk profile my.bundle --device ssh://pi@raspberrypi.local/srv/models --sustain 10m --save\n"
    "  sdk profile my.bundle --quick --json"
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--target", "-t", default="all", help="Targets with commas between; all that run here by default.")
@click.option(
    "--threads", default="1", callback=_threads, help="How many, with commas between: 1,2,4.", show_default=True
)
@click.option("--precision", "-p", default="", help="Artifacts of these precisions alone, with commas between.")
@click.option(
    "--device",
    "-d",
    default="local",
    show_default=True,
    help="Where: local, ssh://user@host/folder or adb:SERIAL/folder, to which sdk push has brought BUNDLE.",
)
@click.option("--emulated", is_flag=True, help="Mark the rows: the device is an emulator, whose times mean nothing.")
@click.option("--ssh-option", "options", multiple=True, metavar="KEY=VALUE", help="As in ssh_config; may be repeated.")
@click.option("--quick", is_flag=True, help="10 s and 128 samples a row, in place of 60 s and 1024.")
@click.option("--samples", type=click.IntRange(min=5), help="At least so many a row, whatever --quick says.")
@click.option("--seconds", type=click.FloatRange(min=0), help="At least so long a row, whatever --quick says.")
@click.option("--governor", help="Set the device's governor meanwhile, such as performance, and put the old one back.")
@click.option("--sustain", callback=_duration, help="Go on for so long, second by second: 90s, 10m.")
@click.option("--meter", default="", help="Energy too: auto, a meter's name, or NAME:KEY=VALUE,... (docs/energy.md).")
@click.option(
    "--layers", is_flag=True, help="Time each operator too, by the network's modules, against the device's limits."
)
@click.option("--save", is_flag=True, help="Put the rows into the bundle's manifest and report.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    bundle: Path, target: str, threads: tuple[int, ...], precision: str, device: str, emulated: bool,
    options: tuple[str, ...], quick: bool, samples: int | None, seconds: float | None, governor: str | None,
    sustain: float, meter: str, layers: bool, save: bool, as_json: bool,
) -> None:  # fmt: skip
    """Measure how BUNDLE runs: latency, its stages, loading, and memory, each row in a process of its own.

    Rows that something disturbed say what: repeats that differ, other work on the machine, a board that throttled. They
    are shown, and never averaged away. On the Pareto front (*) are rows that none beats in latency, memory and threads.
    """
    from devices.profiling import profile
    from sdk.locking import alone_on
    from sdk.profiles import save_profiles

    targets = None if target == "all" else target.split(",")
    there = _there(device, options)
    place = there.device.name if there else "local"
    with alone_on(place, _say), _governed(governor, device, options), _progress(as_json) as report:
        found = profile(
            bundle, targets, threads, precisions=precision.split(",") if precision else None, quick=quick,
            samples=samples, seconds=seconds, sustain_s=sustain, meter=meter, emulated=emulated, operators=layers,
            there=there, report=report,
        )  # fmt: skip
    was_signed = save_profiles(bundle, found.rows) if save and found.rows else False
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)
        _print_layers([row for row in found.rows if row.operators])
        if layers:
            _print_unknown(found.rows)
        if save and found.rows:
            click.echo(
                f"\nsaved in {bundle}" + ("; sign it again: its signature was for the old one" if was_signed else "")
            )
    raise SystemExit(1 if found.failed or not found.rows else 0)


def _there(address: str, options: tuple[str, ...]) -> "There | None":
    """The device at an address, with the Python that sdk push made there; None for this machine."""
    from devices.device import DeviceFailed
    from devices.profiling import There
    from devices.reaching import folder_there, python_at, reach_folder

    device, folder = reach_folder(address, options)
    if address == "local":
        return None
    python = python_at(address)
    if not python:
        raise DeviceFailed(
            f"{address!r} names no folder", hint="sdk push BUNDLE ADDRESS/folder brings the bundle there",
            expected="ssh://user@host/folder or adb:SERIAL/folder, where sdk push has brought the bundle",
        )  # fmt: skip
    return There(device, folder_there(folder), python)


def _governed(governor: str | None, address: str, options: tuple[str, ...]) -> "AbstractContextManager[None]":
    """The device with that governor; or as it is, where none is asked for."""
    from devices.governor import governed
    from devices.reaching import reach

    if governor is None:
        return nullcontext()
    return governed(reach(address, options), governor, _say)


def _say(text: str) -> None:
    click.echo(text, err=True)


@contextmanager
def _progress(quiet: bool) -> "Iterator[Report]":
    """A bar with the time left on a terminal, a line for each tenth elsewhere."""
    if quiet:
        yield lambda share, doing: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("starting", total=1.0)
            yield lambda share, doing: bar.update(task, completed=share, description=doing)
    else:
        seen = set[int]()

        def line(share: float, doing: str) -> None:
            if int(share * 10) not in seen:
                seen.add(int(share * 10))
                print(f"{share:4.0%} {doing}", file=sys.stderr, flush=True)

        yield line


def _print(found: "Profile") -> None:
    from devices.profiling import called, front, throttled

    if found.rows:
        best = front(found.rows)
        click.echo(f"{found.rows[0].device}, {found.rows[0].precision}\n")
        print_table(COLUMNS, [_cells(row, row in best) for row in found.rows], right=COLUMNS[1:-1])
    for row in found.rows:
        if not row.valid:
            click.echo(f"\n{called(row.target, row.threads)}, is no valid measurement: {row.why}")
        if row.sustained:
            slower, last = throttled(row), row.sustained[-1]
            said = f"from {slower[0]:.0f} s on {slower[1]:.2f} times as slow" if slower else "kept its speed"
            click.echo(f"\n{called(row.target, row.threads)}, over {last.at_s:.0f} s: {said}")
    for row in found.rows:
        if row.energy is not None:
            click.echo(f"\n{called(row.target, row.threads)}: {_energy(row.energy)}")
        elif not row.unmeasured.get("energy_mj", "").startswith("no meter"):
            click.echo(f"\n{called(row.target, row.threads)}, energy: {row.unmeasured['energy_mj']}")
    for one in found.failed:
        click.echo(f"\n{called(one.target, one.threads)}: {one.error['given']}", err=True)
        if one.error.get("hint"):
            click.echo(f"try: {one.error['hint']}", err=True)


def _print_layers(rows: "list[ProfileRow]") -> None:
    """The slowest modules, a column for each row of the profile."""
    from sdk.layers import side_by_side

    if not rows:
        return
    titles = [f"{row.target}, {row.threads}" if row.threads > 1 else row.target for row in rows]
    modules = sorted(side_by_side(rows), key=lambda module: -module.slowest_ms)[:SLOWEST]
    click.echo(f"\nthe {len(modules)} slowest modules: ms, share of the network's time, billions of MACs a second\n")
    told = [
        (module.name, f"{module.macs / 1e6:.2f}" if module.macs else "", *(_spent(one) for one in module.spent))
        for module in modules
    ]
    print_table(("module", "million MACs", *titles), told, right=("million MACs", *titles))
    for title, row in zip(titles, rows, strict=True):
        total = sum(one.ms for one in row.operators)
        own = sum(one.ms for one in row.operators if one.own)
        whole = f" of the {row.whole_ms:.2f} ms of an undisturbed inference" if row.whole_ms else ""
        click.echo(f"{title}: {total:.2f} ms in {len(row.operators)} operators{whole}; the runtime's own {own:.2f} ms")


def _print_unknown(rows: "Sequence[ProfileRow]") -> None:
    """Why a row has no operators, or none with a name."""
    from devices.profiling import called

    for row in rows:
        why = next(filter(None, map(row.unmeasured.get, ("operators", "modules", "whole_ms"))), None)
        if why:
            click.echo(f"\n{called(row.target, row.threads)}, layers: {why}")


def _spent(one: "Spent | None") -> str:
    if one is None:
        return "–"
    speed = "" if one.gmacs_per_s is None else f"{one.gmacs_per_s:6.1f}"
    return f"{one.ms:.3f} {one.share:4.0%} {speed:>6}"


def _energy(energy: "EnergyRow") -> str:
    """One line: what was counted where, and what it is worth."""
    gross = "–" if energy.gross_mj is None else f"{energy.gross_mj:.2f} mJ"
    net = "–" if energy.net_mj is None else f"{energy.net_mj:.2f} mJ above idling"
    doubt = "" if energy.valid else f"; no valid measurement: {energy.why}"
    return f"{energy.kind} {gross} an inference, {net}, {energy.meter}, {energy.rail}{doubt}"


def _cells(row: "ProfileRow", best: bool) -> tuple[str, ...]:
    infer, stages = row.infer, [row.stages.get(name) for name in STAGES]
    times = [f"{one.p50_ms:.2f}" if one else "–" for one in stages]
    own = ("–", "–", "–") if infer is None else (f"{infer.p50_ms:.2f}", f"{infer.p90_ms:.2f}", f"{infer.p99_ms:.2f}")
    rest = [f"{value:.0f}" if value is not None else "–" for value in (row.load_ms, row.first_ms, row.peak_rss_mb)]
    rest += [f"{row.file_bytes / 1e6:.2f}" if row.file_bytes is not None else "–"]
    mark = ("*" if best else "") + ("" if row.valid else " invalid")
    return (row.target, f"{row.threads}", *own, *times, *rest, mark.strip())
