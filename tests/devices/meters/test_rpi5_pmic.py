from collections.abc import Sequence

import pytest

from devices.meters import open_meter
from devices.meters.access import Access
from devices.meters.rpi5_pmic import rails_w
from devices.meters.samples import BadReading, MeterFailed
from tests.devices.meters.simulated import Board, text

SHOWN = text("pmic_read_adc.txt")
BY_HAND_W = (
    0.10 * 3.7 + 0.05 * 3.3 + 0.20 * 1.8 + 0.04 * 1.1 + 0.30 * 1.1 + 0.25 * 0.8 + 1.54489 * 0.88725180
    + 0.01 * 0.8 + 0.02 * 5.0
)  # fmt: skip


def shows(said: str) -> Access:
    def run(command: Sequence[str]) -> str:
        assert tuple(command) == ("vcgencmd", "pmic_read_adc")
        return said

    return Board().access(run=run)


def test_power_is_the_sum_over_rails_with_current_and_voltage() -> None:
    found = rails_w(SHOWN)
    assert len(found) == 12
    assert found["VDD_CORE"] == pytest.approx(1.54489 * 0.8872518)
    assert not {"EXT5V", "BATT"} & found.keys()  # they have volts only
    assert sum(found.values()) == pytest.approx(BY_HAND_W)


def test_the_meter_names_its_rails_and_the_fit_is_an_estimate() -> None:
    measured, estimated = open_meter("rpi5_pmic", shows(SHOWN)), open_meter("rpi5_board", shows(SHOWN))
    assert (measured.rail, measured.kind) == ("PMIC rails", "measured")
    assert (estimated.kind, "fit" in estimated.rail or "1.1451" in estimated.rail) == ("estimated", True)
    for meter, watts in ((measured, BY_HAND_W), (estimated, 1.1451 * BY_HAND_W + 0.5879)):
        assert meter.available() is None
        meter.start()
        assert meter.stop().watts == (pytest.approx(watts),)


@pytest.mark.parametrize("rail", ["VDD_CORE", "HDMI"])
def test_a_missing_rail_is_named(rail: str) -> None:
    cut = "\n".join(line for line in SHOWN.splitlines() if rail not in line)
    assert open_meter("rpi5_pmic", shows(cut)).available() == f"missing rails: {rail}"


def test_a_current_without_voltage_is_named() -> None:
    cut = "\n".join(line for line in SHOWN.splitlines() if "VDD_CORE_V" not in line)
    with pytest.raises(BadReading, match="no voltage of VDD_CORE"):
        rails_w(cut)


@pytest.mark.parametrize("said", ["", 'error=1 error_msg="Command not registered"\n', "throttled=0x0\n"])
def test_another_board_says_so(said: str) -> None:
    reason = open_meter("rpi5_pmic", shows(said)).available()
    assert reason is not None
    assert "pmic_read_adc says" in reason


def test_no_vcgencmd_is_a_reason() -> None:
    def run(command: Sequence[str]) -> str:
        raise MeterFailed("there is no command 'vcgencmd' here")

    assert open_meter("rpi5_pmic", Board().access(run=run)).available() == "there is no command 'vcgencmd' here"
