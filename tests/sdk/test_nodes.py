"""Multiply-accumulates and shapes of a network's operators, against PyTorch's own counter of operations."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models_zoo import create_model, get_spec
from runtime_py.manifest import Node
from sdk.nodes import nodes_of

NETWORKS = ("mobilenetv4_conv_small", "mobilenetv4_hybrid_medium", "ghostnet_050", "leyolo_nano", "mcunet_in0")


def nodes(network: nn.Module, *examples: torch.Tensor) -> tuple[Node, ...]:
    return nodes_of(torch.export.export(network.eval(), examples))


@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_accumulates_are_half_of_the_operations_that_pytorch_counts(name: str) -> None:
    network, spec = create_model(name).eval(), get_spec(name)
    image = torch.zeros(1, 3, spec.input_size, spec.input_size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    found = nodes(network, image)
    assert 2 * sum(node.macs for node in found) == counter.get_total_flops()
    weighted = [node for node in found if node.weights]
    assert all(node.module for node in weighted)
    assert not [node for node in found if node.kind == "other" and node.macs]


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(4, 6, 3, stride=2)
        self.one = nn.Conv2d(6, 6, (1, 3), padding="same", groups=6)
        self.two = nn.Conv2d(6, 8, 1, groups=2)
        self.pool = nn.MaxPool2d(2)
        self.end = nn.Linear(8, 5)

    def forward(self, image: torch.Tensor) -> Any:
        wide = self.pool(self.two(self.one(self.up(image))))
        return self.end(torch.cat([wide, wide], dim=2).mean((2, 3)))


def test_kinds_windows_and_shapes_of_each_operator() -> None:
    found = {node.module: node for node in nodes(Odd(), torch.zeros(1, 4, 8, 8)) if node.module}
    assert found["up"] == Node(
        module="up", kind="deconv", operator="conv_transpose2d", input=(1, 4, 8, 8), output=(1, 6, 17, 17),
        macs=4 * 64 * 6 * 9, weights=4 * 6 * 9, kernel=(3, 3), stride=(2, 2),
    )  # fmt: skip
    assert (found["one"].kind, found["one"].kernel, found["one"].groups) == ("depthwise", (1, 3), 6)
    assert (found["two"].kind, found["two"].macs, found["two"].groups) == ("conv", 17 * 17 * 8 * 3, 2)
    assert (found["pool"].kind, found["pool"].kernel, found["pool"].stride) == ("pool", (2, 2), (2, 2))
    assert (found["end"].kind, found["end"].macs, found["end"].input) == ("linear", 40, (1, 8))
    joined = [node for node in nodes(Odd(), torch.zeros(1, 4, 8, 8)) if node.kind == "join"]
    assert [(node.input, node.output) for node in joined] == [((1, 8, 8, 8), (1, 8, 16, 8))]


def test_attention_counts_both_of_its_products() -> None:
    class Attention(nn.Module):
        def forward(self, queries: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(queries, keys, keys)

    (node,) = nodes(Attention(), torch.zeros(1, 2, 9, 8), torch.zeros(1, 2, 5, 8))
    assert (node.kind, node.macs) == ("product", 2 * (2 * 9 * 5 * 8))
