"""Channels of one value brought to one size, where a few large ones would take all levels from the others.

Scaling a channel up and down again changes nothing in real numbers (Nagel et al., 2019, arXiv:1906.04721, section 4.1:
cross-layer equalisation). SiLU and its like let no factor through, so that one multiplication a channel stays in the
graph there, between the float activation and the integers that are kept; it costs a pass over the value, and is made
only where a value needs it. Only depthwise convolutions read such values: their weights take the factors in at no loss,
where others would be made as uneven as the value was.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from sdk.quantize.network import store, stored
from sdk.quantize.ranges import CURVES, Seen
from sdk.quantize.regions import CONVOLUTIONS

aten = torch.ops.aten
MARGIN = 1.5
"""A channel's range on unseen data, in multiples of what was seen: rare classes light up channels of their own."""
MOST = 64.0
"""The largest factor: beyond that a channel is dead on all calibration data, and may not be on others."""
LOBE: dict[Any, float] = {aten.silu.default: 4.0, aten.hardswish.default: 3.0, aten.gelu.default: 3.0}
"""How far below zero an activation still is something."""


@dataclass(frozen=True)
class Site:
    """A layer and the activation behind it, which only depthwise convolutions read."""

    layer: Node
    curve: Node
    readers: tuple[Node, ...]


def sites(network: GraphModule) -> list[Site]:
    """All places where channels can be scaled around an activation."""
    found = []
    for curve in network.graph.nodes:
        if curve.target not in CURVES or curve.target not in LOBE:
            continue
        layer, readers = curve.args[0], tuple(curve.users)
        plain = isinstance(layer, Node) and layer.target in CONVOLUTIONS and len(layer.users) == 1
        if plain and readers and all(_depthwise(reader) for reader in readers):
            found.append(Site(layer, curve, readers))
    return found


def _depthwise(node: Node) -> bool:
    """A convolution each of whose outputs reads one channel."""
    if node.target is not aten.conv2d.default or not isinstance(node.args[1], Node):
        return False
    return bool(node.args[1].meta["val"].shape[1] == 1 and len(node.args) > 6 and node.args[6] != 1)


def disparity(seen: Seen) -> float:
    """How much larger the largest channel is than the middle one."""
    size = torch.maximum(seen.low.abs(), seen.high.abs())  # type: ignore[union-attr]  # observed values have both
    return float(size.max() / size.median().clamp(min=1e-6))


def equalize(network: GraphModule, site: Site, before: Seen, after: Seen) -> None:
    """Scale the layer's channels up before they are quantised, and the activation's likewise, in place."""
    lobe = LOBE[site.curve.target]
    assert before.high is not None  # observed values have both
    assert after.high is not None  # likewise
    assert after.low is not None  # likewise
    up_before = _factors((before.high * MARGIN).clamp(min=lobe))
    up_after = _factors(torch.maximum(after.high * MARGIN, -after.low))
    _scale_outputs(network, site.layer, up_before)
    for reader in site.readers:
        _scale_depthwise(network, reader, 1.0 / up_after)
    graph = network.graph
    shape = (1, -1, *[1] * (site.curve.meta["val"].dim() - 2))
    down = _multiplied(network, site.layer, (1.0 / up_before).reshape(shape), f"{site.curve.name}_down")
    site.curve.replace_input_with(site.layer, down)
    up = _multiplied(network, site.curve, up_after.reshape(shape), f"{site.curve.name}_up")
    site.curve.replace_all_uses_with(up, delete_user_cb=lambda user: user is not up)
    graph.lint()
    network.recompile()


def _factors(size: Tensor) -> Tensor:
    """What brings each channel to the largest one's size."""
    return (size.max() / size.clamp(min=1e-6)).clamp(1.0, MOST)


def _multiplied(network: GraphModule, node: Node, factors: Tensor, key: str) -> Node:
    network.register_buffer(key, factors)
    with network.graph.inserting_after(node):
        buffer = network.graph.get_attr(key)
    with network.graph.inserting_after(buffer):
        product = network.graph.call_function(aten.mul.Tensor, (node, buffer))
    product.meta = dict(node.meta)
    buffer.meta = {"val": factors}
    return product


def _scale_outputs(network: GraphModule, layer: Node, factors: Tensor) -> None:
    weight, bias = layer.args[1], layer.args[2] if len(layer.args) > 2 else None
    assert isinstance(weight, Node)  # a layer's weight is stored
    own = stored(network, weight)
    store(network, weight, own * factors.reshape(-1, *[1] * (own.dim() - 1)))
    if isinstance(bias, Node):
        store(network, bias, stored(network, bias) * factors)


def _scale_depthwise(network: GraphModule, layer: Node, factors: Tensor) -> None:
    weight = layer.args[1]
    assert isinstance(weight, Node)  # likewise
    own = stored(network, weight)
    outputs = own.shape[0] // factors.numel()  # of each input channel
    store(network, weight, own * factors.repeat_interleave(outputs).reshape(-1, *[1] * (own.dim() - 1)))
