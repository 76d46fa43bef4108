"""A device by its address: local, ssh://user@host, adb:SERIAL."""

from devices.adb import Adb, only_one
from devices.device import Device, DeviceFailed
from devices.local import Local
from devices.profiles import NAMES
from devices.ssh import parse
from devices.there import HOME, PYTHON

PYTHON_THERE = f"{HOME}/{PYTHON}"
WAYS = "local, ssh://[user@]host[:port], adb:SERIAL, or adb: for the only one"


def reach(address: str, ssh_options: tuple[str, ...] = ()) -> Device:
    """The device at an address; nothing is connected yet but for `adb:` without a serial. Raises DeviceFailed.

    `ssh_options` go to ssh as `-o OPTION`.
    """
    kind, colon, rest = address.partition(":")
    if address == "local":
        return Local()
    if kind == "ssh" and rest.startswith("//"):
        return parse(address, ssh_options)[0]
    if kind == "adb" and colon:
        return Adb(rest.removeprefix("//")) if rest.removeprefix("//") else only_one()
    if address in NAMES:
        hint = f"ssh://user@host of your {address}; `sdk devices show {address}` says what it is"
        raise DeviceFailed(f"{address!r} is a kind of device and no address", expected=WAYS, hint=hint)
    hint = f"ssh://{address}" if "@" in address or "." in address else "sdk devices probe local"
    raise DeviceFailed(f"the address {address!r}", expected=WAYS, hint=hint)


def python_at(address: str) -> str:
    """The Python that `sdk push` made in the folder of an address, ssh://host/folder; "" for an address without one.

    A folder `/~/folder` is in the user's home, where scripts begin.
    """
    folder = parse(address)[1] if address.startswith("ssh://") else ""
    return f"{folder.removeprefix('/~/').rstrip('/')}/{PYTHON_THERE}" if folder.strip("/") else ""
