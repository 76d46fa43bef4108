"""Jetson: the INA3221 chips on the module, through hwmon (JetPack 5 and later) or iio (4 and earlier)."""

from devices.meters import hwmon, iio
from devices.meters.access import Access
from devices.meters.jetson import PERIOD_S, chosen, rail_of
from devices.meters.recorder import Polled
from runtime_py.errors import SdkError


def ina3221(access: Access) -> Polled:
    """The module's power: VDD_IN, POM_5V_IN, or the three rails of an AGX Orin."""
    interface = iio if access.glob(iio.RAIL_NAMES) else hwmon
    try:
        rail = rail_of(chosen(interface.channels(access)))
    except SdkError:  # available() says why
        rail = rail_of(())
    return Polled("ina3221", rail, "measured", PERIOD_S, lambda: interface.begin(access), access)
