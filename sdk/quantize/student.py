"""A quantised network as one that gradients pass through: what it rounds, where, and with which ranges and weights."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from sdk.quantize.network import store, stored
from sdk.quantize.regions import SAME_SCALE

aten, quantized = torch.ops.aten, torch.ops.quantized_decomposed
QUANTIZE, DEQUANTIZE = quantized.quantize_per_tensor.default, quantized.dequantize_per_tensor.default
DEQUANTIZE_WEIGHT = quantized.dequantize_per_channel.default
SHAPED = frozenset({aten.view.default, aten.reshape.default, aten.expand.default})
"""Operators that hold the batch's size, which is one in every captured program."""
LEVELS = 255
LEAST_STEP = 1e-8
Leaf = tuple[str, str]
"""What is learned: `low` or `high` of a value, or `weight` or `bias` of a layer, by its node's name."""


class Batched(Interpreter):
    """Runs a network captured for one sample on several at once, and keeps the values of some nodes by name."""

    def __init__(self, network: GraphModule, kept: Collection[str]) -> None:
        super().__init__(network)
        self._kept = frozenset(kept)
        self.values: dict[str, Tensor] = {}

    def answers(self, *inputs: Tensor) -> list[Tensor]:
        """The outputs, flat; `values` are those of this run."""
        self.values = {}
        return list(torch.utils._pytree.tree_leaves(self.run(*inputs)))

    def run_node(self, n: Node) -> Any:
        """With the batch's own size where the graph says one."""
        if n.target in SHAPED and _of_one_sample(n):
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            x, (_, *others), *rest = args
            value = self.call_function(n.target, (x, [x.shape[0], *others], *rest), kwargs)
        else:
            value = super().run_node(n)
        if n.name in self._kept:
            self.values[n.name] = value
        return value


class Student(Batched):
    """The quantised network in float arithmetic, rounding as its integers do, with gradients for all that may change.

    Gradients pass through rounding as if it were not there, and a range's bounds get those of the values that they cut
    off (Esser et al., 2020, arXiv:1902.08153, section 2.1; Bhalgat et al., 2020, arXiv:2004.09576, section 3.1).
    Weights keep their scales. Everything is learned in units of its own step, ranges as factors, so that one rate
    suits all. `weights` are the float ones by their layer's name.
    """

    def __init__(self, network: GraphModule, weights: Mapping[str, Tensor]) -> None:
        self._range = {node: _source(root).name for node, root in _shared(network).items()}
        super().__init__(network, ())
        self.network = network
        self.only: Collection[Leaf] | None = None
        """What is rounded, as (`value`, name of its first node) and (`weight`, layer); None: all."""
        self.leaves: dict[Leaf, Tensor] = {}
        self._bounds: dict[str, tuple[float, float]] = {}
        for node, name in self._range.items():
            scale, zero = _scale(node)
            self._bounds[name] = ((-128 - zero) * scale, (127 - zero) * scale)
            self.leaves["low", name] = torch.zeros(())
            self.leaves["high", name] = torch.zeros(())
        self._weights: dict[Node, tuple[str, Tensor, Tensor]] = {}
        self._biases: dict[Node, tuple[str, Tensor, float]] = {}
        for node in network.graph.nodes:
            if node.target is DEQUANTIZE_WEIGHT:
                self._add_layer(node, next(iter(node.users)), weights)
        for leaf in self.leaves.values():
            leaf.requires_grad_()

    def _add_layer(self, node: Node, layer: Node, weights: Mapping[str, Tensor]) -> None:
        integers, scales = (stored(self.network, at) for at in node.args[:2])  # type: ignore[arg-type]  # both are read by nodes
        step = scales.float().reshape(-1, *[1] * (integers.dim() - 1))
        near = weights[layer.name] / step if layer.name in weights else integers.float()
        # the float weight where it rounds to the stored integer, and else what comes closest to it
        whole = integers.float()
        self._weights[node] = (layer.name, near.clamp(whole - 0.49, whole + 0.49), step)
        self.leaves["weight", layer.name] = torch.zeros_like(near)
        bias = layer.args[2] if len(layer.args) > 2 else None
        if isinstance(bias, Node) and bias.op == "get_attr":
            value = stored(self.network, bias).detach()
            self._biases[bias] = (layer.name, value, self._step_behind(layer))
            self.leaves["bias", layer.name] = torch.zeros_like(value)

    def _step_behind(self, layer: Node) -> float:
        """The step of the next integers behind a layer: what its bias is learned in."""
        node = layer
        while node.users and node not in self._range:
            node = next(iter(node.users))
        return _scale(node)[0] if node in self._range else 0.01

    def sources(self) -> dict[str, str]:
        """The name of each quantised value's node, and that of the value whose range it shares, maybe its own."""
        return {_source(node).name: name for node, name in self._range.items()}

    def values_rounded(self) -> list[str]:
        """The names of all ranges."""
        return list(self._bounds)

    def layers_rounded(self) -> list[str]:
        """The names of all layers whose weights are integers."""
        return [name for name, _, _ in self._weights.values()]

    def groups(self, rate: float, range_rate: float) -> list[dict[str, Any]]:
        """For an optimiser."""
        rates = {"low": range_rate, "high": range_rate, "weight": rate, "bias": rate}
        return [
            {"params": [leaf for (own, _), leaf in self.leaves.items() if own == kind], "lr": value}
            for kind, value in rates.items()
        ]

    def range_of(self, name: str) -> tuple[Tensor, Tensor]:
        """Step (1,) and zero point (1,), which is not rounded yet, of a value."""
        low, high = self._bounds[name]
        bottom = low * torch.exp(self.leaves["low", name])
        step = ((high * torch.exp(self.leaves["high", name]) - bottom) / LEVELS).clamp(min=LEAST_STEP).reshape(1)
        return step, -128 - bottom.reshape(1) / step

    def run_node(self, n: Node) -> Any:
        """Round what is to be rounded."""
        if n.target is QUANTIZE:
            name = self._range[n]
            x = self.fetch_args_kwargs_from_env(n)[0][0]
            if self.only is None or ("value", name) in self.only:
                step, zero = self.range_of(name)  # counted from 0: torch cuts a fraction off where it should round
                x = torch._fake_quantize_learnable_per_tensor_affine(x.contiguous(), step, zero + 128, 0, 255, 1.0)
            self.values[_source(n).name] = x
            return x
        if n.target is DEQUANTIZE:
            return self.fetch_args_kwargs_from_env(n)[0][0]
        if n.target is DEQUANTIZE_WEIGHT:
            name, units, step = self._weights[n]
            units = units + self.leaves["weight", name]
            if self.only is None or ("weight", name) in self.only:
                units = units + (units.round() - units).detach()
            return units.clamp(-127, 127) * step
        if n in self._biases:
            name, value, size = self._biases[n]
            return value + self.leaves["bias", name] * size
        return super().run_node(n)

    def is_finite(self) -> bool:
        """Whether all that was learned are numbers."""
        return all(bool(torch.isfinite(leaf).all()) for leaf in self.leaves.values())

    def learned_layers(self) -> dict[str, tuple[Tensor, Tensor | None]]:
        """Each layer's weight as integers, and its bias where it has one."""
        with torch.no_grad():
            biases = {name: value + self.leaves["bias", name] * size for name, value, size in self._biases.values()}
            return {
                name: ((units + self.leaves["weight", name]).round().clamp(-127, 127).to(torch.int8), biases.get(name))
                for name, units, _ in self._weights.values()
            }

    def write(self) -> None:
        """Put what was learned into the network, in place."""
        take_over(self.network, self)


