"""`sdk devices`: the boards that are known, what one is, and what a device here is and lacks."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from devices.condition import Condition
    from devices.probing import Probe
    from devices.profiles import DeviceProfile
    from exporters.mcu.boards import Board

KIB = 1024


@click.group(
    invoke_without_command=True,
    epilog="\b\nExamples:\n  sdk devices\n  sdk devices show rpi5\n  sdk devices probe\n"
    "  sdk devices probe ssh://pi@raspberrypi.local --json",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """List the kinds of devices that are known, with microcontroller boards at the end.

    What its makers did not write down, or what differs from one device of a kind to the next, is shown as -.
    """
    if ctx.invoked_subcommand is not None:
        return
    from devices.profiles import profiles
    from exporters.mcu.boards import boards
    from sdk.console import print_json, print_table

    if as_json:
        print_json([_plain(profile) for profile in profiles()] + [_plain_board(board) for board in boards()])
        return
    rows = [_row(profile) for profile in profiles()] + [_board_row(board) for board in boards()]
    columns = ("device", "title", "processor", "instructions", "memory", "targets", "meters", "reached by")
    print_table(columns, rows, right=("memory",))


@command.command(epilog="\b\nExamples:\n  sdk devices show rpi5\n  sdk devices show nucleo-f411re --json")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Say all that is known of NAME, and who says so."""
    from devices.profiles import NAMES, get_profile
    from exporters.mcu.boards import boards
    from runtime_py.errors import unknown_name
    from sdk.console import print_json

    known = {board.name: board for board in boards()}
    if name in known:
        print_json(_plain_board(known[name])) if as_json else _print_board(known[name])
        return
    if name not in NAMES:
        raise unknown_name("device", name, [*NAMES, *known])
    profile = get_profile(name)
    print_json(_plain(profile)) if as_json else _print_profile(profile)


