"""Which profile a device is of, from what it says of itself."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from devices.profiles import DeviceProfile, Signs
from runtime_py.host import cpu_from_cpuinfo

PARTS = {
    ("0x41", "0xd03"): "cortex-a53",
    ("0x41", "0xd05"): "cortex-a55",
    ("0x41", "0xd07"): "cortex-a57",
    ("0x41", "0xd08"): "cortex-a72",
    ("0x41", "0xd0b"): "cortex-a76",
    ("0x41", "0xd0c"): "neoverse-n1",
    ("0x41", "0xd40"): "neoverse-v1",
    ("0x41", "0xd41"): "cortex-a78",
    ("0x41", "0xd42"): "cortex-a78ae",
    ("0x41", "0xd44"): "cortex-x1",
    ("0x41", "0xd49"): "neoverse-n2",
}
"""Arm's cores by implementer and part of /proc/cpuinfo (MIDR_EL1), as their Technical Reference Manuals give them."""


@dataclass(frozen=True)
class Seen:
    """What a device says of itself; what it does not say is empty. `cores` counts the kinds in /proc/cpuinfo."""

    system: str = ""
    machine: str = ""
    model: str = ""
    compatible: tuple[str, ...] = ()
    cpu: str = ""
    isa: tuple[str, ...] = ()
    cores: dict[str, int] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Match:
    """A profile, the signs that it was recognised by, and what contradicts it."""

    profile: DeviceProfile
    why: str
    doubts: tuple[str, ...] = ()


def recognise(seen: Seen, among: Iterable[DeviceProfile]) -> Match | None:
    """The profile all of whose signs are there, the one with most of them where there are several; None for none."""
    found: list[tuple[DeviceProfile, list[str]]] = []
    for profile in among:
        signs = matching(profile.signs, seen)
        if signs:
            found.append((profile, signs))
    if not found:
        return None
    profile, signs = max(found, key=lambda one: len(one[1]))  # the first in the profiles' order of equals
    return Match(profile, "; ".join(signs), tuple(_doubts(profile, seen)))


def matching(signs: Signs, seen: Seen) -> list[str]:
    """In words, the signs that are there: one for each kind that is given; empty where one kind is not there."""
    found = []
    if signs.models or signs.compatible:
        found.append(_board(signs, seen))
    if signs.systems:
        found.append(f"uname says {seen.system}" if seen.system in signs.systems else "")
    if signs.machines:
        found.append(f"the machine is {seen.machine}" if seen.machine in signs.machines else "")
    if signs.isa:
        found.append(next((f"the processor has {name}" for name in signs.isa if name in seen.isa), ""))
    for name, beginnings in signs.properties.items():
        value = seen.properties.get(name, "")
        found.append(f"{name} is {value}" if value and value.startswith(beginnings) else "")
    return found if all(found) else []


def cores_of(cpuinfo: str) -> dict[str, int]:
    """How many cores of each kind /proc/cpuinfo counts on Arm; an unknown part stands as its number. x86 has none."""
    counts: dict[str, int] = {}
    implementer = ""
    for line in cpuinfo.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        if name == "CPU implementer":
            implementer = value
        elif name == "CPU part":
            kind = PARTS.get((implementer, value), f"implementer {implementer} part {value}")
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def processor_of(cpuinfo: str) -> tuple[str, tuple[str, ...]]:
    """The processor's name and instruction sets; on Arm, where it has no name, its kinds of cores."""
    name, isa = cpu_from_cpuinfo(cpuinfo)
    cores = cores_of(cpuinfo)
    return (", ".join(f"{count}x {kind}" for kind, count in cores.items()) if cores else name), isa


def properties_of(getprop: str) -> dict[str, str]:
    """Android's properties, from `[name]: [value]` lines of getprop."""
    found = {}
    for line in getprop.splitlines():
        name, separator, value = line.strip().partition("]: [")
        if separator and name.startswith("[") and value.endswith("]"):
            found[name[1:]] = value[:-1]
    return found


def _board(signs: Signs, seen: Seen) -> str:
    if signs.models and seen.model.startswith(signs.models):
        return f"it says that it is {seen.model!r}"
    name = next((name for name in signs.compatible if name in seen.compatible), "")
    return f"the device tree is compatible with {name}" if name else ""


def _doubts(profile: DeviceProfile, seen: Seen) -> Iterable[str]:
    """Where the processor is not the profile's: an emulator, a container, or a module of another kind."""
    expected = {core.kind: core.count for core in profile.cores}
    strange = [kind for kind in seen.cores if kind not in expected]
    if expected and strange:
        yield f"its processor is {', '.join(strange)}, and a {profile.title}'s {', '.join(expected)}: an emulator?"
    elif expected and seen.cores and sum(seen.cores.values()) != sum(expected.values()):
        yield f"it has {sum(seen.cores.values())} cores, and the profile {sum(expected.values())}"
    lacking = [name for name in profile.isa if name not in seen.isa]
    if seen.isa and lacking:
        yield f"its processor does not report {', '.join(lacking)}, which a {profile.title} has"
