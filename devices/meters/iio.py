"""Jetson, JetPack 4 and earlier: the INA3221 chips through the kernel's iio. Power is mW."""

from collections.abc import Callable

from devices.meters.access import Access
from devices.meters.jetson import chosen, total_w, unconnected
from devices.meters.samples import BadReading, Reading

RAIL_NAMES = "/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"


def channels(access: Access) -> dict[str, str]:
    """The path of its power by label, of all connected channels."""
    found: dict[str, str] = {}
    for path in access.glob(RAIL_NAMES):
        folder, _, number = path.rpartition("/rail_name_")
        label = access.read(path).strip()
        if not unconnected(label):
            found[label] = f"{folder}/in_power{number}_input"
    return found


def begin(access: Access) -> Callable[[], Reading]:
    """A function that reads the board's power once. Raises BadReading where there is none."""
    found = channels(access)
    if not found:
        raise BadReading("there is no INA3221 under iio here")
    labels = chosen(found)

    def read() -> Reading:
        return Reading(total_w({label: _watts(access, found[label]) for label in labels}, labels))

    return read


def _watts(access: Access, path: str) -> float:
    text = access.read(path).strip()
    try:
        return int(text) / 1e3
    except ValueError as error:
        raise BadReading(f"{path} says {text!r}", expected="a whole number, mW") from error
