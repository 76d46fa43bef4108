import gc
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest

from devices.meters import open_meter
from devices.meters.access import Access
from devices.meters.ina2xx import INA219, INA226, calibration, signed, swapped
from devices.meters.samples import MeterFailed, WindowRefused, energy_j
from runtime_py.errors import SdkError
from tests.devices.meters.simulated import Board, FakeBus


def wired(board: Board, bus: FakeBus) -> Access:
    return board.access(bus=lambda number: bus)


@pytest.mark.parametrize(("name", "shunt_ohms"), [("ina219", 0.1), ("ina226", 0.01)])
@pytest.mark.parametrize(("volts", "watts"), [(5.1, 7.5), (5.0, 2.0), (12.0, 20.0)])
def test_power_through_the_registers(name: str, shunt_ohms: float, volts: float, watts: float) -> None:
    bus = FakeBus(name, shunt_ohms, lambda: volts, lambda: watts)
    meter = open_meter(name, wired(Board(), bus), shunt_ohms=shunt_ohms)
    assert meter.available() is None
    meter.start()
    assert meter.stop().watts == (pytest.approx(watts, rel=2e-3),)  # steps of 10 and 2.5 uV, 4 and 1.25 mV


def test_calibrations_of_the_data_sheets_examples() -> None:
    # SBOS547, section 8.2.2: 10 A (LSB 1 mA by choice of 32.768 A) through 2 mohm gives 2560
    assert calibration(INA226, 0.002, 32.768) == 2560
    # SBOS448, 8.5: 0.04096 / (LSB x R), 1 mA and 10 mohm
    assert calibration(INA219, 0.01, 32.0) == int(0.04096 / (32.0 / 32768 * 0.01)) & ~1


@pytest.mark.parametrize(
    ("name", "config"),
    [
        # SBOS448 table 4 to 6: 32 V, gain /8, 64 samples of bus and shunt, both continuously
        ("ina219", 0b0_0_1_11_1110_1110_111),
        # SBOS547 table 6 to 9: 16 averages of 1.1 ms each, both continuously; bit 14 is always set
        ("ina226", 0b0_100_010_100_100_111),
    ],
)
def test_the_configuration_word(name: str, config: int) -> None:
    bus = FakeBus(name, 0.01, lambda: 5.0, lambda: 1.0)
    assert open_meter(name, wired(Board(), bus), shunt_ohms=0.01).available() is None
    assert bus.registers[0] == config


def test_words_are_big_endian_and_signed() -> None:
    assert swapped(0x1234) == 0x3412
    assert [signed(word) for word in (0, 1, 0x7FFF, 0x8000, 0xFFFF)] == [0, 1, 32767, -32768, -1]


def test_a_shunt_the_wrong_way_round_is_refused() -> None:
    board = Board()
    bus = FakeBus("ina226", 0.01, lambda: 5.0, lambda: -3.0)
    meter = open_meter("ina226", wired(board, bus))
    meter.start()
    board.advance(12.0)
    with pytest.raises(WindowRefused, match="negative") as caught:
        energy_j(meter.stop(), 501.0, 511.0)
    assert "wires of the shunt" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "disturb", "reason"),
    [
        ("ina219", lambda bus: setattr(bus, "overflow", True), "out of range"),
        ("ina226", lambda bus: setattr(bus, "watts", lambda: 41.0), "out of range"),
        ("ina226", lambda bus: setattr(bus, "write_word_data", lambda address, register, value: None), "came back"),
    ],
)
def test_what_a_chip_cannot_measure_is_said(name: str, disturb: Callable[[FakeBus], None], reason: str) -> None:
    bus = FakeBus(name, 0.01, lambda: 5.0, lambda: 1.0)
    disturb(bus)
    assert reason in (open_meter(name, wired(Board(), bus), shunt_ohms=0.01).available() or "")


def test_nothing_at_the_address() -> None:
    bus = FakeBus("ina219", 0.1, lambda: 5.0, lambda: 1.0)
    assert "0x41" in (open_meter("ina219", wired(Board(), bus), address=0x41).available() or "")


@pytest.mark.parametrize(("shunt_ohms", "most_amperes"), [(0.1, 5.0), (0.0, 1.0), (0.1, -1.0), (1e-6, 1e-3)])
def test_a_shunt_that_does_not_fit_is_refused(shunt_ohms: float, most_amperes: float) -> None:
    with pytest.raises(MeterFailed):
        calibration(INA219, shunt_ohms, most_amperes)


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.meters.access.find_spec", lambda name: None)
    meter = open_meter("ina219", Access())
    assert "smbus2" in (meter.available() or "")
    with pytest.raises(SdkError) as caught:
        meter.start()
    assert caught.value.hint == "pip install 'edge-sdk[i2c]'"


def test_the_bus_is_the_packages_and_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class SMBus(FakeBus):
        def __init__(self, number: int) -> None:
            if number != 1:
                raise FileNotFoundError(2, "No such file or directory")
            super().__init__("ina219", 0.1, lambda: 5.0, lambda: 2.0)
            self.fd = os.open(tmp_path, os.O_RDONLY)
            opened.append(self.fd)

    opened: list[int] = []
    monkeypatch.setitem(sys.modules, "smbus2", SimpleNamespace(SMBus=SMBus, __spec__=ModuleSpec("smbus2", None)))
    assert open_meter("ina219", Access()).available() is None
    assert open_meter("ina219", Access(), bus=9).available() == "/dev/i2c-9 cannot be opened: No such file or directory"
    gc.collect()
    assert len(opened) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
