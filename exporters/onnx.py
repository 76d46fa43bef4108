"""ONNX: one self-contained `.onnx` file, by PyTorch's own exporter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exporters.base import Lowered, Options, Unsupported, absent, lacking, quiet, refusal, tool_versions

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TITLE = "ONNX"


class Onnx:
    """Writes an `.onnx`. ONNX Runtime's CPU provider has all operators of the standard domain."""

    name = "onnx"
    suffix = ".onnx"

    def check(self, program: ExportedProgram) -> list[Unsupported]:
        """The operators that torch.onnx's registry lacks, after its decompositions."""
        with quiet():
            from torch.onnx._internal.exporter import _decomp, _registration

            registry = _registration.ONNXRegistry.from_torchlib()
            known = set(_decomp.get_onnx_implemented_overloads(registry))
            table = _decomp.create_onnx_friendly_decomposition_table(known)
            decomposed = program.run_decompositions(table)
        return lacking(decomposed, TITLE, registry.is_registered)

    def lower(self, program: ExportedProgram, options: Options, path: Path) -> Lowered:
        """Write the file, checked by onnx.checker. fp16 keeps float32 inputs and outputs."""
        with quiet(), absent("transformers"):
            import onnx
            import torch

            from exporters.bare import number, strip
            from exporters.half import in_half
            from exporters.packed import INT4_OPSET, multiply_out_onnx
            from exporters.quantized import computes_in_integers, is_quantized, safe_in_pairs, unsigned

            try:
                source = in_half(program) if options.precision == "fp16" else program
                written = torch.onnx.export(
                    unsigned(safe_in_pairs(source)) if is_quantized(source) else source,
                    dynamo=True,
                    external_data=False,
                    opset_version=INT4_OPSET if options.precision == "w4" else None,
                    input_names=options.input_names,
                    output_names=options.output_names,
                    verbose=False,
                )
                assert written is not None  # for mypy: None only for the old exporter
                model = written.model_proto
                strip(model)
                if is_quantized(source):
                    if not computes_in_integers(source):
                        multiply_out_onnx(model, pack=options.precision == "w4")
                    number(model)
                onnx.checker.check_model(model, full_check=True)
                onnx.save(model, path)
            except Exception as error:
                raise refusal(self, TITLE, error, program) from error
        total = len(model.graph.node)
        return Lowered(
            inputs=tuple(tensor.name for tensor in model.graph.input),
            outputs=tuple(tensor.name for tensor in model.graph.output),
            operators_total=total,
            operators_delegated=total,
            not_delegated={},
            tool_versions=tool_versions("onnx", "onnxscript", "onnxruntime"),
        )


exporter = Onnx()
