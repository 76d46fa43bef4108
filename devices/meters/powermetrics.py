"""macOS: `powermetrics`, which needs root. Its manual page calls the values estimates, so they are called that here.

Each value is the mean of the time since the last one, so they are added up to a counter.
"""

import re
from collections.abc import Callable

from devices.meters.access import Access
from devices.meters.recorder import Streamed
from devices.meters.samples import BadReading, MeterFailed, Reading

PERIOD_S = 0.2
COMMAND = ("sudo", "-n", "powermetrics", "--samplers", "cpu_power", "-i", str(round(PERIOD_S * 1e3)))
HEADER = re.compile(r"^\*\*\* Sampled system activity .*\((\d+(?:\.\d+)?)ms elapsed\)")
COMBINED = re.compile(r"^Combined Power \(CPU \+ GPU \+ ANE\): (\d+(?:\.\d+)?) mW")


def powermetrics(access: Access) -> Streamed:
    """CPU, GPU and Neural Engine of an Apple chip."""

    def check() -> str | None:
        if not access.has("powermetrics"):
            return "there is no powermetrics here: it is a part of macOS"
        try:
            access.run(["sudo", "-n", "true"])
        except MeterFailed:
            return "powermetrics needs root: run `sudo -v` first"
        return None

    rail = "CPU + GPU + ANE"
    return Streamed("powermetrics", rail, "estimated", PERIOD_S, COMMAND, _parser, check, access, counts=True)


def _parser() -> Callable[[str], Reading | None]:
    elapsed_s = time_s = joules = 0.0
    waits = broken = False

    def parse(line: str) -> Reading | None:
        nonlocal elapsed_s, time_s, joules, waits, broken
        if header := HEADER.match(line):
            broken = broken or waits  # the last one had no power: from here on the sum lacks it
            waits, elapsed_s = True, float(header[1]) / 1e3
            if broken:
                raise BadReading("missing rails: Combined Power (CPU + GPU + ANE)", hint="a Mac with an Apple chip")
            return None
        found = COMBINED.match(line)
        if found is None or broken:
            return None
        if not waits:
            raise BadReading("powermetrics gives a power without the time that it is of")
        waits = False
        time_s += elapsed_s
        joules += float(found[1]) / 1e3 * elapsed_s
        return Reading(joules, time_s)

    return parse
