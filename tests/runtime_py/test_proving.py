"""What a device says of a bundle, and of itself: `python -m runtime_py`."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime_py import proving
from runtime_py.bundle import CorruptBundle
from runtime_py.proving import verify
from tests.runtime_py.colours import WEIGHT, make_bundle
from tests.runtime_py.test_choice import with_artifacts

pytest.importorskip("onnxruntime", reason="the small bundle runs in ONNX Runtime")


def said(*words: str, code: int = 0) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "runtime_py", *words], capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if "--json" in words else done.stdout + done.stderr


def test_a_good_bundle(bundle: Path) -> None:
    found = verify(bundle, threads=1)
    (row,) = found["rows"]
    assert found["ok"]
    assert (row["target"], row["status"], row["why"]) == ("onnx", "executed", "")
    assert row["sqnr_db"] > 100
    assert row["p50_ms"] > 0
    assert 20 < row["peak_rss_mb"] < 500


def test_wrong_answers(tmp_path: Path) -> None:
    found = verify(make_bundle(tmp_path / "x.bundle", weight=WEIGHT * 2))
    assert not found["ok"]
    assert "SQNR" in found["rows"][0]["why"]


def test_what_has_no_runtime_here_is_absent_and_code_is_not_run(tmp_path: Path) -> None:
    found = verify(with_artifacts(tmp_path / "x.bundle", "coreml", "mcu", "tflite"))
    status = {row["target"]: row["status"] for row in found["rows"]}
    if sys.platform != "darwin":
        assert status == {"onnx": "executed", "coreml": "absent", "mcu": "absent", "tflite": "failed"}
    assert not found["ok"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL: the runtime crashes on this processor"),
        ("raise SystemExit(139)", "SIGSEGV"),  # as an emulator passes it on
        ("raise SystemExit('no space left')", "no space left"),
        ("raise SystemExit(9)", "its process ended with 9"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
    ],
)
def test_a_process_that_gives_no_answer(script: str, words: str, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "PROVE", script)
    monkeypatch.setattr(proving, "MOST_SECONDS", 1 if "sleep" in script else 60)
    found = verify(bundle)
    assert words in found["rows"][0]["why"]
    assert not found["ok"]


def test_a_changed_bundle_reaches_no_runtime(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "proven_alone", lambda *_: pytest.fail("a runtime was reached"))
    (bundle / "colours.onnx").write_bytes(b"x")
    with pytest.raises(CorruptBundle):
        verify(bundle)


def test_as_it_is_typed(bundle: Path, tmp_path: Path) -> None:
    assert said("verify", str(bundle), "--json")["ok"]
    text = said("verify", str(bundle))
    assert "colours on" in text
    assert "executed" in text
    Image.fromarray(np.full((9, 9, 3), (255, 0, 0), np.uint8)).save(tmp_path / "red.png")
    assert "red.png: red" in said("run", str(bundle), str(tmp_path / "red.png"))
    found = said("info", "--json")
    assert found["runtimes"]["onnx"]["why_not"] is None
    assert found["runtimes"]["onnx"]["version"] in said("info")


def test_mistakes_are_told_without_a_traceback(bundle: Path, tmp_path: Path) -> None:
    (bundle / "golden.npz").write_bytes(b"x")
    assert "sha256" in said("verify", str(bundle), code=1)
    assert said("verify", str(bundle), "--json", code=1)["error"]["id"] == "corrupt-bundle"
    assert "does not exist" in said("run", str(tmp_path / "none.bundle"), "x.png", code=1)
