"""ExecuTorch: a `.pte` program, lowered to the XNNPACK delegate, the rest on portable kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from exporters.base import Lowered, Options, Unsupported, lacking, quiet, refusal, tool_versions

if TYPE_CHECKING:
    from torch.export import ExportedProgram
    from torch.fx import GraphModule

TITLE = "ExecuTorch (XNNPACK)"
LONGEST_HALF_SUM = 2048
"""XNNPACK adds in half too, where n additions that each round to 2^-11 leave 6 / (n * 2^-22) of signal over noise:
40.9 dB at this length, in one layer alone."""

DIGITS = 11
"""Of a constant's hash, in base 16, which names it: of 1,000 constants two are alike once in 35 million files, and
ExecuTorch then refuses to write. All 64 stand in the file twice: 3 % of MCUNet-in3's."""
ALIGNMENT = 16
"""Of each constant, in bytes: what XNNPACK and the format ask for. ExecuTorch's own choice is 128."""


class ExecuTorch:
    """Writes a `.pte`. Operators outside XNNPACK's partitions run on the runtime's portable kernels."""

    name = "executorch"
    suffix = ".pte"

    def check(self, program: ExportedProgram) -> list[Unsupported]:
        """The operators that neither XNNPACK takes nor the installed runtime has a kernel for."""
        with quiet():
            edge = self._to_edge(program, strict=False).exported_program()
            from executorch.extension.pybindings.portable_lib import _get_operator_names

            kernels = frozenset(_get_operator_names())
        return lacking(edge, TITLE, lambda target: _out_variant(target) in kernels)

    def lower(self, program: ExportedProgram, options: Options, path: Path) -> Lowered:
        """Write the program. fp16 computes in half between float32 inputs and outputs.

        XNNPACK's serialiser keeps the weights of convolutions in float32 then; only others shrink. Where a sum
        is too long for half, weights are rounded to half and all computes in float32.
        """
        with quiet():
            from executorch.exir import ExecutorchBackendConfig

            from exporters.half import in_half, longest_sum, with_half_weights

            try:
                source = program
                if options.precision == "fp16":
                    short = longest_sum(program) <= LONGEST_HALF_SUM
                    source = in_half(program) if short else with_half_weights(program)
                with _short_keys():
                    edge = self._to_edge(source, strict=True)
                inside, outside = _delegated(edge.exported_program().graph_module)
                path.write_bytes(edge.to_executorch(ExecutorchBackendConfig(segment_alignment=ALIGNMENT)).buffer)
            except Exception as error:
                raise refusal(self, TITLE, error, program) from error
        return Lowered(
            inputs=options.input_names,
            outputs=options.output_names,
            operators_total=inside + outside.total(),
            operators_delegated=inside,
            not_delegated=dict(outside),
            tool_versions=tool_versions("executorch", "torchao"),
        )

    def _to_edge(self, program: ExportedProgram, *, strict: bool) -> Any:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
        from executorch.exir.passes.constant_prop_pass import constant_prop_pass
        from torch import uint8

        from exporters.edges import has_edges, plain_edges
        from exporters.passes import rewrite
        from exporters.quantized import is_quantized

        # XNNPACK quantises to signed bytes only, and the runtime has no kernel of its own for others
        source = plain_edges(program, (uint8,)) if has_edges(program) else program
        rewritten = rewrite(source, self.name)
        if rewritten is not source and not is_quantized(program):  # XNNPACK takes stored weights, not slices of them
            for tensor in rewritten.state_dict.values():  # a folded slice that needs a gradient cannot be copied
                tensor.requires_grad_(False)
            rewritten = constant_prop_pass(rewritten)
        return to_edge_transform_and_lower(
            rewritten,
            partitioner=[XnnpackPartitioner()],
            compile_config=EdgeCompileConfig(_check_ir_validity=strict),
        )


@contextmanager
def _short_keys() -> Iterator[None]:
    """Let XNNPACK's serialiser name constants by a few digits of their hash."""
    from executorch.backends.xnnpack.operators import node_visitor

    plain = node_visitor.hashlib

    def short(data: bytes) -> Any:
        return SimpleNamespace(hexdigest=lambda: plain.sha256(data).hexdigest()[:DIGITS])

    node_visitor.hashlib = SimpleNamespace(sha256=short)
    try:
        yield
    finally:
        node_visitor.hashlib = plain


def _out_variant(operator: Any) -> str:
    """The name by which the runtime registers an operator's kernel, such as `aten::add.out`; '' for none."""
    try:
        return str(operator.to_out_variant().name())
    except (AttributeError, RuntimeError):  # a plain operator; an operator without such a variant
        return ""


def _delegated(graph: GraphModule) -> tuple[int, Counter[str]]:
    """Operators inside XNNPACK's partitions, and those outside by kind."""
    partitions: list[Any] = [child for child in graph.children() if hasattr(child, "original_module")]
    inside = [kind for child in partitions for kind in _kinds(child.original_module.graph_module)]
    return len(inside), Counter(_kinds(graph))


def _kinds(graph: GraphModule) -> Iterator[str]:
    for node in graph.graph.nodes:
        if node.op == "call_function" and hasattr(node.target, "_schema"):
            yield str(node.target.name()).removeprefix("aten::")


exporter = ExecuTorch()
