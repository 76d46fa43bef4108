"""Exports in integers, through the runtimes themselves."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sdk
from exporters import ALL
from runtime_py.bundle import Bundle, open_bundle
from runtime_py.errors import SdkError
from runtime_py.manifest import Manifest
from sdk.progress import Progress
from sdk.results import TargetResult
from tests.exported import Exported

pytestmark = pytest.mark.usefixtures("warm_workers")

NETS = str(Path(__file__).parent / "nets.py")
SHAPE = (1, 3, 32, 48)


@pytest.fixture(scope="module")
def photos(common_photos: Path) -> Path:
    """Forty images of two classes, one of them damaged."""
    return common_photos


@pytest.fixture(scope="module")
def quantised(exported: Exported) -> Bundle:
    """Attention, squeeze-excite, two outputs, on every target."""
    return open_bundle(exported("mixed_w8a8"))


@pytest.mark.slow
def test_every_target_answers_as_the_quantised_program_does(quantised: Bundle) -> None:
    rows = quantised.manifest.artifacts
    assert {row.target for row in rows if row.status != "failed"} == set(ALL)
    assert quantised.manifest.failures == ()
    for row in rows:
        assert row.fidelity_db is not None
        # A step apart here and there where a value lies between two: some 20 dB; a wrong graph is below 5.
        assert row.fidelity_db > 12.0, row.target
        assert {proof.input for proof in row.proofs} >= {"photo", "sample0", "sample3"}


@pytest.mark.slow
def test_the_record_says_how_it_was_made(quantised: Bundle) -> None:
    record = quantised.manifest.quantization
    assert record is not None
    assert record.scheme == "w8a8"
    assert len(record.program_sha256) == 64
    assert record.calibration is not None
    assert record.calibration.count == 39
    assert len(record.calibration.skipped) == 1
    assert "39.png" in record.calibration.skipped[0]
    assert sum(trial.chosen for trial in record.trials) == 1
    assert record.int8_macs == 1.0


@pytest.mark.slow
def test_verify_proves_it_again_from_the_bundle_alone(quantised: Bundle) -> None:
    result = sdk.verify(quantised.path)
    assert result.ok, result.to_dict()
    assert all(row.artifact and row.artifact.fidelity_db is not None for row in result)


@pytest.mark.slow
def test_a_second_export_takes_the_program_from_the_cache(
    quantised: Bundle, photos: Path, common_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(common_folder / "cache"))
    said: list[str] = []
    again = sdk.export(
        f"{NETS}:mixed", "onnx", inputs=[SHAPE], precision="w8a8", calibration=photos, calibration_size=40,
        out=tmp_path, progress=Progress(say=said.append),
    )  # fmt: skip
    assert again.ok, again.to_dict()
    assert any("taken from the cache" in text for text in said), said
    assert again.manifest is not None
    assert again.manifest.quantization == quantised.manifest.quantization


@pytest.mark.slow
def test_mixed_goes_on_where_a_file_loses_more_than_its_program(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first files are said to have lost too much: the next program has layers in float, and says what was tried."""
    from sdk import rounds
    from sdk.gating import AccuracyLost, gated

    def strict_once(rows: tuple[TargetResult, ...], manifest: Manifest, *others: Any) -> tuple[TargetResult, ...]:
        found = gated(rows, manifest, *others)
        if manifest.quantization is None or manifest.quantization.int8_macs < 1.0:
            return found
        lost = AccuracyLost("much").to_dict()
        return tuple(replace(row, status="failed", error=lost) for row in found)

    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(rounds, "gated", strict_once)
    said: list[str] = []
    made = sdk.export(
        f"{NETS}:shades", ("onnx", "tflite"), inputs=[(1, 3, 48, 64)], precision="mixed", calibration=photos,
        calibration_size=40, labels=["even", "odd", *(f"other{index}" for index in range(8))], eval_data=photos,
        max_drop=100.0, out=tmp_path, progress=Progress(say=said.append),
    )  # fmt: skip
    assert made.ok, made.to_dict()
    assert any("keeping more in float" in text for text in said), said
    assert sum(text.startswith("measuring what each rounding") for text in said) == 1, "the second round knows it"
    assert made.manifest is not None
    record = made.manifest.quantization
    assert record is not None
    tried = [trial for trial in record.trials if trial.scored]
    assert [trial.files_drop is not None for trial in tried] == [False, True, True]
    assert [trial.chosen for trial in tried] == [False, False, True]
    assert tried[2].int8_macs == record.int8_macs < 1.0
    assert any(layer.kept for layer in record.layers)
    assert sdk.verify(made.bundle or "").ok


def test_integers_need_data_to_calibrate_on(tmp_path: Path) -> None:
    with pytest.raises(SdkError, match="without --calibration"):
        sdk.export(f"{NETS}:mixed", "onnx", inputs=[SHAPE], precision="w8a8", out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_floats_need_none(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SdkError, match="--calibration with --precision fp32"):
        sdk.export(f"{NETS}:mixed", "onnx", inputs=[SHAPE], calibration=photos, out=tmp_path)


@pytest.mark.slow
def test_too_little_data_is_refused_before_anything_is_lowered(photos: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    few.mkdir()
    for index, path in enumerate(sorted(photos.rglob("*.png"))[:10]):
        (few / f"{index}.png").write_bytes(path.read_bytes())
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", "sdk", "export", f"{NETS}:mixed", "--input", "1,3,32,48", "--target", "onnx",
         "--precision", "w8a8", "--calibration", str(few), "--out", str(out), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["id"] == "bad-calibration"
    assert not list(out.glob("*"))


def test_a_bundle_of_the_schema_before_is_read(bundle_1_0: Path) -> None:
    opened = open_bundle(bundle_1_0)
    assert opened.manifest.schema_version == "1.0"
    assert opened.manifest.quantization is None
    assert all(artifact.accuracy is None for artifact in opened.manifest.artifacts)


@pytest.fixture
def bundle_1_0(tmp_path: Path) -> Path:
    """What version 1.0 wrote, field by field: no `quantization`, no `fidelity_db`, `accuracy`, `contents`."""
    from runtime_py.bundle import MANIFEST, MANIFEST_HASH, _hash_line

    folder = tmp_path / "old.bundle"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(b"0123")
    digest = "1be2e452b46d7a0d9656bbb1f768e8248eba1b75baed65f5d99eafa948899a6a"  # of 0123, by sha256sum
    artifact = {"target": "onnx", "precision": "fp32", "file": "net.onnx", "bytes": 4, "sha256": digest,
                "status": "executed", "sqnr_db": 120.0, "proofs": [
                    {"input": "random", "sqnr_db": 120.0, "cosine": 1.0, "max_error": 0.0, "top1": 1.0}]}  # fmt: skip
    manifest = {"schema_version": "1.0", "model": "net", "inputs": [{"name": "x", "shape": [1, 4]}],
                "outputs": [{"name": "y", "shape": [1, 2]}], "artifacts": [artifact]}  # fmt: skip
    text = json.dumps(manifest).encode()
    (folder / MANIFEST).write_bytes(text)
    (folder / MANIFEST_HASH).write_bytes(_hash_line(text))
    return folder