def _of_one_sample(node: Node) -> bool:
    """Whether an operator's first axis, before and behind, is that of the samples."""
    source: Any = node.args[0]
    size: Any = node.args[1]
    return "val" in source.meta and source.meta["val"].shape[:1] == (1,) and size[0] == 1


def take_over(network: GraphModule, student: Student) -> None:
    """Put what was learned into another network, in place: one that keeps some of the student's operators in float."""
    ranges, layers = student.sources(), student.learned_layers()
    for node in network.graph.nodes:
        if node.target is QUANTIZE and _source(node).name in ranges:
            with torch.no_grad():
                step, zero = student.range_of(ranges[_source(node).name])
            _set_range(node, float(step), int(zero.round().clamp(-128, 127)))
        if node.target is DEQUANTIZE_WEIGHT:
            layer = next(iter(node.users))
            whole, bias = layers[layer.name]
            store(network, node.args[0], whole)
            if bias is not None:
                store(network, layer.args[2], bias)
    network.recompile()


def _set_range(node: Node, step: float, zero: int) -> None:
    node.args = (node.args[0], step, zero, *node.args[3:])
    for user in list(node.users):
        user.args = (user.args[0], step, zero, *user.args[3:])


def _source(node: Node) -> Node:
    """What a quantising node reads."""
    found = node.args[0]
    assert isinstance(found, Node)  # a value of the graph
    return found


def _scale(node: Node) -> tuple[float, int]:
    """Scale and zero point of a quantising node."""
    scale, zero = node.args[1:3]
    return float(scale), int(zero)  # type: ignore[arg-type]  # constants of the graph


def _shared(network: GraphModule) -> dict[Node, Node]:
    """Each quantising node, and the first one of those that must have its range: of the same value, and around
    operators that only move integers about."""
    parent: dict[Node, Node] = {}

    def first(node: Node) -> Node:
        while node in parent:
            node = parent[node]
        return node

    found = [node for node in network.graph.nodes if node.target is QUANTIZE]
    of_source: dict[Node, Node] = {}
    for node in found:
        for before in (of_source.setdefault(_source(node), node), *_moved(_source(node))):
            if _scale(before) == _scale(node) and first(before) is not first(node):
                parent[first(node)] = first(before)
    return {node: first(node) for node in found}


def _moved(source: Node) -> Iterator[Node]:
    """The quantising nodes whose integers an operator moves."""
    if source.target is not aten.cat.default and source.target not in SAME_SCALE:
        return
    operands: Any = source.args[0]
    for operand in operands if source.target is aten.cat.default else [operands]:
        if operand.target is DEQUANTIZE and operand.args[0].target is QUANTIZE:
            yield operand.args[0]


def same_alone(network: Batched, samples: list[tuple[Tensor, ...]]) -> bool:
    """Whether a network gives each of several samples in a batch what it gives them alone."""
    with torch.no_grad():
        alone = [network.answers(*sample) for sample in samples]
        try:
            together = network.answers(*(torch.cat(parts) for parts in zip(*samples, strict=True)))
        except (RuntimeError, IndexError):  # a shape that holds the batch's size some other way
            return False
    return all(
        whole.shape[0] == len(samples) and _close(whole[at : at + 1], part)
        for at, parts in enumerate(alone)
        for whole, part in zip(together, parts, strict=True)
    )


def _close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a - b).abs().max() <= 1e-3 * b.abs().max())


Reader = Callable[[list[int]], list[tuple[Tensor, ...]]]
"""Gives the samples of these numbers."""
