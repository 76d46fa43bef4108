"""`sdk push --remove`: takes a bundle off a device, and what ran it, where nothing else there needs that."""

from dataclasses import asdict, dataclass
from typing import Any

from devices.device import Device
from devices.reaching import folder_there
from sdk.pushing import SWITCH_S, Busy, Occupied, There, check_name


@dataclass(frozen=True)
class Removed:
    """What became of a removal: the paths that are gone, and those that `others`, bundles of that folder, need."""

    bundle: str
    device: str
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    others: tuple[str, ...]
    freed_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data; field names carry units."""
        return asdict(self)


def remove(name: str, device: Device, place: str, *, python: str = "python3") -> Removed:
    """Remove the bundle called `name`, a folder's name, from the folder `place` of a device, with what a push that
    broke off left of it; and with the last bundle of that folder the Python that `sdk push` made there, and all in it.

    What is not there is no error, and stands in no list. Raises Occupied where something else has that name, Busy while
    a push is at work there, NoPython, or another DeviceFailed.
    """
    check_name(name)
    board = There(device, folder_there(place), python)
    found = board.call("remove", board.place, name, timeout_s=SWITCH_S)
    if "busy" in found:
        hint = "wait for the other, and try again"
        raise Busy(f"{device.name}: {found['error']}", expected="one at a time", hint=hint)
    if "error" in found:
        raise Occupied(f"nothing was removed from {device.name}: {found['error']}", hint="look at it there")
    return Removed(
        bundle=name, device=device.name, removed=tuple(found["removed"]), kept=tuple(found["kept"]),
        others=tuple(found["others"]), freed_bytes=int(found["freed_bytes"]),
    )  # fmt: skip
