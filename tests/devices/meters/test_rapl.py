from pathlib import Path

import pytest

from devices.meters import open_meter
from devices.meters.rapl import Unwrapped, packages
from devices.meters.samples import BadReading, Samples, energy_j
from tests.devices.meters.simulated import Board, lay

RANGE_UJ = 262_143_328_850  # of the kernel's documentation, powercap.rst
ZONE = "/sys/class/powercap/intel-rapl:0"


def zones(root: Path, energies_uj: list[int], range_uj: int = RANGE_UJ, folder: str = "/sys/class/powercap") -> None:
    for number, energy in enumerate(energies_uj):
        zone = f"{folder}/intel-rapl:{number}"
        lay(root, {f"{zone}/name": f"package-{number}", f"{zone}/energy_uj": energy})
        lay(root, {f"{zone}/max_energy_range_uj": range_uj})
        lay(root, {f"{zone}:0/name": "core", f"{zone}:0/energy_uj": 77, f"{zone}:0/max_energy_range_uj": range_uj})


def run(root: Path, board: Board, range_uj: int, start_uj: int, seconds: float) -> Samples:
    """The counter of a board at its power, from `start_uj` on."""
    board.before.append(
        lambda: lay(root, {f"{ZONE}/energy_uj": (start_uj + int(board.truth_j * 1e6)) % (range_uj + 1)})
    )
    zones(root, [start_uj], range_uj)
    meter = open_meter("rapl", board.access(root=root))
    meter.start()
    board.advance(seconds)
    return meter.stop()


def test_packages_are_added_and_cores_are_not(tmp_path: Path) -> None:
    zones(tmp_path, [1_000_000, 2_500_000])
    lay(tmp_path, {"/sys/class/powercap/intel-rapl:2/name": "psys", "/sys/class/powercap/intel-rapl:2/energy_uj": 5})
    assert list(packages(Board().access(root=tmp_path))) == ["package-0", "package-1"]
    meter = open_meter("rapl", Board().access(root=tmp_path))
    meter.start()
    assert meter.stop().joules == (3.5,)


def test_zones_may_lie_one_folder_deeper(tmp_path: Path) -> None:
    zones(tmp_path, [4_000_000], folder="/sys/class/powercap/intel-rapl")
    meter = open_meter("rapl", Board().access(root=tmp_path))
    meter.start()
    assert meter.stop().joules == (4.0,)


def test_a_counter_that_starts_over_goes_on(tmp_path: Path) -> None:
    board = Board()
    before_j = board.truth_j
    samples = run(tmp_path, board, range_uj=20_000_000, start_uj=19_000_000, seconds=40.0)  # about 80 J: four turns
    assert samples.joules is not None
    assert samples.joules[-1] - samples.joules[0] == pytest.approx(board.truth_j - before_j, rel=0.01)
    assert energy_j(samples, 505.0, 535.0) == pytest.approx(60.0, rel=0.01)  # 2 W, and whole turns of the ripple


def test_a_value_beyond_the_range_is_no_reading() -> None:
    counter = Unwrapped(100, 90)
    assert [counter.total_uj(value) for value in (95, 3, 50, 50, 2)] == [95, 104, 151, 151, 204]
    with pytest.raises(BadReading, match="101 uJ"):
        counter.total_uj(101)


def test_intel_measures_and_amd_estimates(tmp_path: Path) -> None:
    zones(tmp_path, [1])
    for vendor, kind in (("GenuineIntel", "measured"), ("AuthenticAMD", "estimated")):
        lay(tmp_path, {"/proc/cpuinfo": f"vendor_id\t: {vendor}"})
        assert open_meter("rapl", Board().access(root=tmp_path)).kind == kind


def test_a_virtual_machine_has_none_and_a_user_may_not_read(tmp_path: Path) -> None:
    reason = open_meter("rapl", Board().access(root=tmp_path)).available()
    assert reason == "there is no RAPL package under powercap here"
    zones(tmp_path, [1])
    (tmp_path / f"{ZONE}/energy_uj".lstrip("/")).unlink()
    reason = open_meter("rapl", Board().access(root=tmp_path)).available()
    assert reason is not None
    assert "energy_uj" in reason
