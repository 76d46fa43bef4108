"""A device by its address: local, ssh://user@host[/folder], adb:SERIAL[/folder]."""

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
    return reach_folder(address, ssh_options)[0]


def reach_folder(address: str, ssh_options: tuple[str, ...] = ()) -> tuple[Device, str]:
    """The device at an address, and the folder that the address names there, as it is written; "" for none."""
    kind, colon, rest = address.partition(":")
    if address == "local":
        return Local(), ""
    if kind == "ssh" and rest.startswith("//"):
        return parse(address, ssh_options)
    if kind == "adb" and colon:
        serial, slash, folder = rest.removeprefix("//").partition("/")
        if not folder.isprintable():
            raise DeviceFailed(f"the address {address!r}", expected="adb:SERIAL/folder")
        return Adb(serial) if serial else only_one(), slash + folder
    if address in NAMES:
        hint = f"ssh://user@host of your {address}; `sdk devices show {address}` says what it is"
        raise DeviceFailed(f"{address!r} is a kind of device and no address", expected=WAYS, hint=hint)
    hint = f"ssh://{address}" if "@" in address or "." in address else "sdk devices probe local"
    raise DeviceFailed(f"the address {address!r}", expected=WAYS, hint=hint)


def folder_there(folder: str) -> str:
    """The path of an address's folder for a script: `/~/models` is models in the home, where scripts begin."""
    if folder.startswith("/~/") or folder in ("", "/~"):
        return folder.removeprefix("/~").strip("/") or "."
    return folder.rstrip("/") or "/"


def python_at(address: str) -> str:
    """The Python that `sdk push` made in the folder of an address; "" for an address without one."""
    names_one = address.startswith("ssh://") or (address.startswith("adb:") and "/" in address.removeprefix("adb://"))
    folder = reach_folder(address)[1] if names_one else ""
    return f"{folder_there(folder)}/{PYTHON_THERE}" if folder.strip("/") else ""
