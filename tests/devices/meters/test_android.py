from collections.abc import Callable, Sequence

import pytest

from devices.meters import open_meter
from devices.meters.access import Access
from devices.meters.android_battery import why_not
from devices.meters.odpm import rails
from devices.meters.samples import MeterFailed, WindowRefused, energy_j
from tests.devices.meters.simulated import Board, text

CALM = text("dumpsys_discharging.txt")


def phone(board: Board, sysfs: Callable[[], str], dumpsys: Callable[[], str] = lambda: CALM) -> Access:
    def shell(command: Sequence[str]) -> str:
        if command[0] == "dumpsys":
            return dumpsys()
        assert command[:1] == ["cat"]
        assert command[1].startswith("/sys/class/power_supply/battery/")
        return sysfs()

    return board.access(shell=shell)


def state(current: int, voltage: int = 4_000_000, status: str = "Discharging") -> str:
    return f"{status}\n{current}\n{voltage}\n"


@pytest.mark.parametrize("current", [-500_000, 500_000])  # vendors disagree about the sign of a discharge
@pytest.mark.parametrize("voltage", [4_000_000, 4_000])  # and some give mV
def test_a_discharge_is_positive_whatever_the_vendor_calls_it(current: int, voltage: int) -> None:
    meter = open_meter("android_battery", phone(Board(), lambda: state(current, voltage)))
    assert meter.available() is None
    meter.start()
    assert meter.stop().watts == (pytest.approx(2.0),)
    assert meter.rail == "battery of the whole phone"


def test_a_current_in_milliamperes_is_not_guessed() -> None:
    access = phone(Board(), lambda: state(-500))
    reason = open_meter("android_battery", access).available()
    assert reason is not None
    assert "less than a phone awake takes" in reason
    meter = open_meter("android_battery", access, current_unit="mA")
    meter.start()
    assert meter.stop().watts == (pytest.approx(2.0),)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("charging", "the phone is charging (USB)"),
        ("made_up", "the battery's state is made up"),
    ],
)
def test_a_phone_that_charges_is_refused(name: str, reason: str) -> None:
    said = text(f"dumpsys_{name}.txt")
    meter = open_meter("android_battery", phone(Board(), lambda: state(-500_000), lambda: said))
    assert (meter.available() or "").startswith(reason)
    with pytest.raises(MeterFailed, match=reason.partition(" (")[0]):
        meter.start()


def test_a_full_battery_and_a_dump_without_status_are_refused() -> None:
    assert why_not(CALM) == ""
    assert "status 5" in why_not(CALM.replace("status: 3", "status: 5"))
    assert why_not("nothing here") == "dumpsys battery gives no status"


def test_a_sign_that_changes_in_the_middle_is_refused() -> None:
    board = Board()
    access = phone(board, lambda: state(-500_000 - int(board.now_s * 3) % 7 if board.now_s < 510 else 300_000))
    meter = open_meter("android_battery", access)
    meter.start()
    board.advance(20.0)
    samples = meter.stop()
    assert energy_j(samples, 501.0, 509.0) == pytest.approx(16.0, rel=1e-5)
    with pytest.raises(WindowRefused, match="the sign changes"):
        energy_j(samples, 504.0, 516.0)


@pytest.mark.parametrize(("renewed_s", "stands"), [(1.0, True), (5.0, False)])
def test_a_gauge_that_is_renewed_too_seldom_is_refused(renewed_s: float, stands: bool) -> None:
    board = Board()
    meter = open_meter("android_battery", phone(board, lambda: state(-500_000 - int(board.now_s / renewed_s))))
    meter.start()
    board.advance(20.0)
    samples = meter.stop()
    if stands:
        assert energy_j(samples, 505.0, 515.0) == pytest.approx(20.0, rel=0.01)
    else:
        with pytest.raises(WindowRefused, match="renewed its value 2 times in 10 s"):
            energy_j(samples, 504.0, 514.0)


