"""Packages for the interpreter: converted from torch, or built operator by operator, and saved."""

import gc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exporters.mil.package import read_program
from exporters.mil.program import Program


@pytest.fixture(scope="session")
def ct() -> Any:
    module = pytest.importorskip("coremltools", reason="Core ML packages are made with coremltools")
    gc.freeze()  # every conversion collects garbage; looking through all imported libraries takes 0.25 s
    return module


@pytest.fixture(scope="session")
def convert(ct: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Export a module with torch.export, convert it, save it, and give the package's path."""

    def run(module: torch.nn.Module, *inputs: torch.Tensor, target: str = "iOS17", precision: str = "FLOAT32") -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.export.export(module.eval(), inputs).run_decompositions({})
            model = ct.convert(
                exported,
                convert_to="mlprogram",
                minimum_deployment_target=getattr(ct.target, target),
                compute_precision=getattr(ct.precision, precision),
                skip_model_load=True,
            )
        path = tmp_path_factory.mktemp("converted") / f"{target}-{precision}.mlpackage"
        model.save(str(path))
        return path

    return run


@pytest.fixture
def build(ct: Any, tmp_path: Path) -> Callable[..., Program]:
    """Save the program of a Builder function of float32 arrays, unchanged by any pass, and read it back."""
    from coremltools.converters.mil import Builder

    def run(function: Callable[..., Any], *inputs: np.ndarray, target: str = "iOS17") -> Program:
        opset = getattr(ct.target, target)
        specs = [Builder.TensorSpec(shape=x.shape) for x in inputs]
        model = ct.convert(
            Builder.program(input_specs=specs, opset_version=opset)(function),
            convert_to="mlprogram",
            minimum_deployment_target=opset,
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        )
        path = tmp_path / "built.mlpackage"
        model.save(str(path))
        return read_program(path)

    return run
