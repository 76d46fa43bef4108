"""OpenVINO: a folder with the IR's model.xml and model.bin."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.base import Lowered, Options, Unsupported, lacking, quiet, refusal, tool_versions

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TITLE = "OpenVINO"
_NOT_COMPUTED = frozenset({"Parameter", "Constant", "Result"})


class OpenVINO:
    """Writes a folder. The CPU plugin runs whatever the IR may hold, so that every operator is delegated."""

    name = "openvino"
    suffix = ".openvino"

    def check(self, program: ExportedProgram) -> list[Unsupported]:
        """The operators that OpenVINO's PyTorch frontend leaves unconverted."""
        with quiet():
            import openvino as ov

            try:
                ov.convert_model(program)
            except Exception as error:  # its report is the only list of what the frontend lacks
                missing = _unconverted(str(error))
                return lacking(program.run_decompositions(), TITLE, lambda target: str(target) not in missing)
        return []

    def lower(self, program: ExportedProgram, options: Options, path: Path) -> Lowered:
        """Write the IR, static shapes. fp16 stores weights in half; the CPU plugin computes in float32."""
        with quiet():
            import openvino as ov

            from exporters.edges import bridged, has_edges, plain_edges
            from exporters.ir import shorten, simplify
            from exporters.named import sample_inputs
            from exporters.packed import pack_openvino
            from exporters.quantized import computes_in_integers, is_quantized, multiplied_out, safe_in_pairs

            samples = sample_inputs(program, options.input_names)
            try:
                quantised = is_quantized(program)
                source = plain_edges(bridged(program)) if has_edges(program) else program
                model = ov.convert_model(multiplied_out(safe_in_pairs(source)) if quantised else source)
                if options.precision == "w4":
                    pack_openvino(model)
                _name(model.inputs, options.input_names)
                _name(model.outputs, options.output_names)
                if quantised and not computes_in_integers(program):
                    model.set_rt_info("0", ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
                model.reshape({name: list(x.shape) for name, x in samples.items()})
                path.mkdir(parents=True, exist_ok=True)
                if quantised:
                    simplify(model)
                ov.save_model(model, path / "model.xml", compress_to_fp16=options.precision == "fp16")
                if quantised:
                    shorten(path / "model.xml")
            except Exception as error:
                raise refusal(self, TITLE, error, program) from error
        total = sum(node.get_type_name() not in _NOT_COMPUTED for node in model.get_ordered_ops())
        return Lowered(
            inputs=options.input_names,
            outputs=options.output_names,
            operators_total=total,
            operators_delegated=total,
            not_delegated={},
            tool_versions=tool_versions("openvino"),
        )


def _name(ports: list[Any], names: tuple[str, ...]) -> None:
    for port, name in zip(ports, names, strict=True):
        port.get_tensor().set_names({name})


def _unconverted(report: str) -> frozenset[str]:
    """The operators, such as `aten.add.Tensor`, that a conversion's report says have no rule."""
    found = re.findall(r"No conversion rule found for operations?: ([^\n]*)", report)
    return frozenset(name.strip() for line in found for name in line.split(","))


exporter = OpenVINO()
