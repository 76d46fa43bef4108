"""One network of every family on every target, as `sdk matrix` does it for all: each file answers as PyTorch does."""

import sys
from pathlib import Path

import pytest

import sdk
from exporters import ALL
from models_zoo import MODELS

FAMILIES: dict[str, dict[str, object]] = {
    "ghostnet_050": {"input_size": 96},
    "leyolo_nano": {"input_size": 160},
    "mcunet_in0": {},
    "mobilenet_v2": {"input_size": 96},
    "turbo_vaed_dc": {"inputs": [(1, 128, 2, 2, 2)]},
    "turbo_vaed_ltx": {"inputs": [(1, 128, 2, 2, 2)]},
}
"""Small inputs, because the file's operators are the same. Decoders that keep their first frames, and that do not."""
ELSEWHERE = {"mobilenetv4"}
"""test_export.py has it, as `make demo` does."""


def test_every_family_is_here() -> None:
    families = {name.partition("_")[0] for name in FAMILIES} | ELSEWHERE
    assert {name.partition("_")[0] for name in MODELS} == families


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_target_answers_as_in_pytorch(name: str, tmp_path: Path) -> None:
    result = sdk.export(name, out=tmp_path, jobs=2, **FAMILIES[name])  # type: ignore[arg-type]
    assert result.ok, result.to_dict()
    expected = dict.fromkeys(ALL, "executed") | ({} if sys.platform == "darwin" else {"coreml": "interpreted"})
    assert {row.target: row.status for row in result} == expected
    for row in result:
        assert row.artifact is not None
        assert row.artifact.sqnr_db is not None
        assert row.artifact.sqnr_db >= 80.0, row.target
