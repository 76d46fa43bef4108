"""x86: RAPL's counters through the kernel's powercap, in microjoules, which start over at their range.

The zones below a package (core, uncore) are parts of it and are not added; memory is not a part and is not seen.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from devices.meters.access import Access
from devices.meters.recorder import Polled
from devices.meters.samples import BadReading, Kind, MeterFailed, Reading

ZONES = "/sys/class/powercap/intel-rapl:[0-9]*"
OLDER = "/sys/class/powercap/intel-rapl/intel-rapl:[0-9]*"
PERIOD_S = 0.1


@dataclass
class Unwrapped:
    """A counter that starts over at `range_uj`, made into one that does not."""

    range_uj: int
    last_uj: int
    turns: int = 0

    def total_uj(self, now_uj: int) -> int:
        """Raises BadReading for a value that the counter cannot have."""
        if not 0 <= now_uj <= self.range_uj:
            raise BadReading(f"the counter says {now_uj} uJ", expected=f"0 to {self.range_uj}")
        self.turns += now_uj < self.last_uj
        self.last_uj = now_uj
        return self.turns * (self.range_uj + 1) + now_uj


def rapl(access: Access) -> Polled:
    """The sum of all processor packages."""
    rail = "processor packages, by RAPL (without memory and board)"
    return Polled("rapl", rail, kind_of(access), PERIOD_S, lambda: _reader(access), access, counts=True)


def kind_of(access: Access) -> Kind:
    """AMD's counters come from a model (Schöne et al., Energy Efficiency Aspects of the AMD Zen 2, 2021).

    Intel's are measured since Haswell (Hackenberg et al., 2015).
    """
    try:
        text = access.read("/proc/cpuinfo")
    except MeterFailed:
        return "estimated"
    return "measured" if "GenuineIntel" in text else "estimated"


def packages(access: Access) -> dict[str, str]:
    """Folders of the packages by name: `package-0` and so on. Raises BadReading where there is none."""
    folders = access.glob(ZONES) or access.glob(OLDER)
    top = [folder for folder in folders if re.search(r"intel-rapl:\d+$", folder)]
    named = {access.read(f"{folder}/name").strip(): folder for folder in top}
    found = {name: folder for name, folder in named.items() if name.startswith("package")}
    if not found:
        raise BadReading("there is no RAPL package under powercap here", hint="a virtual machine hides it")
    return found


def _reader(access: Access) -> Callable[[], Reading]:
    folders = packages(access)
    counters = {
        name: Unwrapped(_number(access, f"{folder}/max_energy_range_uj"), _number(access, f"{folder}/energy_uj"))
        for name, folder in folders.items()
    }

    def read() -> Reading:
        now = {name: _number(access, f"{folder}/energy_uj") for name, folder in folders.items()}
        return Reading(sum(counters[name].total_uj(value) for name, value in now.items()) / 1e6)

    return read


def _number(access: Access, path: str) -> int:
    text = access.read(path).strip()
    try:
        return int(text)
    except ValueError as error:
        raise BadReading(f"{path} says {text!r}", expected="a whole number, uJ") from error
