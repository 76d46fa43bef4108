"""A runtime that ends its process, in earnest: a package of its name that aborts."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runtime_py import crashes
from tests.runtime_py.test_choice import measured, with_artifacts

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")

ABORTING = """
import os, pathlib
class Core:
    def compile_model(self, *_):
        with open({log!r}, "a") as file:
            file.write("x")
        os.abort()
"""
LOAD = "import sys, runtime_py; s = runtime_py.load(sys.argv[1], strict=len(sys.argv) > 2); print(s.target, '|', s.why)"


class Device:
    """A folder of packages, a cache, and a bundle whose OpenVINO file was measured as the fastest here."""

    def __init__(self, root: Path) -> None:
        self.log, self.cache = root / "log", root / "cache"
        (root / "packages/openvino").mkdir(parents=True)
        (root / "packages/openvino/__init__.py").write_text(ABORTING.format(log=str(self.log)))
        self.bundle = with_artifacts(root / "x.bundle", "openvino", profiles=(measured("openvino", 1.0),))
        project = Path(crashes.__file__).parents[1]
        path = os.pathsep.join([str(root / "packages"), str(project)])
        self.environment = os.environ | {"PYTHONPATH": path, "EDGE_SDK_CACHE": str(self.cache)}

    def load(self, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", LOAD, str(self.bundle), *more]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )  # fmt: skip

    @property
    def crashed(self) -> int:
        return len(self.log.read_text()) if self.log.exists() else 0

    @property
    def notes(self) -> list[Path]:
        return list(self.cache.rglob("*.json"))


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_a_crash_is_passed_over_from_the_second_start_on(device: Device) -> None:
    first = device.load()
    assert first.returncode == -signal.SIGABRT
    assert device.crashed == 1
    second = device.load()
    assert second.returncode == 0, second.stderr
    assert second.stdout.startswith("onnx |")
    assert "FellBack" in second.stderr
    assert "OpenVINO crashes on openvino here: its process ended with SIGABRT" in second.stderr
    assert device.crashed == 2  # in a process of its own
    third = device.load()
    assert third.stdout == second.stdout
    assert device.crashed == 2  # known by now


def test_strict_refuses_it(device: Device) -> None:
    device.load()
    found = device.load("strict")
    assert found.returncode == 1
    assert "Crashed" in found.stderr
    assert str(device.cache) in found.stderr  # what to remove for another try


def test_a_power_cut_while_loading_costs_no_runtime(device: Device) -> None:
    device.load()
    assert len(device.notes) == 1
    shutil.rmtree(device.cache.parent / "packages/openvino")  # with the bytecode that Python may have written there
    found = device.load()  # the real OpenVINO refuses the file, which raises, and is no crash
    assert found.returncode == 0, found.stderr
    assert "crashes" not in found.stderr
    assert device.notes == []


def test_a_note_that_is_cut_off_counts_as_one(device: Device) -> None:
    device.load()
    (note,) = device.notes
    note.write_bytes(b'{"proc')
    assert "SIGABRT" in device.load().stderr


def test_a_living_process_is_no_crash() -> None:
    own = crashes.identity(os.getpid())
    assert crashes.lives(own)
    assert not crashes.lives("")
    assert not crashes.lives(f"{own}x")
    with subprocess.Popen(["sleep", "0"]) as ended:
        identity = crashes.identity(ended.pid)
    assert not crashes.lives(identity)


def test_a_cache_that_cannot_be_written_is_no_error(device: Device) -> None:
    device.environment["EDGE_SDK_CACHE"] = "/proc/none"
    (device.cache.parent / "packages/openvino/__init__.py").write_text("raise ImportError('libtbb')")
    found = device.load()
    assert found.returncode == 0, found.stderr
    assert "OpenVINO refused openvino: libtbb" in found.stderr
