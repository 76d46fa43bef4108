"""Integer inputs and outputs of the canonical quantised program as single targets want them.

An edge is the dequantisation of an input, or the quantisation that gives an output.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node
from torch.utils._pytree import tree_leaves, tree_unflatten

from exporters.quantized import aten, q
from exporters.tflite_ends import Edge

QUANTIZE, DEQUANTIZE = q.quantize_per_tensor.default, q.dequantize_per_tensor.default
Steps = Iterable[tuple[Any, tuple[Any, ...]]]


def input_edges(graph: Graph) -> Iterator[Node]:
    """The dequantisations of inputs."""
    for node in list(graph.nodes):
        if node.target is DEQUANTIZE and _args(node)[0].op == "placeholder":
            yield node


def output_edges(graph: Graph) -> Iterator[Node]:
    """The quantisations that give outputs."""
    for node in dict.fromkeys(tree_leaves(_end(graph).args[0])):
        if isinstance(node, Node) and node.target is QUANTIZE:
            yield node


def has_edges(program: ExportedProgram) -> bool:
    """Whether any input or output of a program is a quantised integer."""
    graph = program.module(check_guards=False).graph
    return any(True for edges in (input_edges, output_edges) for _ in edges(graph))


def edges_of(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[list[Edge], list[Edge]]:
    """The edges by name; names come in the program's order."""
    graph = program.module(check_guards=False).graph
    given = dict(zip((node for node in graph.nodes if node.op == "placeholder"), inputs, strict=True))
    gives = list(zip(tree_leaves(_end(graph).args[0]), outputs, strict=True))
    edges = set(output_edges(graph))
    return (
        list({given[_args(node)[0]]: _edge(given[_args(node)[0]], node) for node in input_edges(graph)}.values()),
        [_edge(name, node) for node, name in gives if node in edges],
    )


def _edge(name: str, node: Node) -> Edge:
    scale, zero_point, _, _, kind = _args(node)[1:]
    return Edge(name, str(kind).removeprefix("torch."), float(scale), int(zero_point))


def bridged(program: ExportedProgram) -> ExportedProgram:
    """Edges apart from what the layers compute in, which a target may then store in another type of integers.

    before: x int8 -> dequantize -> ...                           -> quantize -> int8
    after:  x int8 -> dequantize -> quantize -> dequantize -> ... -> quantize -> dequantize -> quantize -> int8
    """
    network = program.module(check_guards=False)
    graph = network.graph
    for node in input_edges(graph):
        readers = list(node.users)
        own = _chain(graph, node.next, node, [(QUANTIZE, _args(node)[1:]), (DEQUANTIZE, _args(node)[1:])])
        for reader in readers:
            reader.replace_input_with(node, own)
    for node in output_edges(graph):
        if _args(node)[0].target is not DEQUANTIZE:  # which an edge of another type stands apart from already
            end, params = _end(graph), _args(node)[1:]
            end.replace_input_with(node, _chain(graph, end, node, [(DEQUANTIZE, params), (QUANTIZE, params)]))
    return _exported(network, program)


def plain_edges(
    program: ExportedProgram, kinds: Collection[torch.dtype] = (torch.int8, torch.uint8)
) -> ExportedProgram:
    """Edges of these types in plain arithmetic, for a converter that knows quantised values between floats only.

    before: x int8 -> dequantize -> ...
    after:  x int8 -> float -> - zero point -> * scale -> ...
    before: ... -> quantize -> int8
    after:  ... -> * 1 / scale -> round -> + zero point -> clamp -> int8
    """
    network = program.module(check_guards=False)
    graph = network.graph
    for node in input_edges(graph):
        if _args(node)[5] not in kinds:
            continue
        scale, zero_point = _args(node)[1:3]
        steps: Steps = [
            (aten.to.dtype, (torch.float32,)),
            (aten.sub.Tensor, (zero_point,)),
            (aten.mul.Tensor, (scale,)),
        ]
        node.replace_all_uses_with(_chain(graph, node, _args(node)[0], steps))
        graph.erase_node(node)
    for node in output_edges(graph):
        real, scale, zero_point, low, high, kind = _args(node)
        if kind not in kinds:
            continue
        steps = [
            (aten.mul.Tensor, (1.0 / scale,)), (aten.round.default, ()), (aten.add.Tensor, (zero_point,)),
            (aten.clamp.default, (low, high)), (aten.to.dtype, (kind,)),
        ]  # fmt: skip
        _end(graph).replace_input_with(node, _chain(graph, _end(graph), real, steps))
    return _exported(network, program)


def float_ended(program: ExportedProgram) -> ExportedProgram:
    """The program before it had edges, for a converter that refuses them; `tflite_ends` puts them into its file.

    before: x int8             -> dequantize -> ... -> quantize               -> int8
    after:  x float -> quantize -> dequantize -> ... -> quantize -> dequantize -> float
    """
    network = program.module(check_guards=False)
    graph = network.graph
    real_inputs: set[str] = set()
    for node in input_edges(graph):
        given, params = _args(node)[0], _args(node)[1:]
        real_inputs.add(given.name)
        node.replace_input_with(given, _chain(graph, node, given, [(QUANTIZE, params)]))
    for node in output_edges(graph):
        end, params = _end(graph), _args(node)[1:]
        signed = params[-1] is torch.int8  # unsigned ones are made of what was dequantised
        real: Node = _chain(graph, end, node, [(DEQUANTIZE, params)]) if signed else _args(node)[0]
        end.replace_input_with(node, real)
    return _exported(network, program, real_inputs)


def _args(node: Node) -> tuple[Any, ...]:
    """Of a dequantisation or quantisation: the value, scale, zero point, least and largest integer, and their type."""
    return node.args


def _end(graph: Graph) -> Node:
    return graph.output_node()


def _chain(graph: Graph, before: Node, value: Node, steps: Steps) -> Node:
    """New nodes in front of `before`, each of which takes the last one's value."""
    with graph.inserting_before(before):
        for operator, args in steps:
            value = graph.call_function(operator, (value, *args))
    return value


def _exported(network: GraphModule, program: ExportedProgram, real_inputs: Collection[str] = ()) -> ExportedProgram:
    """The changed network as a program; the inputs named in `real_inputs` are float32 now."""
    graph = network.graph
    graph.eliminate_dead_code()
    graph.lint()
    network.recompile()
    names = [node.name for node in graph.nodes if node.op == "placeholder"]
    examples = [
        value.float() if name in real_inputs else value
        for name, value in zip(names, tree_leaves(program.example_inputs), strict=True)
    ]
    args, kwargs = tree_unflatten(examples, program.call_spec.in_spec)
    return torch.export.export(network, args, kwargs)
