"""Core ML: an ML program for iOS 17 and later, converted by coremltools, also on Linux."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from exporters.base import (
    Lowered,
    Options,
    Unsupported,
    absent,
    lacking,
    quiet,
    refusal,
    tool_versions,
)

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TITLE = "Core ML"
UNLISTED = "executorch_debug_handle_mapping.json"
"""What coremltools leaves in a package made of an exported program: its manifest does not list it, nothing reads it."""


class CoreML:
    """Writes a `.mlpackage`. What the Neural Engine takes is known on macOS only: counts are None."""

    name = "coreml"
    suffix = ".mlpackage"

    def check(self, program: ExportedProgram) -> list[Unsupported]:
        """The operators that coremltools' own registry lacks, after PyTorch's core decompositions."""
        with quiet():
            _coremltools()
            from coremltools.converters.mil.frontend.torch.torch_op_registry import _TORCH_OPS_REGISTRY
            from coremltools.converters.mil.frontend.torch.utils import sanitize_op_kind

            decomposed = _decomposed(program)
        registered = _TORCH_OPS_REGISTRY.name_to_func_mapping
        return lacking(decomposed, TITLE, lambda target: sanitize_op_kind(target.__name__) in registered)

    def lower(self, program: ExportedProgram, options: Options, path: Path) -> Lowered:
        """Write the package; float32 inputs and outputs whatever the precision inside. 4-bit weights need iOS 18."""
        with quiet():
            from numpy import float32

            ct = _coremltools()
            from exporters.packed import group_in_place

            precision = ct.precision.FLOAT16 if options.precision == "fp16" else ct.precision.FLOAT32
            try:
                core = _decomposed(program)
                if options.precision == "w4":
                    group_in_place(core)
                model = ct.convert(
                    core,
                    convert_to="mlprogram",
                    minimum_deployment_target=ct.target.iOS18 if options.precision == "w4" else ct.target.iOS17,
                    compute_precision=precision,
                    outputs=[ct.TensorType(name=name, dtype=float32) for name in options.output_names],
                    skip_model_load=True,
                )
                model.save(str(path))
                (path / UNLISTED).unlink(missing_ok=True)
            except Exception as error:
                raise refusal(self, TITLE, error, program) from error
            description = model.get_spec().description
        return Lowered(
            inputs=tuple(feature.name for feature in description.input),
            outputs=tuple(feature.name for feature in description.output),
            operators_total=None,
            operators_delegated=None,
            not_delegated={},
            tool_versions=tool_versions("coremltools"),
        )


def _decomposed(program: ExportedProgram) -> ExportedProgram:
    """The program in PyTorch's core operators. A slice of everything becomes `alias` there, which coremltools lacks."""
    import torch

    from exporters.passes import rewrite

    core: ExportedProgram = rewrite(program, CoreML.name).run_decompositions({})
    for node in core.graph.nodes:
        if node.target is torch.ops.aten.alias.default:
            node.target = torch.ops.aten.clone.default
    return core


def _coremltools() -> ModuleType:
    with absent("sklearn", "transformers", "executorch", "torchao", "xgboost", "libsvm", "tensorflow"):
        import coremltools
    module: ModuleType = coremltools
    return module


exporter = CoreML()
