"""Jetson, JetPack 5 and later: the INA3221 chips through the kernel's hwmon. in is mV, curr is mA."""

from collections.abc import Callable

from devices.meters.access import Access
from devices.meters.jetson import chosen, total_w, unconnected
from devices.meters.samples import BadReading, Reading

DRIVER = "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
CLASS = "/sys/class/hwmon/hwmon*"
SUM_OF_SHUNTS = "in7"


def channels(access: Access) -> dict[str, tuple[str, str]]:
    """Paths of voltage and current by label, of all connected channels."""
    found: dict[str, tuple[str, str]] = {}
    for folder in _chips(access):
        for path in access.glob(f"{folder}/in*_label"):
            number = path.rpartition("/")[2].removesuffix("_label")
            label = access.read(path).strip()
            if number == SUM_OF_SHUNTS or unconnected(label):
                continue
            found[label] = (f"{folder}/{number}_input", f"{folder}/curr{number.removeprefix('in')}_input")
    return found


def _chips(access: Access) -> list[str]:
    if folders := access.glob(DRIVER):
        return folders
    names = {path.rpartition("/")[0]: access.read(path).strip() for path in access.glob(f"{CLASS}/name")}
    return [folder for folder, name in names.items() if name == "ina3221"]


def begin(access: Access) -> Callable[[], Reading]:
    """A function that reads the board's power once. Raises BadReading where there is none."""
    found = channels(access)
    if not found:
        raise BadReading("there is no INA3221 under hwmon here")
    labels = chosen(found)

    def read() -> Reading:
        return Reading(total_w({label: _watts(access, *found[label]) for label in labels}, labels))

    return read


def _watts(access: Access, voltage: str, current: str) -> float:
    text = access.read(voltage, current).split()
    try:
        millivolts, milliamperes = (int(word) for word in text)
    except ValueError as error:
        raise BadReading(f"{voltage} and {current} say {text}", expected="two whole numbers, mV and mA") from error
    return millivolts * milliamperes / 1e6
