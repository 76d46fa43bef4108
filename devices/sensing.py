"""Which power meters a device has, from one look at it: nothing is measured here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from devices.looking import Look
from devices.meters.jetson import unconnected


@dataclass(frozen=True)
class Sensor:
    """A meter by name: `ready` to be read, `blocked` by what can be mended, `external` and connected by hand, or
    `absent`; then in words what was seen, and how to get it."""

    name: str
    state: Literal["ready", "blocked", "external", "absent"]
    why: str
    how: str = ""


def sensors_of(look: Look, expected: tuple[str, ...] = ()) -> list[Sensor]:
    """The meters that a profile expects, and any other that is there."""
    found = {name: CHECKS[name](look) for name in dict.fromkeys((*expected, *CHECKS)) if name in CHECKS}
    return [sensor for name, sensor in found.items() if name in expected or sensor.state in ("ready", "blocked")]


def _rpi5_pmic(look: Look) -> Sensor:
    name, command = "rpi5_pmic", "vcgencmd pmic_read_adc"
    rails = look.answer(command).count(" current(")
    if rails:
        return Sensor(name, "ready", f"the PMIC has {rails} rails with a current")
    if "vcgencmd" not in look.programs:
        return Sensor(name, "absent", "vcgencmd is not there", "on a Pi 5: apt-get install raspi-utils")
    code, said = look.said.get(command, (127, ""))
    if code not in (0, 127) and "not registered" not in said:
        how = "sudo usermod -aG video $USER, then log in anew"
        return Sensor(name, "blocked", "vcgencmd may not ask the firmware", how)
    return Sensor(name, "absent", "this firmware has no PMIC to read: only a Pi 5's has")


def _ina3221(look: Look) -> Sensor:
    by_hwmon = set(look.matching("/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*/in*_label").values())
    by_iio = set(look.matching("/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*").values())
    for path, chip in look.matching("/sys/class/hwmon/hwmon*/name").items():
        if chip == "ina3221":
            by_hwmon |= set(look.matching(path.removesuffix("name") + "in*_label").values())
    rails = sorted(label for label in by_hwmon | by_iio if label and not unconnected(label))
    if rails:
        return Sensor("ina3221", "ready", f"rails {', '.join(rails)}")
    how = "on a Jetson: the kernel of NVIDIA's Jetson Linux"
    return Sensor("ina3221", "absent", "the kernel shows no INA3221", how)


def _rpi5_board(look: Look) -> Sensor:
    rails = _rpi5_pmic(look)
    why = f"{rails.why}; the board's power is estimated from their sum" if rails.state == "ready" else rails.why
    return Sensor("rpi5_board", rails.state, why, rails.how)


def _tegrastats(look: Look) -> Sensor:
    if "tegrastats" in look.programs:
        return Sensor("tegrastats", "ready", "the program is there")
    return Sensor("tegrastats", "absent", "the program is not there", "it comes with NVIDIA's Jetson Linux")


def _rapl(look: Look) -> Sensor:
    zones = look.exist("/sys/class/powercap/*intel-rapl:*/energy_uj")
    readable = look.matching("/sys/class/powercap/*intel-rapl:*/energy_uj")
    names = [look.file(path.replace("energy_uj", "name")) for path in readable]
    if readable:
        return Sensor("rapl", "ready", f"counters of {', '.join(filter(None, names)) or 'unnamed domains'}")
    if zones:
        how = "run as root, or sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj until the next start"
        return Sensor("rapl", "blocked", "the counters are there, and only root may read them", how)
    how = "virtual machines have none; elsewhere sudo modprobe intel_rapl_msr"
    return Sensor("rapl", "absent", "the kernel shows no RAPL counters", how)


def _android_battery(look: Look) -> Sensor:
    name, folder = "android_battery", "/sys/class/power_supply/battery/"
    status = look.file(folder + "status")
    if look.file(folder + "current_now") and look.file(folder + "voltage_now"):
        if status in ("Charging", "Full"):
            return Sensor(
                name, "blocked", f"the battery is {status.lower()}", "unplug it, and reach it by adb over Wi-Fi"
            )
        return Sensor(name, "ready", "current and voltage of the battery")
    if look.exist(folder + "*"):
        return Sensor(name, "blocked", "the battery's current may not be read", "adb root, on a userdebug build")
    return Sensor(name, "absent", "the kernel shows no battery")


def _odpm(look: Look) -> Sensor:
    pattern = "/sys/bus/iio/devices/iio:device*/energy_value"
    rails = [line for text in look.matching(pattern).values() for line in text.splitlines() if "[" in line]
    if rails:
        return Sensor("odpm", "ready", f"{len(rails)} rails with a counter of energy")
    if look.exist(pattern):
        return Sensor("odpm", "blocked", "the rails are there, and may not be read", "adb root, on a userdebug build")
    return Sensor("odpm", "absent", "no on-device power monitor: Pixel 6 and later have one")


def _powermetrics(look: Look) -> Sensor:
    if "powermetrics" not in look.programs:
        return Sensor("powermetrics", "absent", "the program is not there: it comes with macOS")
    if look.answer("id -u") == "0":
        return Sensor("powermetrics", "ready", "the program is there, and this user is root")
    return Sensor("powermetrics", "blocked", "the program needs root", "sudo -v right before the run")


def _ina219(look: Look) -> Sensor:
    return _on_the_bus(look, "ina219")


def _ina226(look: Look) -> Sensor:
    return _on_the_bus(look, "ina226")


def _on_the_bus(look: Look, chip: str) -> Sensor:
    if _chip(look, chip):
        why = "the kernel's driver holds one, and this meter reads the bus itself: it would be told that it is busy"
        how = "echo BUS-ADDRESS (such as 1-0040) | sudo tee /sys/bus/i2c/drivers/ina2xx/unbind"
        return Sensor(chip, "blocked", why, how)
    buses = look.exist("/dev/i2c-*")
    wire = f"wire an {chip.upper()} into the supply, and name its bus and address"
    if buses:
        return Sensor(chip, "external", f"I²C at {', '.join(buses)}; whether one is wired there is not known", wire)
    return Sensor(chip, "external", "no I²C bus is open", f"sudo raspi-config nonint do_i2c 0 on a Pi, then {wire}")


def _usb_csv(look: Look) -> Sensor:
    return Sensor("usb_csv", "external", "a USB meter between supply and board", "name the program that logs it")


def _csv(look: Look) -> Sensor:
    return Sensor(
        "csv", "external", "any logger's file with a time in each row", "give the file, and the logger's clock"
    )


def _chip(look: Look, chip: str) -> bool:
    return chip in look.matching("/sys/class/hwmon/hwmon*/name").values()


CHECKS: dict[str, Callable[[Look], Sensor]] = {
    "rpi5_pmic": _rpi5_pmic,
    "ina3221": _ina3221,
    "tegrastats": _tegrastats,
    "rapl": _rapl,
    "odpm": _odpm,
    "android_battery": _android_battery,
    "powermetrics": _powermetrics,
    "rpi5_board": _rpi5_board,
    "ina219": _ina219,
    "ina226": _ina226,
    "usb_csv": _usb_csv,
    "csv": _csv,
}
"""Every row of devices.meters.METERS, in its order."""
