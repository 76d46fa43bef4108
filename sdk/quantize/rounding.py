"""Weights rounded so that a layer's answers stay, not each weight: an error made on one is taken up by the others.

Which way a weight rounds matters by what it is multiplied with. With H, the mean of x x^T over the layer's own inputs,
each weight is rounded in turn and the ones after it move by what makes the answer's squared error least (Frantar et
al., 2023, arXiv:2210.17323, section 3, after Optimal Brain Surgeon). Scales stay as they are.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.nn import functional as F

from sdk.quantize.network import store, stored
from sdk.quantize.regions import CONVOLUTIONS

aten, quantized = torch.ops.aten, torch.ops.quantized_decomposed
DAMPING = 0.01
"""Of H's mean diagonal, added to it: inputs that hardly ever occur must not throw the others about (the paper's)."""
PLACES = 512
"""Places of an answer's image that a layer's inputs are taken from."""
LARGEST = 2304
"""Inputs of one output; H of more would take more than 20 MB, and such layers have no need."""


class Inputs(Interpreter):
    """Runs the quantised network and sums x x^T of every layer's inputs: (K, K), or (C, K, K) of depthwise layers."""

    def __init__(self, network: GraphModule, layers: Iterable[Node]) -> None:
        super().__init__(network)
        self.sums: dict[Node, Tensor] = {}
        self._layers = set(layers)
        self._generator = torch.Generator().manual_seed(0)

    def run_node(self, n: Node) -> Any:
        """Look at a layer's input before it runs."""
        if n in self._layers:
            args, _ = self.fetch_args_kwargs_from_env(n)
            rows = self._rows(n, args)
            product = rows @ rows.transpose(-1, -2) / rows.shape[-1]
            self.sums[n] = self.sums.get(n, torch.zeros_like(product)) + product
        return super().run_node(n)

    def _rows(self, node: Node, args: Any) -> Tensor:
        """(K, places) of what one output multiplies, or (C, K, places)."""
        x, weight = args[0], args[1]
        if node.target not in CONVOLUTIONS:
            flat: Tensor = x.reshape(-1, x.shape[-1]).T
            return flat
        stride, padding, dilation = (tuple(args[at]) if len(args) > at else default
                                     for at, default in ((3, (1, 1)), (4, (0, 0)), (5, (1, 1))))  # fmt: skip
        columns = F.unfold(x[:1], weight.shape[2:], dilation, padding, stride)[0]
        picks = torch.randint(columns.shape[1], (min(PLACES, columns.shape[1]),), generator=self._generator)
        columns = columns[:, picks]
        return columns.reshape(x.shape[1], -1, columns.shape[1]) if weight.shape[1] == 1 else columns


def reround(network: GraphModule, weights: Mapping[str, Tensor], samples: Iterable[tuple[Tensor, ...]]) -> int:
    """Round the stored weights of a quantised network anew, in place; how many changed.

    `weights` are the float ones by their layer's name; `samples` the network's inputs.
    """
    layers: dict[Node, Node] = {}
    for node in network.graph.nodes:
        if node.name in weights and _plain(node, weights[node.name]):
            dequantised = _stored_weight(node)
            if dequantised is not None:
                layers[node] = dequantised
    inputs = Inputs(network, layers)
    with torch.no_grad():
        for sample in samples:
            inputs.run(*sample)
    changed = 0
    for node, dequantised in layers.items():
        integers, scales = dequantised.args[:2]
        assert isinstance(integers, Node)  # _stored_weight says so
        assert isinstance(scales, Node)  # likewise
        old = stored(network, integers)
        new = _rounded(weights[node.name], stored(network, scales).float(), inputs.sums[node])
        changed += int((new != old).sum())
        store(network, integers, new)
    return changed


def _stored_weight(node: Node) -> Node | None:
    """The dequantisation of a layer's stored weights."""
    weight = node.args[1]
    if not isinstance(weight, Node) or weight.target is not quantized.dequantize_per_channel.default:
        return None
    integers = weight.args[0]
    return weight if isinstance(integers, Node) and integers.op == "get_attr" else None


def _plain(node: Node, weight: Tensor) -> bool:
    """Neither grouped (but for depthwise), nor padded by name, nor so wide that H would be unwieldy."""
    if node.target is aten.linear.default:
        return weight.shape[1] <= LARGEST
    groups = node.args[6] if len(node.args) > 6 else 1
    by_name = len(node.args) > 4 and isinstance(node.args[4], str)
    depthwise = groups == weight.shape[0] and weight.shape[1] == 1
    return not by_name and weight[0].numel() <= LARGEST and bool(groups == 1 or depthwise)


def _rounded(weight: Tensor, scale: Tensor, products: Tensor) -> Tensor:
    """int8 of a weight (O, ...) with scales (O,), given (K, K), or (O, K, K) of a depthwise layer."""
    real = weight.flatten(1).double()
    hessian = products.double() if products.dim() == 3 else products.double()[None]
    mean = hessian.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)
    hessian = hessian + DAMPING * mean[:, None, None] * torch.eye(hessian.shape[-1], dtype=torch.float64)
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True)
    whole, step = torch.empty_like(real), scale.double()
    for index in range(real.shape[1]):
        whole[:, index] = torch.round(real[:, index] / step).clamp(-127, 127)
        error = (real[:, index] - whole[:, index] * step) / upper[:, index, index]
        real[:, index + 1 :] -= error[:, None] * upper[:, index, index + 1 :]
    return whole.to(torch.int8).reshape(weight.shape)
