"""The wheel on an emulated arm64 Raspberry Pi: every kind of bundle, in every runtime that has an arm64 wheel there."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import runtime_py
from runtime_py.proof import sqnr_db
from tests import emulated_pi
from tests.emulated_pi import BOARDS, Pi
from tests.exported import Exported, only

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(emulated_pi.missing()), reason=emulated_pi.missing() or "here")]

TARGETS = "tflite,onnx,openvino"
BUNDLES = {
    "classify": ("mobilenetv4_conv_small", TARGETS),
    "detect": ("leyolo_nano", TARGETS),
    "video": ("turbo_vaed_dc", "tflite"),
    "raw_w8a8": ("mixed_w8a8", TARGETS),
}
"""Of each kind a network of tests.exported, and its artifacts that go to the board."""
SMALL_BOARD_MB = 512
"""For classifiers and detectors. On a real board of that size the emulator's own memory would be free besides."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, exported: Exported) -> dict[str, Path]:
    """One of each kind."""
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: only(exported(name), targets, folder / kind, golden=2) for kind, (name, targets) in BUNDLES.items()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emulated_pi.wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def work(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the board sees at /board."""
    folder = tmp_path_factory.mktemp("work")
    for kind, bundle in bundles.items():
        shutil.copytree(bundle, folder / f"{kind}.bundle")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def sdk_there(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emulated_pi.installed(wheel, tmp_path_factory.mktemp("installed"))


@pytest.fixture
def board(request: pytest.FixtureRequest, work: Path, sdk_there: Path) -> Iterator[Pi]:
    with emulated_pi.pi(getattr(request, "param", "pi5"), sdk_there, work) as found:
        yield found


def verified(board: Pi, kind: str, **how: Any) -> dict[str, Any]:
    done = board.run("python3", "-m", "runtime_py", "verify", f"/board/{kind}.bundle", "--json", **how)
    assert done.stdout, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_wheel_takes_four_packages_to_a_device_and_no_tests(wheel: Path) -> None:
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        lines = archive.read(metadata).decode().splitlines()
    needed = [line for line in lines if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert sorted(line.split()[1].split(">")[0].lower() for line in needed) == ["msgspec", "numpy", "pillow"]
    assert not [name for name in names if name.startswith(("tests", "apps"))]
    assert {"runtime_py/__main__.py", "runtime_py/py.typed", "devices/agent.py"} <= set(names)


@pytest.mark.parametrize("kind", BUNDLES)
def test_every_kind_of_bundle_answers_as_here(kind: str, board: Pi) -> None:
    """Classifiers and detectors in what a board of 512 MB has."""
    small = kind in ("classify", "detect")
    found = verified(board, kind, data_mb=SMALL_BOARD_MB if small else None)
    assert found["device"] == BOARDS["pi5"].model
    assert found["ok"], found
    assert {row["target"]: (row["status"], row["why"]) for row in found["rows"]} == dict.fromkeys(
        BUNDLES[kind][1].split(","), ("executed", "")
    )
    for row in found["rows"]:
        assert row["sqnr_db"] > row["exported_sqnr_db"] - 12.0, row  # other kernels round otherwise


@pytest.mark.parametrize("board", ["pi4", "zero2"], indirect=True)
def test_older_boards_too(board: Pi) -> None:
    found = verified(board, "raw_w8a8")
    rows = {row["target"]: row for row in found["rows"]}
    assert (rows["tflite"]["status"], rows["onnx"]["status"]) == ("executed", "executed"), rows
    # OpenVINO 2026.4 compiles no int8 network for cores without dot products
    assert rows["openvino"]["status"] == "executed" or "not initialized" in rows["openvino"]["why"]


@pytest.mark.parametrize("board", ["zero2"], indirect=True)
def test_the_smallest_board_answers_a_photo(board: Pi) -> None:
    done = board.run("python3", "-m", "runtime_py", "run", "/board/classify.bundle", "/board/photo.png")
    assert done.returncode == 0, done.stderr


def test_the_choice_is_litert_and_its_answers_those_of_x86_within_a_hundredth(
    board: Pi, bundles: dict[str, Path]
) -> None:
    code = (
        "import numpy, runtime_py\n"
        "with runtime_py.load('/board/classify.bundle') as session:\n"
        "    print(session.why)\n"
        "    numpy.save('/board/scores.npy', session('/board/photo.png').scores)\n"
        "    numpy.save('/board/input.npy', session.prepare('/board/photo.png')[0])\n"
    )
    done = board.run("python3", "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tflite: the order for Arm"), done.stderr
    with runtime_py.load(bundles["classify"], "tflite") as session:
        here, given = session(board.work / "photo.png").scores, session.prepare(board.work / "photo.png")[0]
    assert np.load(board.work / "input.npy").tobytes() == given.tobytes()  # preprocessing to the last bit
    assert sqnr_db(here.astype(np.float64), np.load(board.work / "scores.npy").astype(np.float64)) > 80.0


def test_a_processor_that_claims_too_much_ends_with_a_clear_word(work: Path, sdk_there: Path) -> None:
    """A Cortex-A53 under the /proc/cpuinfo of an A76: runtimes take instructions that it does not have."""
    with emulated_pi.pi("zero2", sdk_there, work) as honest:
        liar = Pi(honest.root, honest.board, honest.work, honest.places, claims=BOARDS["pi5"].cpuinfo)
        done = liar.run("python3", "-m", "runtime_py", "verify", "/board/raw_w8a8.bundle", "--json", timeout=200)
    found = json.loads(done.stdout)
    assert done.returncode == 1
    crashed = [row for row in found["rows"] if row["status"] == "failed"]
    assert crashed
    assert all("crashes on this processor" in row["why"] for row in crashed)