@command.command(
    epilog="\b\nExamples:\n  sdk devices probe\n  sdk devices probe ssh://pi@raspberrypi.local\n"
    "  sdk devices probe adb:R58M123ABCD --json"
)
@click.argument("address", default="local", metavar="[ADDRESS]")
@click.option("--ssh-option", "ssh_options", multiple=True, help="For ssh, as its -o takes it; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(address: str, ssh_options: tuple[str, ...], as_json: bool) -> None:
    """Recognise the device at ADDRESS, and say what is there, what is missing and how to get it.

    ADDRESS is local, ssh://user@host[:port], adb:SERIAL, or adb: for the only phone. With a folder that sdk push
    filled, ssh://user@host/folder, the runtimes that it installed there count. It changes nothing on the device and
    needs no Python there.
    """
    from devices.probing import probe_device
    from devices.reaching import python_at, reach
    from sdk.console import print_json

    found = probe_device(reach(address, ssh_options), python=python_at(address))
    print_json(found.to_dict()) if as_json else _print_probe(found)


def _plain(profile: "DeviceProfile") -> dict[str, Any]:
    import msgspec

    plain: dict[str, Any] = msgspec.to_builtins(profile)
    return plain


def _plain_board(board: "Board") -> dict[str, Any]:
    """With the keys of a profile where they mean the same."""
    return {"title": board.name, "kind": "microcontroller", "runtimes": {"mcu": ["w8a8"]}} | asdict(board)


def _row(profile: "DeviceProfile") -> list[str]:
    return [
        profile.name,
        profile.title,
        ", ".join(f"{core.count}x {core.kind} {core.mhz} MHz" for core in profile.cores) or profile.soc or "-",
        " ".join(profile.isa) or "-",
        _sizes(profile.ram_mb),
        " ".join(profile.runtimes) or "-",
        " ".join(profile.meters) or "-",
        " ".join(profile.reached) or "-",
    ]


def _board_row(board: "Board") -> list[str]:
    processor = f"1x {board.core} {board.clock_mhz} MHz"
    return [board.name, board.chip, processor, "-", f"{board.sram_all // KIB} KB", "mcu", "-", "-"]


def _sizes(ram_mb: tuple[int, ...]) -> str:
    return "/".join(f"{size / 1024:g}" for size in ram_mb) + " GB" if ram_mb else "-"


def _print_profile(profile: "DeviceProfile") -> None:
    from sdk.console import print_table

    click.echo(f"{profile.title} ({profile.name}), reached by {' or '.join(profile.reached) or 'nothing from here'}")
    cores = ", ".join(f"{core.count}x {core.kind} at {core.mhz} MHz" for core in profile.cores)
    runtimes = [(f"runs {target}", " ".join(names), "runtimes") for target, names in profile.runtimes.items()]
    facts = [
        ("SoC", profile.soc, "soc"),
        ("cores", cores, "cores"),
        ("instructions", " ".join(profile.isa), "isa"),
        ("memory", _sizes(profile.ram_mb) if profile.ram_mb else "", "ram_mb"),
        *runtimes,
        ("meters", " ".join(profile.meters), "meters"),
    ]
    rows = [[what, text, profile.sources[field]] for what, text, field in facts if text]
    print_table(("what", "", "says who"), rows)
    for quirk in profile.quirks:
        click.echo(f"! {quirk.text} ({quirk.source})")


def _print_board(board: "Board") -> None:
    click.echo(f"{board.name}: {board.chip}, {board.core} at {board.clock_mhz} MHz, runs the target mcu in w8a8")
    click.echo(f"RAM    {board.sram_all:,} bytes, {board.sram:,} of them without a gap")
    click.echo(f"flash  {board.flash:,} bytes")
    click.echo(f"source {board.source}")


def _print_probe(found: "Probe") -> None:
    from sdk.console import print_table

    kind = f"{found.title} ({found.profile})" if found.profile else f"{found.title}: of no known kind"
    click.echo(f"{found.device}  {kind}: {found.why}")
    for doubt in found.doubts:
        click.echo(f"! {doubt}")
    memory, disk = (
        f"{size:,} MB free" if size is not None else "" for size in (found.ram_available_mb, found.disk_free_mb)
    )
    total = f" of {found.ram_total_mb:,} MB" if found.ram_total_mb else ""
    facts = {
        "system": ", ".join(filter(None, (found.system, found.kernel, found.machine))),
        "CPU": f"{found.cpu or 'unknown'}{f', {found.cores} cores' if found.cores else ''}",
        "ISA": " ".join(found.isa) or "unknown",
        "memory": f"{memory}{total}" if memory else "not known",
        "disk": disk or "not known",
        "Python": f"{found.python or 'none'}{f', edge-sdk {found.sdk}' if found.sdk else ''}",
    } | _condition(found.condition)  # fmt: skip
    for name, text in facts.items():
        click.echo(f"{name:9}{text}")
    click.echo()
    print_table(("target", "runtime", "installed", "precisions"), [
        [row.target, row.title, row.version or "-", " ".join(row.precisions) or "-"] for row in found.runtimes
    ])  # fmt: skip
    click.echo()
    print_table(("meter", "state", "what was seen"), [[row.name, row.state, row.why] for row in found.sensors])
    if found.missing:
        click.echo()
        print_table(("what is missing", "how to get it"), [[row.what, row.how] for row in found.missing])
    for quirk in found.quirks:
        click.echo(f"! {quirk}")


def _condition(now: "Condition") -> dict[str, str]:
    """In words; what the device does not say is said to be so."""
    clock = f"{now.mhz} MHz of {now.mhz_max} MHz" if now.mhz and now.mhz_max else "not reported"
    degrees = f"{now.celsius:.1f} °C ({now.celsius_of})" if now.celsius is not None else "not reported"
    if now.held_back:
        slowed = "; ".join(now.held_back)
    elif now.throttling_known:
        slowed = "not now" + (f", but {'; '.join(now.held_back_since)}" if now.held_back_since else "")
    else:
        slowed = "not reported"
    facts = {
        "governor": ", ".join(now.governors) or "not reported",
        "clock": clock,
        "heat": degrees,
        "slowed": slowed,
    }
    return facts | ({"mode": now.power_mode} if now.power_mode else {})
