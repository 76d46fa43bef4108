"""What each layer's quantisation alone does to the answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from runtime_py.manifest import LayerError, Manifest
from sdk.quantize.errors import answer_error
from sdk.quantize.ranges import rounded
from sdk.quantize.regions import inputs_of, layers_of, regions

Ranges = Mapping[str, tuple[float, float]]


class OneLayer(Interpreter):
    """Runs the float network with one layer in integers: its input, its weights and its output."""

    def __init__(self, network: GraphModule, ranges: Ranges) -> None:
        super().__init__(network)
        self._ranges = ranges
        self.layer: Node | None = None
        self._end: Node | None = None

    def choose(self, layer: Node, end: Node) -> None:
        """The layer from now on, and the node of its output."""
        self.layer, self._end = layer, end

    def run_node(self, n: Node) -> Any:
        """Round what belongs to the layer."""
        if n is self.layer:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            source = next(inputs_of(n))
            args = (self._through(source, args[0]), _rounded_weight(args[1]), *args[2:])
            value = self.call_function(n.target, args, kwargs)
        else:
            value = super().run_node(n)
        return self._through(n, value) if n is self._end else value

    def _through(self, node: Node, value: Tensor) -> Tensor:
        bounds = self._ranges.get(node.name)
        return value if bounds is None else rounded(value, *bounds)


def _rounded_weight(weight: Tensor) -> Tensor:
    """Through symmetric int8, a scale an output channel."""
    flat = weight.flatten(1)
    scale = (flat.abs().amax(1, keepdim=True) / 127).clamp(min=1e-12)
    return (torch.round(flat / scale).clamp(-127, 127) * scale).reshape(weight.shape)


def sensitivity(
    network: GraphModule,
    ranges: Ranges,
    samples: Sequence[tuple[Tensor, ...]],
    manifest: Manifest,
    tick: Callable[[int, int], None],
) -> list[LayerError]:
    """One row a layer, in the graph's order, from one pass over all of them with the same few samples."""
    runner = OneLayer(network, ranges)
    ends = regions(network.graph).layers
    nodes = {node.name: node for node in network.graph.nodes}
    rows = []
    layers = layers_of(network.graph)
    with torch.no_grad():
        exact = [_first(runner.run(*sample)) for sample in samples]
        for index, layer in enumerate(layers):
            tick(index, len(layers))
            node = nodes[layer.name]
            runner.choose(node, ends[node])
            error = answer_error(exact, [_first(runner.run(*sample)) for sample in samples], manifest)
            rows.append(
                LayerError(
                    name=layer.name,
                    module=layer.module,
                    macs=layer.macs,
                    weights=layer.weights,
                    quality_db=round(error.quality_db, 2),
                    content=round(error.content, 6),
                )
            )
    return rows


def _first(answer: Any) -> Tensor:
    """A network's first output."""
    found: Tensor = torch.utils._pytree.tree_leaves(answer)[0]
    return found
