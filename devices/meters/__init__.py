"""Power meters by name. Listing them opens none."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from devices.meters.access import Access
from devices.meters.samples import Kind, MeterFailed, Samples
from runtime_py.errors import unknown_name


class Meter(Protocol):
    """Listens to one rail. Its samples are on the clock of its `Access`."""

    @property
    def name(self) -> str: ...

    @property
    def rail(self) -> str:
        """What it measures, in words."""

    @property
    def kind(self) -> Kind:
        """Whether a sensor measures, or a model estimates."""

    def available(self) -> str | None:
        """Why it cannot be read here; None where it can."""

    def start(self) -> None:
        """Begins to listen. Raises MeterFailed."""

    def stop(self) -> Samples:
        """Ends, and gives all since `start`. Raises MeterFailed."""


@dataclass(frozen=True)
class MeterRow:
    """One meter: the function that makes it of an Access and its own options, and where it is found."""

    factory: str
    title: str
    found_on: str
    external: bool = False
    """Whether somebody has to attach it, and say how in its options: it is never found by itself."""


METERS: dict[str, MeterRow] = {
    "rpi5_pmic": MeterRow("devices.meters.rpi5_pmic:rpi5_pmic", "power chip's rails", "Raspberry Pi 5"),
    "ina3221": MeterRow("devices.meters.ina3221:ina3221", "INA3221 by hwmon or iio", "Jetson"),
    "tegrastats": MeterRow("devices.meters.tegrastats:tegrastats", "tegrastats", "Jetson"),
    "rapl": MeterRow("devices.meters.rapl:rapl", "RAPL counters", "x86 Linux, root"),
    "odpm": MeterRow("devices.meters.odpm:odpm", "on-device power monitors", "Pixel 6 and later"),
    "android_battery": MeterRow("devices.meters.android_battery:android_battery", "battery gauge", "Android"),
    "powermetrics": MeterRow("devices.meters.powermetrics:powermetrics", "powermetrics", "macOS, root"),
    "rpi5_board": MeterRow("devices.meters.rpi5_pmic:rpi5_board", "whole board, by a fit", "Raspberry Pi 5"),
    "ina219": MeterRow("devices.meters.ina2xx:ina219", "INA219 on I2C", "any board", external=True),
    "ina226": MeterRow("devices.meters.ina2xx:ina226", "INA226 on I2C", "any board", external=True),
    "usb_csv": MeterRow("devices.meters.usb_csv:usb_csv", "USB meter's logger program", "any board", external=True),
    "csv": MeterRow("devices.meters.csvlog:csvlog", "any logger's file", "any board", external=True),
}
"""In the order in which `find` tries them."""


def get_meter(name: str) -> MeterRow:
    """The row of `name`. Raises UnknownName."""
    if name not in METERS:
        raise unknown_name("meter", name, sorted(METERS))
    return METERS[name]


def open_meter(name: str, access: Access | None = None, **options: Any) -> Meter:
    """The meter `name`, with options as its function has them. Raises UnknownName, and MeterFailed for a wrong one."""
    module, _, function = get_meter(name).factory.partition(":")
    factory = getattr(import_module(module), function)
    known = list(factory.__code__.co_varnames[1 : factory.__code__.co_argcount])
    if unknown := sorted(options.keys() - set(known)):
        raise MeterFailed(
            f"the meter {name!r} has no option {unknown[0]!r}", expected=f"of {', '.join(known) or 'none'}"
        )
    meter: Meter = factory(access or Access(), **options)
    return meter


def named(text: str, access: Access | None = None) -> Meter:
    """The meter of NAME or NAME:KEY=VALUE,KEY=VALUE, as a command line has it; numbers may be hexadecimal.

    Raises UnknownName, and MeterFailed for options that the meter does not have.
    """
    name, _, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",") if pair]
    for key, equals, _ in pairs:
        if not (key.isidentifier() and equals):
            raise MeterFailed(f"the meter {text!r}", expected="NAME, or NAME:KEY=VALUE,KEY=VALUE")
    return open_meter(name, access, **{key: _value(value) for key, _, value in pairs})


def _value(text: str) -> str | int | float:
    for kind in (lambda word: int(word, 0), float):
        try:
            found: int | float = kind(text)
        except ValueError:
            continue
        return found
    return text


def find(access: Access | None = None, names: Iterable[str] | None = None) -> tuple[Meter | None, dict[str, str]]:
    """The first built-in meter that works here, and why each before it does not."""
    why_not: dict[str, str] = {}
    for name in names or [name for name, row in METERS.items() if not row.external]:
        meter = open_meter(name, access)
        reason = meter.available()
        if reason is None:
            return meter, why_not
        why_not[name] = reason
    return None, why_not
