"""Cells of integers: the program's figures from the bundle, and a refusal's from its words."""

import math
from pathlib import Path

import pytest

from runtime_py.manifest import Quantization
from runtime_py.proof import GATE_DB, LOWERING_DB
from sdk.gating import AccuracyLost, check_quality
from sdk.matrix.runner import _unmade, run_tasks


@pytest.mark.parametrize("agreement", [0.5, None])
def test_a_refusal_keeps_its_figures(agreement: float | None) -> None:
    """From the words of the gate itself."""
    with pytest.raises(AccuracyLost) as caught:
        check_quality(Quantization(scheme="w8a8", program_sha256="", sqnr_db=-4.24, agreement=agreement))
    cell = _unmade("mcunet_in0", "w8a8", "onnx", caught.value.to_dict())
    assert (cell.status, cell.proven) == ("refused", False)
    assert cell.integers
    assert (cell.integers.program_db, cell.integers.agreement) == (-4.2, agreement)
    assert cell.why == caught.value.given


def test_what_broke_is_no_refusal() -> None:
    cell = _unmade("mcunet_in0", "w8a8", "onnx", {"id": "quantising-failed", "given": "ZeroDivisionError"})
    assert (cell.status, cell.why) == ("failed", "ZeroDivisionError")
    assert not cell.integers


@pytest.mark.slow
def test_a_row_of_integers_is_proven_against_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MCUNet-in0 of random weights: small, and with 1000 outputs, so that its SQNR is no matter of chance."""
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path))
    (cells,) = run_tasks([("mcunet_in0", "w8a8", ("tflite", "onnx"))], 2, lambda _: None)
    assert {cell.target: cell.status for cell in cells} == {"tflite": "executed", "onnx": "executed"}, cells
    for cell in cells:
        assert cell.integers
        kept, program = cell.integers.fidelity_db, cell.integers.program_db
        assert kept is not None
        assert program is not None
        assert program >= GATE_DB["w8a8"]
        assert cell.sqnr_db is not None
        assert cell.sqnr_db >= GATE_DB["w8a8"]
        # the gate lets the whole error be LOWERING_DB above the program's own; as powers add up, what lowering adds is
        # then this much above it; 3 dB more, as the worst golden input stands beside the mean of the held-out samples
        assert kept >= program - 10 * math.log10(10 ** (LOWERING_DB / 10) - 1) - 3.0
        assert cell.bytes is not None
        assert cell.bytes < 2_000_000, "a byte a parameter, of 749,840, and what else the file holds"