def test_a_charger_that_comes_in_the_middle_is_seen_by_status_and_at_the_end() -> None:
    board = Board()
    plugged = text("dumpsys_charging.txt")
    access = phone(
        board,
        lambda: state(-500_000, status="Discharging" if board.now_s < 510 else "Charging"),
        lambda: CALM if board.now_s < 510 else plugged,
    )
    meter = open_meter("android_battery", access)
    meter.start()
    board.advance(20.0)
    samples = meter.stop()
    assert "status is Charging" in samples.notes[0]
    with pytest.raises(WindowRefused, match="the phone is charging"):
        energy_j(samples, 501.0, 509.0)


def test_a_phone_that_goes_away_in_the_middle_is_said() -> None:
    board = Board()

    def dumpsys() -> str:
        if board.now_s > 510:
            raise MeterFailed("adb ended with 1 and said: error: device offline")
        return CALM

    meter = open_meter("android_battery", phone(board, lambda: state(-500_000), dumpsys))
    meter.start()
    board.advance(20.0)
    with pytest.raises(WindowRefused, match="device offline"):
        energy_j(meter.stop(), 501.0, 509.0)


@pytest.mark.parametrize("said", ["", "Discharging\n\n4000000\n", "Discharging\nabc\n4000000\n", state(-500_000, 12)])
def test_a_battery_that_says_nonsense(said: str) -> None:
    assert open_meter("android_battery", phone(Board(), lambda: said)).available()


def monitors(board: Board, said: Callable[[], str]) -> Access:
    def shell(command: Sequence[str]) -> str:
        if command[0] == "ls":
            assert command[2] == "/sys/bus/iio/devices/iio:device*/energy_value"
            return "/sys/bus/iio/devices/iio:device0/energy_value\n"
        assert list(command) == ["cat", "/sys/bus/iio/devices/iio:device0/energy_value"]
        return said()

    return board.access(shell=shell)


def test_odpm_channels_are_microwatt_seconds_by_rail() -> None:
    found = rails(text("energy_value.txt"))
    assert found["S2M_VDD_CPUCL2"] == (pytest.approx(16086.645), pytest.approx(124.265856))
    assert len(found) == 8


def test_odpm_adds_the_rails_that_computing_loads_and_names_them() -> None:
    meter = open_meter("odpm", monitors(Board(), lambda: text("energy_value.txt")))
    assert meter.available() is None
    assert "S2M_VDD_CPUCL2" in meter.rail
    assert "MODEM" not in meter.rail
    meter.start()
    assert meter.stop().joules == (pytest.approx(5.578756 + 8.246680 + 124.265856 + 9.346240 + 6.020850 + 15.120560),)


def test_odpm_names_a_missing_rail_and_a_phone_without() -> None:
    access = monitors(Board(), lambda: text("energy_value.txt"))
    assert open_meter("odpm", access, names=("S9M_VDD_NONE",)).available() == "missing rails: S9M_VDD_NONE"

    def nothing(command: Sequence[str]) -> str:
        raise MeterFailed("ls: No such file or directory")

    reason = open_meter("odpm", Board().access(shell=nothing)).available()
    assert reason == "there are no on-device power monitors here"


def test_odpm_goes_by_its_own_time_and_counts_no_reading_twice() -> None:
    board = Board()

    def said() -> str:
        """Renewed each second, and 2 W by its own time."""
        ms = int(board.now_s) * 1000
        return f"t={ms}\nCH0(T={ms})[S2M_VDD_CPUCL2], {2 * ms * 1000}\n"

    meter = open_meter("odpm", monitors(board, said))
    meter.start()
    board.advance(31.0)
    samples = meter.stop()
    assert len(samples.times_s) in (31, 32)
    assert samples.joules is not None
    assert (samples.joules[-1] - samples.joules[0]) / (samples.times_s[-1] - samples.times_s[0]) == pytest.approx(2.0)
