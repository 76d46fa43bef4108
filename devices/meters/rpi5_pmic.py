"""Raspberry Pi 5: the power chip's own converters, through `vcgencmd pmic_read_adc`.

Twelve rails have a current and a voltage. EXT5V and BATT have a voltage only, so what feeds USB ports and other 5 V
loads is not seen, nor are the converters' losses.
"""

import re
from collections.abc import Callable

from devices.meters.access import Access
from devices.meters.recorder import Polled
from devices.meters.samples import BadReading, Reading

LINE = re.compile(r"^\s*(\w+)_([AV])\s+(?:current|volt)\(\d+\)=(-?\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)
COMMAND = ("vcgencmd", "pmic_read_adc")
RAILS = (
    *("3V7_WL_SW", "3V3_SYS", "1V8_SYS", "DDR_VDD2", "DDR_VDDQ", "1V1_SYS"),
    *("0V8_SW", "VDD_CORE", "3V3_DAC", "3V3_ADC", "0V8_AON", "HDMI"),
)
PERIOD_S = 0.1
"""Each reading starts a process: faster than ten a second disturbs what is measured."""
FIT_FACTOR, FIT_W = 1.1451, 0.5879
"""A community's fit of the board's input power to the rails' sum: an estimate, which varies from board to board."""


def rails_w(text: str) -> dict[str, float]:
    """Watts by rail, of those with a current and a voltage. Raises BadReading where a current has no voltage."""
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for rail, unit, value in LINE.findall(text):
        (amperes if unit == "A" else volts)[rail] = float(value)
    if not amperes:
        said = (text.strip() or "nothing").splitlines()[0]
        raise BadReading(f"pmic_read_adc says {said!r}", expected="currents and voltages, as on a Raspberry Pi 5")
    if lonely := sorted(amperes.keys() - volts.keys()):
        raise BadReading(f"pmic_read_adc gives no voltage of {', '.join(lonely)}")
    return {rail: ampere * volts[rail] for rail, ampere in amperes.items()}


def rpi5_pmic(access: Access) -> Polled:
    """The sum of the rails' power: measured."""
    return Polled("rpi5_pmic", "PMIC rails", "measured", PERIOD_S, lambda: _reader(access, 1.0, 0.0), access)


def rpi5_board(access: Access) -> Polled:
    """The whole board's power by the fit: estimated."""
    rail = f"whole board, by {FIT_FACTOR} x PMIC rails + {FIT_W} W"
    return Polled("rpi5_board", rail, "estimated", PERIOD_S, lambda: _reader(access, FIT_FACTOR, FIT_W), access)


def _reader(access: Access, factor: float, more_w: float) -> Callable[[], Reading]:
    def read() -> Reading:
        found = rails_w(access.run(COMMAND))
        if missing := [rail for rail in RAILS if rail not in found]:
            raise BadReading(f"missing rails: {', '.join(missing)}", expected=f"the {len(RAILS)} of a Raspberry Pi 5")
        return Reading(factor * sum(found.values()) + more_w)

    return read
