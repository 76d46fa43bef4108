"""Measurements that predictions are made from: profiles in bundles (`sdk profile BUNDLE --layers --save`)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from devices.profiles import DeviceProfile, profiles
from devices.recognise import Seen, recognise
from runtime_py.bundle import MANIFEST, open_bundle
from runtime_py.errors import SdkError
from runtime_py.host import probe
from runtime_py.manifest import Manifest, ProfileRow
from sdk.predicting.kernels import kernels_of
from sdk.predicting.model import Measured

BANK = "sdk.predicting.bank:"
SLOWER = 1.25
"""Times the least pulse of all rows of a device: a row above it was measured while the device was slow. Those below are
put at the least one."""


class NoMeasurements(SdkError):
    """A device of which too little was measured to predict anything."""

    id = "no-measurements"


@dataclass(frozen=True)
class Cell:
    """What is predicted together: one way to run on one device."""

    target: str
    precision: str
    threads: int


@dataclass(frozen=True)
class Found:
    """All that was measured on one device, by cell and network."""

    device: str
    cells: dict[Cell, tuple[Measured, ...]]
    disturbed: int
    """Rows that were left out, as something disturbed them."""


def find(paths: Sequence[Path], device: str) -> Found:
    """The measurements of `device` (`local`, a profile's name as in `sdk devices`, or the text of the rows) in bundles,
    or folders of bundles. Raises NoMeasurements, which names the devices that there are, or NotABundle."""
    board = board_of(device)
    manifests = [open_bundle(path).manifest for path in bundles(paths)]
    cells: dict[Cell, dict[str, Measured]] = {}
    others, disturbed = dict[str, None](), 0
    best = fastest(row for manifest in manifests for row in manifest.profiles if is_of(row, device, board))
    for manifest in manifests:
        for row in manifest.profiles:
            if not row.operators or not manifest.network or row.kind != "measured":
                continue
            if not is_of(row, device, board):
                others[row.device] = None
                continue
            speed = speed_of(row, best)
            if row.whole_ms is None or speed is None:
                disturbed += 1
                continue
            cell = Cell(row.target, row.precision, row.threads)
            kernels = tuple(replace(kernel, ms=speed * kernel.ms) for kernel in kernels_of(manifest.network, row))
            of_bank = manifest.source.startswith(BANK)
            one = Measured(name_of(manifest), kernels, speed * row.whole_ms, of_bank)
            best_yet = cells.setdefault(cell, {}).setdefault(one.name, one)
            if one.whole_ms < best_yet.whole_ms:  # measured again: what no pulse shows only slows
                cells[cell][one.name] = one
    if not cells:
        raise NoMeasurements(
            f"no operators were measured on {device!r}" + (f" ({disturbed} disturbed rows)" if disturbed else ""),
            expected=f"profiles of {', '.join(others)}" if others else "bundles with profiles of their operators",
            hint="on a device of that kind: sdk profile BUNDLE --device ... --layers --save, for several networks",
        )
    return Found(device, {cell: tuple(found.values()) for cell, found in cells.items()}, disturbed)


def fastest(rows: Iterable[ProfileRow]) -> float:
    """The least pulse of all rows, in microseconds: what the device is at full speed."""
    return min((row.pulse_us for row in rows if row.pulse_us is not None), default=0.0)


def speed_of(row: ProfileRow, least_us: float) -> float | None:
    """What a row's times are to be multiplied by, to be those of the device at full speed; None where it was so slow
    (hot, at a low clock, shared) that memory, which has a clock of its own, makes that wrong."""
    if row.pulse_us is None or row.pulse_us > SLOWER * least_us:
        return None
    return least_us / row.pulse_us


def bundles(paths: Sequence[Path]) -> Iterator[Path]:
    """The bundles that are named, and those right inside of folders that are."""
    for path in paths:
        if (path / MANIFEST).is_file() or not path.is_dir():
            yield path
        else:
            yield from sorted(inner.parent for inner in path.glob(f"*/{MANIFEST}"))


def name_of(manifest: Manifest) -> str:
    """A network and its input's size: the same one in another precision is no other network."""
    return f"{manifest.model} {'x'.join(str(size) for size in manifest.inputs[0].shape[1:])}"


def board_of(device: str) -> DeviceProfile | None:
    """The profile of that name; None where `device` is none. Raises NoMeasurements for one of a whole class of devices,
    such as all computers with some instructions: they are not alike."""
    found = next((profile for profile in profiles() if profile.name == device), None)
    if found is not None and not found.signs.models and not found.signs.compatible:
        raise NoMeasurements(
            f"{device!r} ({found.title}) stands for many devices, whose speeds differ",
            expected="a board, or a processor's name as sdk profile prints it above its table",
            hint="--device local for this machine's",
        )
    return found


def is_of(row: ProfileRow, device: str, board: DeviceProfile | None) -> bool:
    """Whether a row was measured on a device of that kind."""
    if board is not None:
        return recognise(Seen("Linux", row.conditions.get("arch", ""), row.device), [board]) is not None
    return row.device == (probe().cpu if device == "local" else device)
