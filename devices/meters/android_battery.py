"""Android: what leaves the battery, from its gauge. The whole phone, screen and radios included.

Vendors disagree about the sign of a discharge: the first reading's sign counts as one, as nothing is measured while the
phone charges. Some give mA for µA, which a number alone does not tell, so a current that no phone awake can have is
refused.
"""

import re
from collections.abc import Callable
from math import copysign
from typing import Literal

from devices.meters.access import Access
from devices.meters.recorder import Polled
from devices.meters.samples import BadReading, MeterFailed, Reading

FOLDER = "/sys/class/power_supply/battery"
FILES = (f"{FOLDER}/status", f"{FOLDER}/current_now", f"{FOLDER}/voltage_now")
PERIOD_S = 0.5
"""A gauge renews its values once or twice a second at best."""
LEAST_CHANGES = 5
LEAST_AWAKE_A = 0.02
VOLTS = (2.5, 10.0)
"""One cell that is empty, two that are full."""


def android_battery(access: Access, current_unit: Literal["uA", "mA"] = "uA") -> Polled:
    """`access.shell` reaches the phone, as in `through("adb", "shell")`."""
    ampere = {"uA": 1e-6, "mA": 1e-3}[current_unit]
    return Polled(
        "android_battery", "battery of the whole phone", "measured", PERIOD_S, lambda: _reader(access, ampere), access,
        at_end=lambda: _charging(access), least_changes=LEAST_CHANGES,
    )  # fmt: skip


def why_not(dumpsys: str) -> str:
    """Why `dumpsys battery` forbids measuring; empty where the battery alone feeds the phone."""
    if "UPDATES STOPPED" in dumpsys:
        return "the battery's state is made up (dumpsys battery unplug or set): dumpsys battery reset"
    if sources := re.findall(r"^\s*(\w+) powered: true", dumpsys, re.MULTILINE):
        return f"the phone is charging ({', '.join(sources)}): unplug it, and use adb over Wi-Fi"
    state = re.search(r"^\s*status: (\d+)", dumpsys, re.MULTILINE)
    if state is None:
        return "dumpsys battery gives no status"
    return "" if state[1] == "3" else f"the battery is not discharging (status {state[1]}, where 3 is discharging)"


def watts(text: str, ampere: float, sign: float = 0.0) -> tuple[float, float]:
    """Power, and the sign that counts as discharge, of the three files' text. Raises BadReading."""
    try:
        status, current, voltage = text.split("\n")[:3]
        amperes, volts = int(current) * ampere, int(voltage) * 1e-6
    except ValueError as error:
        raise BadReading(f"the battery says {text.split()}", expected="its status, current_now, voltage_now") from error
    if status.strip() in ("Charging", "Full"):
        raise BadReading(f"the battery's status is {status.strip()}", hint="unplug the phone")
    volts = volts * 1e3 if volts < 0.1 else volts  # mV for µV
    if not VOLTS[0] <= volts <= VOLTS[1]:
        raise BadReading(f"voltage_now says {voltage}", expected=f"{VOLTS[0]:g} to {VOLTS[1]:g} V, in µV or mV")
    if not sign and abs(amperes) < LEAST_AWAKE_A:
        raise BadReading(
            f"current_now says {current.strip()}: less than a phone awake takes",
            hint="this vendor may give mA: current_unit='mA'",
        )
    sign = sign or copysign(1.0, amperes)
    return sign * amperes * volts, sign


def _reader(access: Access, ampere: float) -> Callable[[], Reading]:
    if reasons := _charging(access):
        raise MeterFailed(reasons[0])
    sign = 0.0

    def read() -> Reading:
        nonlocal sign
        value, sign = watts(access.read(*FILES), ampere, sign)
        return Reading(value)

    return read


def _charging(access: Access) -> tuple[str, ...]:
    reason = why_not((access.shell or access.run)(["dumpsys", "battery"]))
    return (reason,) if reason else ()
