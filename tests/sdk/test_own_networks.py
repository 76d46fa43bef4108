"""Exports of networks that no one has seen: several inputs, and operators that a target lacks."""

from pathlib import Path

import pytest

import sdk

pytestmark = pytest.mark.usefixtures("warm_workers")
NETS = str(Path(__file__).parent / "nets.py")


@pytest.mark.slow
def test_two_inputs_are_not_mixed_up(tmp_path: Path) -> None:
    result = sdk.export(f"{NETS}:two_inputs", inputs=[(1, 8), (1, 6)], out=tmp_path)
    assert result.ok, result.to_dict()
    assert all(row.artifact and (row.artifact.sqnr_db or 0) >= 100.0 for row in result), result.to_dict()


@pytest.mark.slow
def test_an_operator_that_a_target_lacks_fails_that_target_alone(tmp_path: Path) -> None:
    result = sdk.export(f"{NETS}:fourier", inputs=[(1, 64)], out=tmp_path, targets="onnx,tflite,executorch")
    by_target = {row.target: row for row in result}
    failed = [row for row in result if row.status == "failed"]
    assert failed
    assert by_target["onnx"].status == "executed", by_target["onnx"].to_dict()
    for row in failed:
        assert row.error is not None
        text = row.error["given"]
        assert "fft" in text, text
        assert "nets.py" in text, text
        assert row.error["hint"], row.error
    assert result.manifest is not None
    assert {row.target for row in result.manifest.failures} == {row.target for row in failed}
