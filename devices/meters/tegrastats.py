"""Jetson: the lines that `tegrastats` prints, with mW or without, two values a rail or three. The first is of now."""

import re
from collections.abc import Callable

from devices.meters.access import Access
from devices.meters.jetson import PERIOD_S, chosen, total_w
from devices.meters.recorder import Streamed
from devices.meters.samples import Reading

RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]*) (\d+)(?:mW)?(?:/\d+(?:mW)?){1,2}(?!\S)")
"""`RAM 3162/7620MB` does not fit: a rail's values have mW or nothing behind them."""


def rails_w(line: str) -> dict[str, float]:
    """Watts by label; none in a line that is no sample."""
    return {label: int(milliwatts) / 1e3 for label, milliwatts in RAIL.findall(line)}


def tegrastats(access: Access) -> Streamed:
    """The module's power, as hwmon has it, through NVIDIA's own tool."""

    def check() -> str | None:
        return None if access.has("tegrastats") else "there is no tegrastats here: it comes with JetPack"

    rail = "VDD_IN or POM_5V_IN, or on an AGX Orin VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"
    command = ("tegrastats", "--interval", str(round(PERIOD_S * 1e3)))
    return Streamed("tegrastats", rail, "measured", PERIOD_S, command, _parser, check, access)


def _parser() -> Callable[[str], Reading | None]:
    labels: tuple[str, ...] = ()

    def parse(line: str) -> Reading | None:
        nonlocal labels
        watts = rails_w(line)
        if not watts:
            return None
        labels = labels or chosen(watts)  # of the first line: a rail that is lost later is missed
        return Reading(total_w(watts, labels))

    return parse
