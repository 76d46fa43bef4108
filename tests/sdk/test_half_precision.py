"""Half precision of networks whose numbers nearly leave its range; a file of its own, so that two workers share."""

from pathlib import Path

import pytest

import sdk
from exporters import ALL
from runtime_py.bundle import open_bundle
from tests.exported import NETWORKS, Exported

pytestmark = pytest.mark.usefixtures("warm_workers")


@pytest.mark.slow
def test_fp16_halves_the_files_and_passes_its_gate(tmp_path: Path, exported: Exported) -> None:
    half = sdk.export("leyolo_nano", precision="fp16", out=tmp_path, jobs=2, **NETWORKS["leyolo_nano"])
    assert half.ok, half.to_dict()
    assert {row.target for row in half} == set(ALL)
    whole = {row.target: row for row in open_bundle(exported("leyolo_nano")).manifest.artifacts}
    for row in half:
        assert row.artifact is not None
        # XNNPACK computes in half precision from float32 weights, which is what ExecuTorch therefore stores, and casts.
        limit = 1.1 if row.target == "executorch" else 0.6
        assert row.artifact.bytes < limit * whole[row.target].bytes, row.target
        assert (row.artifact.sqnr_db or 0.0) >= 40.0


@pytest.mark.slow
def test_executorch_s_own_stays_below_the_file_in_float32(tmp_path: Path, exported: Exported) -> None:
    (half,) = sdk.export("mobilenetv4_conv_small", "executorch", precision="fp16", out=tmp_path)
    whole = {row.target: row for row in open_bundle(exported("mobilenetv4_conv_small")).manifest.artifacts}
    assert half.artifact is not None, half.error
    assert half.artifact.bytes < whole["executorch"].bytes
    assert (half.artifact.sqnr_db or 0.0) >= 40.0


@pytest.mark.slow
def test_a_decoder_whose_first_frames_are_dropped(tmp_path: Path) -> None:
    inputs = [(1, 128, 1, 2, 2)]
    result = sdk.export("turbo_vaed_ltx", "executorch,onnx", precision="fp16", inputs=inputs, out=tmp_path, jobs=2)
    assert result.ok, result.to_dict()
    assert all((row.artifact.sqnr_db or 0.0) >= 40.0 for row in result if row.artifact)
