"""An ONNX graph without what a reader works out by itself."""

from collections.abc import Iterator
from itertools import count
from typing import Any


def strip(model: Any) -> None:
    """Drop stack traces, the captured program's notes and the shapes inside, in place: half of a quantised file.

    `model` is a ModelProto. Names stay: in a network in float a weight's is its module's.
    """
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.initializer)
    for item in (model, graph, *graph.node, *values):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.value_info[:]


def number(model: Any) -> None:
    """Numbers for the names inside, in place, after `strip`. Inputs, outputs and operators keep theirs.

    A quantiser has already put `_frozen_param12` for a weight's module; what a profile shows are operators.
    """
    graph = model.graph
    kept = {value.name for value in (*graph.input, *graph.output)} | {""} | set(_captured(graph))
    inside = [tensor.name for tensor in graph.initializer] + [name for node in graph.node for name in node.output]
    free = (text for text in map(str, count()) if text not in kept)
    short = {name: name for name in kept}
    for name in inside:
        if name not in short:
            short[name] = next(free)
    for tensor in graph.initializer:
        tensor.name = short[tensor.name]
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [short[name] for name in names]


def _captured(graph: Any) -> Iterator[str]:
    """Names that bodies of loops and branches mention, which may be of values outside of them."""
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                for inner in body.node:
                    yield from inner.input
                yield from (value.name for value in body.output)
                yield from _captured(body)
