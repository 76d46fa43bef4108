"""INA219 and INA226: a shunt in the supply's wire, read over I2C. Registers and formulas are of TI's data sheets.

SBOS448 (INA219) section 8.5: calibration = 0.04096 / (current LSB x shunt). SBOS547 (INA226) section 7.5: 0.00512 / the
same. The power register has no sign, so power is the current register's times the bus voltage.
"""

from collections.abc import Callable
from dataclasses import dataclass

from devices.meters.access import Access, Bus
from devices.meters.recorder import Polled
from devices.meters.samples import BadReading, MeterFailed, Reading

CONFIG, SHUNT, BUS, CURRENT, CALIBRATION = 0x00, 0x01, 0x02, 0x04, 0x05
STEPS = 2**15
"""Of the current register, on each side of zero."""


@dataclass(frozen=True)
class Chip:
    """What the two differ in. `config` averages in the chip, so that a sample is the mean of about `period_s`."""

    name: str
    config: int
    calibration: float
    bus_lsb_v: float
    bus_shift: int
    shunt_lsb_v: float
    shunt_limit_v: float
    overflow: int
    period_s: float


INA219 = Chip(
    "ina219",
    config=1 << 13 | 0b11 << 11 | 0b1110 << 7 | 0b1110 << 3 | 0b111,  # 32 V, ±320 mV, 64 samples (34.05 ms) each
    calibration=0.04096, bus_lsb_v=4e-3, bus_shift=3, shunt_lsb_v=10e-6, shunt_limit_v=0.320, overflow=1,
    period_s=0.1,
)  # fmt: skip
INA226 = Chip(
    "ina226",
    config=0x4000 | 0b010 << 9 | 0b100 << 6 | 0b100 << 3 | 0b111,  # 16 samples of 1.1 ms each: 35.2 ms for both
    calibration=0.00512, bus_lsb_v=1.25e-3, bus_shift=0, shunt_lsb_v=2.5e-6, shunt_limit_v=0.08192, overflow=0,
    period_s=0.05,
)  # fmt: skip


def ina219(
    access: Access, bus: int = 1, address: int = 0x40, shunt_ohms: float = 0.1, most_amperes: float = 3.2
) -> Polled:
    """The usual module: 0.1 ohm, up to 3.2 A."""
    return _meter(INA219, access, bus, address, shunt_ohms, most_amperes)


def ina226(
    access: Access, bus: int = 1, address: int = 0x40, shunt_ohms: float = 0.01, most_amperes: float = 8.0
) -> Polled:
    """The usual module: 0.01 ohm, up to 8 A."""
    return _meter(INA226, access, bus, address, shunt_ohms, most_amperes)


def calibration(chip: Chip, shunt_ohms: float, most_amperes: float) -> int:
    """The calibration register. Raises MeterFailed for a shunt that cannot measure so much."""
    if not (shunt_ohms > 0 and most_amperes > 0):
        raise MeterFailed(f"a shunt of {shunt_ohms} ohm for {most_amperes} A", expected="numbers above zero")
    if shunt_ohms * most_amperes > chip.shunt_limit_v * (1 + 1e-9):
        raise MeterFailed(
            f"{most_amperes:g} A through {shunt_ohms:g} ohm is {shunt_ohms * most_amperes * 1e3:.4g} mV",
            expected=f"at most {chip.shunt_limit_v * 1e3:.4g} mV on a {chip.name}",
            hint=f"most_amperes={chip.shunt_limit_v / shunt_ohms:.4g}, or a smaller shunt",
        )
    value = int(chip.calibration / (most_amperes / STEPS * shunt_ohms))
    if chip is INA219:
        value &= ~1  # its lowest bit is fixed to zero
    if not 0 < value < 2**16:
        raise MeterFailed(
            f"the calibration of {shunt_ohms:g} ohm and {most_amperes:g} A is {value}", expected="16 bits"
        )
    return value


def signed(word: int) -> int:
    """Of 16 bits in two's complement."""
    return word - 2**16 if word >= 2**15 else word


def swapped(word: int) -> int:
    """The chip sends the high byte first, SMBus the low one."""
    return (word & 0xFF) << 8 | word >> 8


def _meter(chip: Chip, access: Access, bus: int, address: int, shunt_ohms: float, most_amperes: float) -> Polled:
    def begin() -> Callable[[], Reading]:
        cal = calibration(chip, shunt_ohms, most_amperes)
        read = _reader(chip, access.bus(bus), address, cal, shunt_ohms)
        access.sleep(chip.period_s)  # until the chip has measured with these settings
        return read

    rail = f"the wire through the {chip.name}'s shunt ({shunt_ohms:g} ohm, I2C {bus}:0x{address:02x})"
    return Polled(chip.name, rail, "measured", chip.period_s, begin, access)


def _reader(chip: Chip, bus: Bus, address: int, cal: int, shunt_ohms: float) -> Callable[[], Reading]:
    lsb_a = chip.calibration / (cal * shunt_ohms)  # of the rounded calibration, not of the wish
    _write(bus, address, CONFIG, chip.config)
    _write(bus, address, CALIBRATION, cal)
    if (kept := _read(bus, address, CALIBRATION)) != cal:
        raise BadReading(f"calibration {cal} went to 0x{address:02x}, and {kept} came back", expected=f"a {chip.name}")

    def read() -> Reading:
        shunt_v = signed(_read(bus, address, SHUNT)) * chip.shunt_lsb_v
        word = _read(bus, address, BUS)
        if word & chip.overflow or abs(shunt_v) >= chip.shunt_limit_v - 2 * chip.shunt_lsb_v:
            raise BadReading(f"the current is out of range ({shunt_v * 1e3:.4g} mV)", hint="a smaller shunt")
        amperes = signed(_read(bus, address, CURRENT)) * lsb_a
        return Reading((word >> chip.bus_shift) * chip.bus_lsb_v * amperes)

    return read


def _read(bus: Bus, address: int, register: int) -> int:
    try:
        return swapped(bus.read_word_data(address, register))
    except OSError as error:
        raise _silent(address, error) from error


def _write(bus: Bus, address: int, register: int, value: int) -> None:
    try:
        bus.write_word_data(address, register, swapped(value))
    except OSError as error:
        raise _silent(address, error) from error


def _silent(address: int, error: OSError) -> MeterFailed:
    return MeterFailed(
        f"nothing answers at I2C address 0x{address:02x}: {error.strerror or error}",
        hint="i2cdetect -y 1 shows the addresses; a kernel driver that holds the chip has to be unloaded",
    )
