from collections.abc import Mapping
from pathlib import Path

import pytest

from devices.meters import open_meter
from devices.meters.access import Access
from devices.meters.samples import Samples
from devices.meters.tegrastats import rails_w
from tests.devices.meters.simulated import Board, lay, text

Channel = tuple[str, int, int]
ORIN_NANO: list[Channel] = [("VDD_IN", 5072, 1024), ("VDD_CPU_GPU_CV", 5064, 328), ("VDD_SOC", 5064, 280)]
NANO: list[Channel] = [("POM_5V_IN", 5000, 500), ("POM_5V_GPU", 5000, 8), ("POM_5V_CPU", 5000, 110)]
AGX: list[Channel] = [("VDD_GPU_SOC", 19000, 126), ("VDD_CPU_CV", 19000, 21), ("VIN_SYS_5V0", 5000, 606), ("NC", 0, 0)]


def hwmon(
    root: Path, channels: list[Channel], folder: str = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
) -> None:
    files: dict[str, object] = {f"{folder}/in7_label": "Sum of shunt voltages", f"{folder}/in7_input": 9999}
    files |= {f"{folder}/curr7_input": 9999, f"{folder}/name": "ina3221"}
    for number, (label, millivolts, milliamperes) in enumerate(channels, 1):
        files |= {f"{folder}/in{number}_label": label, f"{folder}/in{number}_input": millivolts}
        files[f"{folder}/curr{number}_input"] = milliamperes
    lay(root, files)


def iio(root: Path, channels: list[Channel]) -> None:
    folder = "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    files: dict[str, object] = {}
    for number, (label, millivolts, milliamperes) in enumerate(channels):
        files[f"{folder}/rail_name_{number}"] = label
        files[f"{folder}/in_power{number}_input"] = millivolts * milliamperes // 1000
    lay(root, files)


def once(name: str, access: Access) -> tuple[str, Samples]:
    meter = open_meter(name, access)
    assert meter.available() is None
    meter.start()
    return meter.rail, meter.stop()


