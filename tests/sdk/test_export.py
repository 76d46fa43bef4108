"""Whole exports, through the runtimes themselves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import runtime_py
import sdk
from exporters import ALL
from runtime_py.bundle import check_files, open_bundle
from runtime_py.errors import SdkError, UnknownName
from sdk.results import ExportResult
from tests.exported import Exported

NETS = str(Path(__file__).parent / "nets.py")
ROOT = Path(__file__).parents[2]


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "sdk", *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """A network that the zoo does not have, on every target."""
    out = tmp_path_factory.mktemp("mixed")
    return sdk.export(f"{NETS}:mixed", inputs=[(1, 3, 32, 48)], out=out)


@pytest.fixture(scope="module")
def demo(exported: Exported) -> Path:
    """What `make demo` exports."""
    return exported("mobilenetv4_conv_small")


@pytest.mark.slow
def test_a_network_of_ones_own_is_proven_on_all_five(mixed: ExportResult) -> None:
    assert mixed.ok, mixed.to_dict()
    statuses = {row.target: row.status for row in mixed}
    mac = sys.platform == "darwin"
    assert statuses == dict.fromkeys(ALL, "executed") | {"coreml": "executed" if mac else "interpreted"}
    for row in mixed:
        assert row.artifact is not None
        assert row.artifact.sqnr_db is not None
        assert row.artifact.sqnr_db >= 100.0, row.target
        assert {proof.input for proof in row.artifact.proofs} == {"photo", "random", "zeros", "saturated"}


@pytest.mark.slow
def test_every_runtime_answers_by_the_manifests_names(mixed: ExportResult) -> None:
    from runtime_py.golden import load_golden

    assert mixed.bundle is not None
    bundle = open_bundle(mixed.bundle)
    golden = load_golden(bundle.path / "golden.npz", bundle.manifest)
    for target in ("tflite", "onnx", "openvino"):
        with runtime_py.load(mixed.bundle, target) as session:
            assert session.spec.inputs[0].name == "picture"
            found = session.run({"picture": golden.inputs["random"]["picture"]})
        assert list(found) == ["scores", "features"]
        np.testing.assert_allclose(found["features"], golden.outputs["random"]["features"], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_demo_bundle_verifies_and_answers(demo: Path) -> None:
    manifest = open_bundle(demo).manifest
    assert {row.target for row in manifest.artifacts} == set(ALL)
    assert all((row.sqnr_db or 0.0) >= 100.0 for row in manifest.artifacts)
    again = sdk.verify(demo)
    assert again.ok, again.to_dict()
    assert [row.status for row in again] == [row.status for row in manifest.artifacts]
    photos = ROOT / "sdk" / "photos"
    for target in ("tflite", "onnx", "openvino", "executorch"):
        done = run_cli(
            "run",
            str(demo),
            str(photos / "chelsea.png"),
            str(photos / "coffee.png"),
            "--target",
            target,
            "--json",
        )
        assert done.returncode == 0, done.stderr
        cat, coffee = json.loads(done.stdout)
        assert cat["top"][0]["label"] in ("tabby, tabby cat", "Egyptian cat")
        assert coffee["top"][0]["label"] == "espresso"


@pytest.mark.slow
def test_a_flipped_byte_in_every_file_fails_verification(demo: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy.bundle"
    shutil.copytree(demo, copy)
    files = [path for path in sorted(copy.rglob("*")) if path.is_file()]
    assert len(files) >= 9
    for path in files:
        whole = path.read_bytes()
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        with pytest.raises(SdkError) as caught:
            sdk.verify(copy)
        assert path.relative_to(copy).parts[0] in str(caught.value), path
        path.write_bytes(whole)
    check_files(open_bundle(copy), complete=True)


def test_unknown_words_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean coreml"):
        sdk.export("mobilenetv4_conv_small", "coremll", out=tmp_path)
    with pytest.raises(UnknownName, match="did you mean fp16"):
        sdk.export("mobilenetv4_conv_small", "onnx", precision="fp61", out=tmp_path)
    with pytest.raises(SdkError, match="no target"):
        sdk.export("mobilenetv4_conv_small", "", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "owned"),)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SdkError, match="could not be read as weights"):
        sdk.export("mobilenetv4_conv_small", "onnx", weights=str(tmp_path / "evil.pth"), out=tmp_path / "out")
    assert not (tmp_path / "owned").exists()


def test_errors_of_the_command_line_have_no_traceback(tmp_path: Path) -> None:
    done = run_cli("export", "mobilenetv4_conv_smal", "-t", "onnx", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "did you mean mobilenetv4_conv_small" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "during"), [("fp32", "lowering"), ("w8a8", "quantising")])
def test_an_interrupt_leaves_nothing_and_no_process(tmp_path: Path, precision: str, during: str) -> None:
    import psutil

    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    out.mkdir()
    rng = np.random.default_rng(0)
    for index in range(16):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photos / f"{index}.png")
    command = [sys.executable, "-m", "sdk", "export", "mobilenetv4_conv_small", "-t", "executorch"]
    command += ["--precision", precision, "--out", str(out)]
    command += ["--calibration", str(photos)] if precision == "w8a8" else []
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit SIG_IGN
    try:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert process.stderr is not None
    for line in process.stderr:
        if during in line:
            break
    time.sleep(1.0)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert list(out.iterdir()) == []
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
