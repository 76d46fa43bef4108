"""Boards as data: one TOML file each, of what its makers wrote down."""

from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from runtime_py.errors import SdkError, unknown_name

FOLDER = Path(__file__).parent
NAMES = (
    "rpi5", "rpi4", "rpi3", "rpi_zero2",
    "jetson_orin_nano", "jetson_orin_nx", "jetson_agx_orin", "jetson_nano",
    "android", "pixel", "iphone", "mac", "x86_vnni", "x86",
)  # fmt: skip
"""Every profile, in the order of lists: NAME is read from NAME.toml."""

Count = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
FACTS = ("soc", "cores", "isa", "ram_mb", "runtimes", "meters", "signs")
"""Fields whose source a profile names, where it has them."""


class BadProfile(SdkError):
    """A profile's file does not say what a profile must."""

    id = "bad-profile"


class Core(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some cores of one kind, at their highest clock."""

    kind: Text
    count: Count
    mhz: Count


class Quirk(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What surprises whoever measures there, and who says so."""

    text: Text
    source: Text


class Signs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device of this profile shows. Each kind that is given must be there: one of its alternatives.

    `models` are beginnings of the board's name, `compatible` names from the device tree's list; either will do.
    `systems` and `machines` are what `uname -s` and `-m` say, `isa` instruction sets, `properties` Android's, each with
    beginnings of its value ("" for any).
    """

    models: tuple[Text, ...] = ()
    compatible: tuple[Text, ...] = ()
    systems: tuple[Text, ...] = ()
    machines: tuple[Text, ...] = ()
    isa: tuple[Text, ...] = ()
    properties: dict[str, tuple[str, ...]] = {}


class DeviceProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A board, a phone or a computer. Empty is what its makers did not write down, or what differs within the kind.

    `ram_mb` are the sizes it is sold with, in 2**20 bytes; `runtimes` the precisions that run there, by target;
    `reached` the ways to it; `sources` who says so, by the field's name.
    """

    name: str
    title: Text
    kind: Literal["board", "phone", "computer"]
    reached: tuple[Literal["local", "ssh", "adb"], ...]
    signs: Signs
    sources: dict[str, Text]
    soc: str = ""
    cores: tuple[Core, ...] = ()
    isa: tuple[Text, ...] = ()
    ram_mb: tuple[Count, ...] = ()
    runtimes: dict[str, tuple[Text, ...]] = {}
    meters: tuple[Text, ...] = ()
    quirks: tuple[Quirk, ...] = ()

    def __post_init__(self) -> None:
        facts = {name for name in FACTS if getattr(self, name)} - ({"signs"} if self.signs == Signs() else set())
        if facts - self.sources.keys():
            raise ValueError(f"nobody is named who says so: {', '.join(sorted(facts - self.sources.keys()))}")
        if self.sources.keys() - facts:
            raise ValueError(f"sources of what is not there: {', '.join(sorted(self.sources.keys() - facts))}")


def get_profile(name: str) -> DeviceProfile:
    """The profile of that name. Raises UnknownName with the nearest names, or BadProfile."""
    if name not in NAMES:
        raise unknown_name("device", name, list(NAMES))
    return read_profile(FOLDER / f"{name}.toml")


def profiles() -> tuple[DeviceProfile, ...]:
    """All of them, in the order of NAMES."""
    return tuple(map(get_profile, NAMES))


@cache
def read_profile(path: Path) -> DeviceProfile:
    """The profile of a file, which gives it its name. Raises BadProfile."""
    try:
        fields = msgspec.toml.decode(path.read_bytes(), type=dict[str, object])
        return msgspec.convert({**fields, "name": path.stem}, DeviceProfile)
    except (OSError, msgspec.DecodeError) as error:
        raise BadProfile(f"{path.name} is no device profile: {error}", hint="see devices/profiles/rpi5.toml") from error
