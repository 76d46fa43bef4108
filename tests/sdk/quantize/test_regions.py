"""Which operators compute in integers, on graphs of which it is known what should."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from sdk.quantize.network import network_of
from sdk.quantize.regions import layers_of, regions


class Detector(nn.Module):
    """A trunk, a head of two branches, and YOLO's decoding: a fixed sum over each side's bins."""

    BINS, CLASSES, SIDE = 16, 8, 32

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU6())
        self.trunk = nn.Sequential(nn.Conv2d(32, 128, 3, padding=1), nn.SiLU(), nn.Conv2d(128, 128, 3, padding=1))
        self.box, self.score = nn.Conv2d(128, 4 * self.BINS, 1), nn.Conv2d(128, self.CLASSES, 1)
        self.bins = nn.Conv2d(self.BINS, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.trunk(self.stem(x)))
        box = self.box(x).flatten(2).view(1, 4, self.BINS, -1).transpose(1, 2).softmax(1)
        return torch.cat((self.bins(box).view(1, 4, -1), self.score(x).flatten(2).sigmoid()), 1)


class Joins(nn.Module):
    """A sum, a concatenation, a pooling and a flattening between layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1)
        self.pool, self.answer = nn.MaxPool2d(2), nn.Linear(8 * 4 * 4, 64)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        y = x + self.b(x)
        y = self.pool(self.c(torch.cat((x, y), 1)).relu()).flatten(1)
        answer: Tensor = self.answer(y).softmax(1)
        return answer


class Upwards(nn.Module):
    """A transposed convolution between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.up, self.last = nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(8, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.last(self.up(self.first(x)))
        return answer


def network(module: nn.Module, *shape: int) -> GraphModule:
    torch.manual_seed(0)
    return network_of(torch.export.export(module.eval(), (torch.randn(shape),)))


def targets(nodes: Sequence[torch.fx.Node]) -> list[str]:
    return [str(node.target).split(".")[1] for node in nodes]


def test_a_detectors_decoding_is_no_layer_and_its_last_convolutions_are() -> None:
    side = Detector.SIDE
    found = layers_of(network(Detector(), 1, 3, side, side).graph)
    assert [layer.module for layer in found] == ["stem.0", "trunk.0", "trunk.2", "box", "score"]
    weights = [32 * 3 * 9, 128 * 32 * 9, 128 * 128 * 9, 64 * 128, 8 * 128]
    assert [layer.weights for layer in found] == weights
    assert [layer.macs for layer in found] == [side**2 * count for count in weights], "no stride: each is used a place"


def test_a_layer_ends_with_the_clamp_behind_it() -> None:
    found = regions(network(Detector(), 1, 3, 32, 32).graph)
    ends = dict(zip(targets(list(found.layers)), targets(list(found.layers.values())), strict=False))
    assert set(ends) == {"conv2d"}
    assert targets(list(found.layers.values())) == ["hardtanh", "conv2d", "relu", "conv2d", "conv2d"]


def test_sums_joins_and_movers_between_layers_stay_integers() -> None:
    found = regions(network(Joins(), 1, 3, 8, 8).graph)
    assert len(found.layers) == 4
    assert targets(list(found.pairs)) == ["add"]
    assert targets(found.joins) == ["cat"]
    assert targets(found.movers) == ["max_pool2d", "flatten"]


def test_a_transposed_convolution_stays_float() -> None:
    graph = network(Upwards(), 1, 3, 8, 8).graph
    assert [layer.module for layer in layers_of(graph)] == ["first", "last"]
    assert targets(list(regions(graph).layers)) == ["conv2d", "conv2d"]


@pytest.mark.parametrize("left_out", range(4))
def test_layers_named_as_float_are_left_out(left_out: int) -> None:
    graph = network(Joins(), 1, 3, 8, 8).graph
    names = [layer.name for layer in layers_of(graph)]
    found = regions(graph, frozenset({names[left_out]}))
    assert [node.name for node in found.layers] == [name for name in names if name != names[left_out]]
