"""LiteRT: a `.tflite` file, converted by litert-torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.base import Lowered, Options, Unsupported, absent, lacking, quiet, refusal, tool_versions

if TYPE_CHECKING:
    from torch.export import ExportedProgram

TITLE = "LiteRT"


class LiteRT:
    """Writes a `.tflite`. The fast path is the XNNPACK delegate that ai-edge-litert applies by itself."""

    name = "tflite"
    suffix = ".tflite"

    def check(self, program: ExportedProgram) -> list[Unsupported]:
        """The operators that litert-torch's lowering registry lacks, after its decompositions."""
        with quiet():
            _import_converter()
            from litert_torch.backend import lowerings
            from litert_torch.fx_infra import decomp

            from exporters.passes import rewrite

            decomposed = rewrite(program, self.name).run_decompositions(decomp.pre_lower_decomp())
        return lacking(decomposed, TITLE, lambda target: lowerings.lookup(target) is not None)

    def lower(self, program: ExportedProgram, options: Options, path: Path) -> Lowered:
        """Write the file. fp16 stores weights of convolutions and products in half, and computes in float."""
        with quiet():
            _import_converter()
            import litert_torch

            from exporters.edges import edges_of, float_ended, has_edges
            from exporters.joins import kept_in_float
            from exporters.named import Named, sample_inputs
            from exporters.passes import rewrite
            from exporters.quantized import has_wide_values, is_quantized, unfolded
            from exporters.shared import store_once
            from exporters.tflite_ends import give_integers
            from exporters.tflite_wide import widen_biases

            edged = has_edges(program)
            rewritten = rewrite(float_ended(program) if edged else program, self.name)
            quantised = is_quantized(program)
            if quantised:
                rewritten = unfolded(kept_in_float(rewritten))
            module = Named(rewritten, options.input_names, options.output_names)
            samples = sample_inputs(rewritten, options.input_names)
            try:
                with _integers_where_quantised(quantised):
                    litert_torch.convert(module, sample_kwargs=samples).export(str(path))
                if edged:
                    give_integers(path, *edges_of(program, options.input_names, options.output_names))
                if has_wide_values(program):
                    widen_biases(path)
                if quantised:
                    store_once(path)
                if options.precision == "fp16":
                    path.write_bytes(_halve_weights(path))
                total, inside, outside = _delegated(path)
            except Exception as error:
                raise refusal(self, TITLE, error, program) from error
        return Lowered(
            inputs=options.input_names,
            outputs=options.output_names,
            operators_total=total,
            operators_delegated=inside,
            not_delegated=outside,
            tool_versions=tool_versions("litert-torch", "litert-converter", "ai-edge-litert"),
        )


def _import_converter() -> None:
    with absent("transformers", "sklearn", "tensorflow"):
        import litert_torch  # noqa: F401


@contextmanager
def _integers_where_quantised(quantised: bool) -> Iterator[None]:
    """Let the converter compute in integers between a dequantisation and a quantisation, and nowhere else.

    Its own option for quantised programs (`quant_config`) also makes inputs and outputs integers, and moves ranges
    from one operator to its neighbours.
    """
    from litert_torch._convert import litert_converter

    tools: Any = litert_converter.converter_api_ext
    plain = tools.ConvertToTFLConfig

    def strict() -> Any:
        config = plain()
        config.strict_qdq_mode = True
        return config

    if quantised:
        tools.ConvertToTFLConfig = strict
    try:
        yield
    finally:
        tools.ConvertToTFLConfig = plain


def _halve_weights(path: Path) -> bytes:
    """The file with its weights cast to float16 and a DEQUANTIZE before each, which XNNPACK folds at load."""
    from ai_edge_quantizer import qtyping
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.quantizer import Quantizer
    from ai_edge_quantizer.recipe_manager import RecipeManager

    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    recipe = RecipeManager()
    recipe.add_quantization_config(
        regex=".*",
        operation_name=qtyping.TFLOperationName.ALL_SUPPORTED,
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT
        ),
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    halved = Quantizer(str(path), recipe.get_quantization_recipe()).quantize()
    return bytes(halved.quantized_model)


def _delegated(path: Path) -> tuple[int, int, dict[str, int]]:
    """Operators in all, those inside XNNPACK's partitions, and those outside by kind."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    nodes = interpreter._get_ops_details()
    partitions = [node for node in nodes if node["op_name"] == "DELEGATE"]
    operators = [node for node in nodes if node["op_name"] != "DELEGATE"]
    producer = {int(tensor): node for node in operators for tensor in node["outputs"]}
    inside: set[int] = set()
    for partition in partitions:
        inside |= _behind(partition["outputs"], {int(tensor) for tensor in partition["inputs"]}, producer)
    outside = Counter(node["op_name"] for node in operators if node["index"] not in inside)
    return len(operators), len(inside), dict(outside)


def _behind(outputs: Sequence[int], inputs: set[int], producer: dict[int, dict[str, Any]]) -> set[int]:
    """Indices of the operators between a partition's inputs and outputs: those that the delegate took over."""
    found: set[int] = set()
    pending = [int(tensor) for tensor in outputs]
    while pending:
        tensor = pending.pop()
        node = producer.get(tensor)
        if tensor in inputs or node is None or node["index"] in found:
            continue
        found.add(node["index"])
        pending.extend(int(source) for source in node["inputs"])
    return found


exporter = LiteRT()
