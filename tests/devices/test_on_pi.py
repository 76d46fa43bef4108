"""The look's script in the shell, the tools and the Python of Debian on arm64: function, never speed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.probing import Probe, probe
from tests import emulated_pi
from tests.emulated_pi import BOARDS, Pi, pi

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(emulated_pi.missing()), reason=emulated_pi.missing() or "here")]
PROFILES = {"pi5": "rpi5", "pi4": "rpi4", "zero2": "rpi_zero2"}


@pytest.fixture(params=PROFILES)
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Pi]]:
    (tmp_path / "sdk").mkdir()
    with pi(request.param, tmp_path / "sdk", tmp_path / "work") as found:
        yield PROFILES[request.param], found


def probed(board: Pi) -> Probe:
    return probe("emulated", lambda script: board.run("sh", "-c", script).stdout)


def test_the_board_is_recognised_with_its_runtimes(board: tuple[str, Pi]) -> None:
    name, machine = board
    found = probed(machine)
    assert (found.profile, found.doubts) == (name, ())
    assert (found.machine, found.cores) == ("aarch64", 4)
    assert ("dotprod" in found.isa) == (name == "rpi5")
    assert found.system.startswith("Debian")
    assert found.python is not None
    versions = {row.target: row.version for row in found.runtimes}
    assert versions["tflite"]
    assert versions["onnx"]


def test_a_board_with_another_processor_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "sdk").mkdir()
    with pi("zero2", tmp_path / "sdk", tmp_path / "work") as machine:
        lying = BOARDS["zero2"].cpuinfo.replace(BOARDS["zero2"].model, BOARDS["pi5"].model)
        found = probed(Pi(machine.root, machine.board, machine.work, machine.places, claims=lying))
    assert found.profile == "rpi5"
    assert any("cortex-a53" in doubt for doubt in found.doubts)
