"""Pixel phones: the power monitors on the chip (ODPM), cumulative µWs by rail, `CH3(T=16086645)[S2M_VDD_CPUCL2], 124`.

T is the time of accumulation in ms (AOSP, hardware/google/pixel, IioEnergyMeterDataProvider).
"""

import re
from collections.abc import Callable

from devices.meters.access import Access
from devices.meters.recorder import Polled
from devices.meters.samples import BadReading, Reading

FILES = "/sys/bus/iio/devices/iio:device*/energy_value"
CHANNEL = re.compile(r"CH\d+\(T=(\d+)\)\[([^\]]+)\],\s*(\d+)")
COMPUTING = ("CPUCL", "VDD_TPU", "VDD_G3D", "VDD_GPU", "VDD_MIF", "VDD_INT")
"""Parts of the names of rails that computing loads: cores, TPU, GPU, memory interface, interconnect."""
PERIOD_S = 0.2


def rails(text: str) -> dict[str, tuple[float, float]]:
    """Seconds of accumulation, and joules, by rail."""
    return {rail: (int(time) / 1e3, int(energy) / 1e6) for time, rail, energy in CHANNEL.findall(text)}


def odpm(access: Access, names: tuple[str, ...] = ()) -> Polled:
    """The sum of `names`, or of all rails that computing loads. Which are monitored differs by model."""
    wanted = names
    if not names and access.glob(FILES):
        wanted = tuple(sorted(rail for rail in rails(access.read(*access.glob(FILES))) if _computes(rail)))
    rail = f"ODPM rails {' + '.join(wanted)}" if wanted else "ODPM rails that computing loads"
    return Polled("odpm", rail, "measured", PERIOD_S, lambda: _reader(access, wanted), access, counts=True)


def _computes(rail: str) -> bool:
    return any(part in rail for part in COMPUTING)


def _reader(access: Access, wanted: tuple[str, ...]) -> Callable[[], Reading]:
    paths = access.glob(FILES)
    if not paths:
        raise BadReading("there are no on-device power monitors here", hint="Pixel 6 and later have them")
    if not wanted:
        raise BadReading("none of the monitored rails is one that computing loads", hint="name the rails to add up")

    def read() -> Reading:
        found = rails(access.read(*paths))
        if missing := [rail for rail in wanted if rail not in found]:
            raise BadReading(
                f"missing rails: {', '.join(missing)}", expected=f"of {', '.join(sorted(found)) or 'none'}"
            )
        times, joules = zip(*(found[rail] for rail in wanted), strict=True)
        return Reading(sum(joules), sum(times) / len(times))

    return read
