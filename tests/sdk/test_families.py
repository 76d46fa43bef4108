"""Every family's operators on every target, as `sdk matrix` does it for all networks: files answer as PyTorch does."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import sdk
from exporters import ALL
from models_zoo import MODELS, create_model
from runtime_py.bundle import open_bundle
from tests.exported import NETWORKS, Exported

pytestmark = pytest.mark.usefixtures("warm_workers")

FAMILIES: dict[str, dict[str, Any]] = {
    "ghostnet_050": {"input_size": 96},
    "leyolo_nano": NETWORKS["leyolo_nano"],
    "mcunet_in0": {},
    "mobilenet_v2": {"input_size": 96, "targets": "coreml,openvino"},
    "turbo_vaed_dc": NETWORKS["turbo_vaed_dc"],
    "turbo_vaed_ltx": {"inputs": [(1, 128, 2, 1, 1)], "targets": "openvino,tflite"},
}
"""Small inputs, because the file's operators are the same. Decoders that keep their first frames, and that do not; the
latter goes through two more targets in test_half_precision.py."""
AS = {"mobilenet_v2": "mcunet_in0", "turbo_vaed_ltx": "turbo_vaed_dc"}
"""Families that have no operator beside those of another one, which goes through every target; so two will do."""
ELSEWHERE = {"mobilenetv4"}
"""test_export.py has it, as `make demo` does."""


def test_every_family_is_here() -> None:
    families = {name.partition("_")[0] for name in FAMILIES} | ELSEWHERE
    assert {name.partition("_")[0] for name in MODELS} == families


@pytest.mark.parametrize("name", AS)
def test_what_skips_a_target_has_another_familys_operators(name: str) -> None:
    assert "targets" not in FAMILIES[AS[name]]
    assert operators(name) <= operators(AS[name])
    assert {one for one in FAMILIES if "targets" in FAMILIES[one]} == set(AS)


def operators(name: str) -> set[str]:
    spec = MODELS[name]
    size = FAMILIES[name].get("input_size", spec.input_size)
    (shape,) = FAMILIES[name].get("inputs", [(1, 3, size, size)])
    program = torch.export.export(create_model(name).eval(), (torch.zeros(shape),))
    return {str(node.target) for node in program.graph.nodes if node.op == "call_function"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_target_answers_as_in_pytorch(name: str, tmp_path: Path, exported: Exported) -> None:
    if name in NETWORKS:
        bundle = exported(name)
    else:
        result = sdk.export(name, out=tmp_path, jobs=2, **FAMILIES[name])
        assert result.ok, result.to_dict()
        assert result.bundle is not None
        bundle = result.bundle
    manifest = open_bundle(bundle).manifest
    targets = FAMILIES[name].get("targets", ",".join(ALL)).split(",")
    interpreted = {"coreml"} if sys.platform != "darwin" else set()
    expected = {target: "interpreted" if target in interpreted else "executed" for target in targets}
    assert {row.target: row.status for row in manifest.artifacts} == expected
    assert manifest.failures == ()
    for row in manifest.artifacts:
        assert row.sqnr_db is not None
        assert row.sqnr_db >= 80.0, row.target