@pytest.mark.parametrize("interface", [hwmon, iio])
@pytest.mark.parametrize(
    ("channels", "watts", "rail"),
    [
        (ORIN_NANO, 5.072 * 1.024, "VDD_IN (input of the whole module)"),
        (NANO, 2.5, "POM_5V_IN (input of the whole module)"),
        (AGX, 19 * 0.126 + 19 * 0.021 + 5 * 0.606, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0"),
    ],
)
def test_totals_stand_alone_and_an_agx_orin_has_none(
    tmp_path: Path, interface: object, channels: list[Channel], watts: float, rail: str
) -> None:
    assert callable(interface)
    interface(tmp_path, channels)
    named, samples = once("ina3221", Board().access(root=tmp_path))
    assert named == rail
    assert samples.watts == (pytest.approx(watts, rel=1e-3),)  # iio gives whole mW


@pytest.mark.parametrize("interface", [hwmon, iio])
def test_channels_go_by_label_not_by_number(tmp_path: Path, interface: object) -> None:
    assert callable(interface)
    interface(tmp_path, ORIN_NANO[::-1])
    assert once("ina3221", Board().access(root=tmp_path))[1].watts == (pytest.approx(5.072 * 1.024, rel=1e-3),)


def test_an_agx_orin_with_two_chips_reads_both(tmp_path: Path) -> None:
    hwmon(tmp_path, AGX[:2])
    hwmon(tmp_path, AGX[2:], "/sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4")
    assert once("ina3221", Board().access(root=tmp_path))[1].watts == (
        pytest.approx(19 * 0.126 + 19 * 0.021 + 5 * 0.606),
    )


def test_the_chip_is_found_by_its_class_too(tmp_path: Path) -> None:
    hwmon(tmp_path, ORIN_NANO, "/sys/class/hwmon/hwmon1")
    lay(tmp_path, {"/sys/class/hwmon/hwmon0/name": "nvme", "/sys/class/hwmon/hwmon0/in1_label": "VDD_IN"})
    assert once("ina3221", Board().access(root=tmp_path))[1].watts == (pytest.approx(5.072 * 1.024),)


@pytest.mark.parametrize("interface", [hwmon, iio])
def test_missing_rails_of_an_agx_orin_are_named(tmp_path: Path, interface: object) -> None:
    assert callable(interface)
    interface(tmp_path, [AGX[0], AGX[3]])
    reason = open_meter("ina3221", Board().access(root=tmp_path)).available()
    assert reason == "missing rails: VDD_CPU_CV, VIN_SYS_5V0"


def test_rails_that_are_not_known_are_not_added_up(tmp_path: Path) -> None:
    hwmon(tmp_path, [("VDD_LEFT", 5000, 100), ("VDD_RIGHT", 5000, 100)])
    reason = open_meter("ina3221", Board().access(root=tmp_path)).available()
    assert reason is not None
    assert "VDD_LEFT, VDD_RIGHT" in reason


def test_a_board_without_the_chip_and_a_file_that_is_no_number(tmp_path: Path) -> None:
    assert open_meter("ina3221", Board().access(root=tmp_path)).available() == "there is no INA3221 under hwmon here"
    hwmon(tmp_path, ORIN_NANO)
    lay(tmp_path, {"/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input": ""})
    reason = open_meter("ina3221", Board().access(root=tmp_path)).available()
    assert reason is not None
    assert "curr1_input" in reason


def test_a_rail_that_goes_away_in_the_middle_is_a_gap_with_a_reason(tmp_path: Path) -> None:
    board = Board()
    hwmon(tmp_path, ORIN_NANO)
    meter = open_meter("ina3221", board.access(root=tmp_path))
    meter.start()
    board.advance(1.0)
    (tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_input").unlink()
    board.advance(1.0)
    samples = meter.stop()
    assert max(samples.times_s) < 501.1
    assert "in1_input" in samples.notes[0]


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("nano", {"POM_5V_IN": 2.545, "POM_5V_GPU": 0.0, "POM_5V_CPU": 0.549}),
        ("orin_nano", {"VDD_IN": 1.038, "VDD_CPU_GPU_CV": 0.298, "VDD_SOC": 0.338}),
        ("jetpack7", {"VDD_IN": 3.913, "VDD_CPU_GPU_CV": 0.598, "VDD_SOC": 1.238}),
    ],
)
def test_tegrastats_lines_of_every_form(name: str, watts: Mapping[str, float]) -> None:
    assert rails_w(text(f"tegrastats_{name}.txt")) == pytest.approx(dict(watts))


def test_memory_in_tegrastats_is_no_power() -> None:
    assert rails_w("RAM 1766/3964MB (lfb 197x4MB) SWAP 0/2048MB (cached 0MB) IRAM 0/252kB(lfb 252kB)") == {}


@pytest.mark.parametrize(
    ("name", "watts"),
    [("nano", 2.545), ("orin_nano", 1.038), ("jetpack7", 3.913), ("agx_orin", 2.390 + 0.398 + 3.028)],
)
def test_tegrastats_gives_the_power_of_the_board(name: str, watts: float) -> None:
    board = Board()
    follow = board.stream(0.1, lambda: text(f"tegrastats_{name}.txt").splitlines())
    _, samples = once("tegrastats", board.access(follow=follow, has=lambda program: program == "tegrastats"))
    assert samples.watts == (pytest.approx(watts),)


def test_tegrastats_that_loses_a_rail_is_noted_by_name() -> None:
    board = Board()
    whole = text("tegrastats_agx_orin.txt").strip()
    said = [whole, whole.replace("VDD_CPU_CV", "VDD_OTHER")]
    follow = board.stream(0.1, lambda: [said[board.now_s > 501]])
    meter = open_meter("tegrastats", board.access(follow=follow, has=lambda program: True))
    meter.start()
    board.advance(2.0)
    samples = meter.stop()
    assert max(samples.times_s) <= 501
    assert "missing rails: VDD_CPU_CV" in samples.notes[0]


def test_no_tegrastats() -> None:
    reason = open_meter("tegrastats", Board().access(has=lambda program: False)).available()
    assert reason is not None
    assert "JetPack" in reason
