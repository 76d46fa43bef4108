"""What each rounding alone does to the answer: of a layer's weights, or of a value that operators hand on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from exporters.base import module_of, operator_name
from runtime_py.manifest import LayerError, Manifest
from sdk.quantize.choice import Operator, Rounding
from sdk.quantize.errors import Error, answer_error
from sdk.quantize.regions import inputs_of, layers_of, regions
from sdk.quantize.student import Leaf, Student


@dataclass(frozen=True)
class Sensitivity:
    """One row a layer (its weights and what it gives) and one for each other value, in the graph's order; and the same
    for the choice of what stays float: roundings, and the operators that have to compute in float to be rid of one."""

    rows: list[LayerError]
    roundings: list[Rounding]
    operators: list[Operator]


def sensitivity(
    student: Student,
    exact: GraphModule,
    samples: Sequence[tuple[Tensor, ...]],
    manifest: Manifest,
    tick: Callable[[int, int], None],
) -> Sensitivity:
    """Every rounding of `student` by itself, on the same few samples. `exact` is its float network, which has the same
    nodes' names."""
    parts: list[Leaf] = [("weight", name) for name in student.layers_rounded()]
    parts += [("value", name) for name in student.values_rounded()]
    errors: dict[Leaf, Error] = {}
    with torch.no_grad():
        student.only = ()
        expected = [student.answers(*sample)[0] for sample in samples]
        for index, part in enumerate(parts):
            tick(index, len(parts))
            student.only = (part,)
            errors[part] = answer_error(expected, [student.answers(*sample)[0] for sample in samples], manifest)
        student.only = None
    return _rows(errors, student.sources(), exact)


def _rows(errors: dict[Leaf, Error], ranges: dict[str, str], exact: GraphModule) -> Sensitivity:
    found = regions(exact.graph)
    users: dict[str, set[str]] = {}  # of a range: the operators that read or give a value with it
    ends = found.layers | found.pairs | found.joins
    for node, end in ends.items():
        for name in {end.name, *(source.name for source in inputs_of(node))} & ranges.keys():
            users.setdefault(ranges[name], set()).add(node.name)
    layers = {layer.name: layer for layer in layers_of(exact.graph)}
    given = {ranges[end.name]: node for node, end in found.layers.items() if end.name in ranges}
    rows, roundings = [], []
    for (kind, name), error in errors.items():
        operators = {name} if kind == "weight" else users.get(name, set())
        if operators:
            roundings.append(Rounding(error.noise, frozenset(operators)))
    for node in exact.graph.nodes:
        if node in found.layers:
            own, value = [errors["weight", node.name]], ranges.get(found.layers[node].name, "")
            own += [errors["value", value]] if given.get(value) is node else []
            rows.append(_row(node, own, layers[node.name].macs, layers[node.name].weights))
        elif ranges.get(node.name) == node.name and node.name not in given:
            rows.append(_row(node, [errors["value", node.name]], 0, 0))
    sizes = {name: (layer.macs, layer.weights) for name, layer in layers.items()}
    choices = [Operator(node.name, *sizes.get(node.name, (0, 0))) for node in ends]
    return Sensitivity(rows, roundings, choices)


def _row(node: Node, errors: Sequence[Error], macs: int, weights: int) -> LayerError:
    together = Error.of_noise(sum(error.noise for error in errors), min(1.0, sum(error.content for error in errors)))
    module, kind = module_of(node) or node.name, operator_name(node) if node.op == "call_function" else "input"
    return LayerError(
        name=node.name,
        module=module if weights else f"{module} ({kind})",
        macs=macs,
        weights=weights,
        quality_db=round(together.quality_db, 2),
        content=round(together.content, 6),
    )
