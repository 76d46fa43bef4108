"""Half precision of networks whose numbers nearly leave its range; a file of its own, so that two workers share."""

from pathlib import Path

import pytest

import sdk


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "targets", "inputs"),
    [
        ("leyolo_nano", "all", {"input_size": 160}),
        ("turbo_vaed_ltx", "executorch,onnx", {"inputs": [(1, 128, 2, 2, 2)]}),
    ],
)
def test_half_precision_passes_its_gate(name: str, targets: str, inputs: dict[str, object], tmp_path: Path) -> None:
    result = sdk.export(name, targets, precision="fp16", out=tmp_path, jobs=2, **inputs)  # type: ignore[arg-type]
    assert result.ok, result.to_dict()
