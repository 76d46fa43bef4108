"""One suite for all targets: what they write must answer as PyTorch does, in their own runtimes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporters import TARGETS, load_exporter
from exporters.base import Exporter, LoweringFailed, Options, UnsupportedOperators
from runtime_py.errors import MissingExtra

LEAST_DB = {"fp32": 100.0, "fp16": 40.0}
"""fp32 leaves room for another order of summation; fp16 is the least that the product accepts."""


@pytest.fixture
def exporter(target: str) -> Exporter:
    return load_exporter(target)


def sqnr_db(reference: np.ndarray, answer: np.ndarray) -> float:
    """Signal to noise of an answer in dB; infinite where identical."""
    assert reference.shape == answer.shape
    assert answer.dtype == np.float32
    noise = ((reference.astype(np.float64) - answer) ** 2).sum()
    return float(10 * np.log10((reference.astype(np.float64) ** 2).sum() / noise)) if noise else float("inf")


def least_sqnr_db(program: Any, options: Options, artifact: Path, lowered: Any, run: Callable[..., Any]) -> float:
    """The worst output's agreement with PyTorch on fresh noise."""
    (sample,) = program.example_inputs[0]
    x = torch.randn(sample.shape, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        references = torch.utils._pytree.tree_leaves(program.module()(x))
    answers = run(artifact, {lowered.inputs[0]: x.numpy()})
    if set(answers) >= set(lowered.outputs):
        ordered = [answers[name] for name in lowered.outputs]
    else:  # a runtime that numbers its outputs
        ordered = list(answers.values())
    assert len(ordered) == len(options.output_names)
    return min(
        sqnr_db(reference.numpy(), np.asarray(answer)) for reference, answer in zip(references, ordered, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_foreign_network_answers_as_in_pytorch(
    precision: str, exporter: Exporter, capture: Any, run: Any, tmp_path: Path
) -> None:
    program = capture("TwoHeads", (1, 3, 32, 48))
    options = Options(precision, ("image",), ("logits", "mask"))
    artifact = tmp_path / f"net{exporter.suffix}"
    lowered = exporter.lower(program, options, artifact)
    assert (len(lowered.inputs), len(lowered.outputs)) == (1, 2)
    assert least_sqnr_db(program, options, artifact, lowered, run) >= LEAST_DB[precision]
    if lowered.operators_total is not None:
        outside = sum(lowered.not_delegated.values())
        assert lowered.operators_delegated == lowered.operators_total - outside > outside


@pytest.mark.slow
def test_conv3d_answers_as_in_pytorch(exporter: Exporter, capture: Any, run: Any, tmp_path: Path) -> None:
    program = capture("Volume", (1, 1, 8, 12, 16))
    options = Options("fp32", ("volume",), ("features",))
    artifact = tmp_path / f"volume{exporter.suffix}"
    lowered = exporter.lower(program, options, artifact)
    assert least_sqnr_db(program, options, artifact, lowered, run) >= LEAST_DB["fp32"]


def test_a_slice_of_everything_answers_as_in_pytorch(
    exporter: Exporter, capture: Any, run: Any, tmp_path: Path
) -> None:
    program = capture("Slices", (1, 3, 4, 5))
    options = Options("fp32", ("image",), ("doubled",))
    artifact = tmp_path / f"slices{exporter.suffix}"
    assert exporter.check(program) == []
    lowered = exporter.lower(program, options, artifact)
    assert least_sqnr_db(program, options, artifact, lowered, run) >= LEAST_DB["fp32"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "operator", "code"),
    [("CallsSvd", "linalg_svd", "torch.linalg.svd(x * 2)"), ("CallsCustom", "mirror", "mirror(x * 2)")],
)
def test_an_operator_that_a_target_lacks_is_named_with_its_line(
    kind: str, operator: str, code: str, exporter: Exporter, capture: Any, tmp_path: Path
) -> None:
    program = capture(kind, (1, 3, 8, 8))
    artifact = tmp_path / f"refused{exporter.suffix}"
    (found,) = exporter.check(program)
    assert operator in found.operator
    assert "conftest.py:" in found.source
    assert code in found.source
    assert found.way_out
    with pytest.raises(UnsupportedOperators) as caught:
        exporter.lower(program, Options("fp32", ("x",), ("y",)), artifact)
    assert found.operator in caught.value.given
    assert found.source in caught.value.given
    assert caught.value.hint == found.way_out


def test_a_missing_package_says_which_extra_to_install(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters.find_spec", lambda package: None)
    with pytest.raises(MissingExtra, match=r"not installed") as caught:
        load_exporter(target)
    assert f"[{TARGETS[target].extra}]" in caught.value.hint


def test_a_converters_reason_skips_its_own_source_lines(capture: Any) -> None:
    error = RuntimeError("Check 'false' failed at src/core/shape.cpp:26:\naten.mul.Tensor has no rule for this rank")
    failed = LoweringFailed.of("OpenVINO", error, capture("CallsCustom", (1, 3, 8, 8)))
    assert failed.given.startswith("OpenVINO: aten.mul.Tensor has no rule")
    assert "mirror(x * 2)" in failed.given
