"""One layer at a time: the one that was made to suffer must be the worst."""

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from runtime_py.manifest import Classify, Manifest
from runtime_py.manifest import Tensor as Spec
from sdk.quantize.network import network_of
from sdk.quantize.ranges import find_ranges
from sdk.quantize.recipes import observed
from sdk.quantize.sensitivity import sensitivity

MANIFEST = Manifest(
    model="net", task="classify", inputs=(Spec(name="x", shape=(1, 3, 8, 8)),),
    outputs=(Spec(name="y", shape=(1, 64)),), postprocessing=Classify(output="y"),
)  # fmt: skip


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1),
        )  # fmt: skip
        self.answer = nn.Linear(8, 64)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.answer(self.layers(x).mean((2, 3)))
        return answer


def network(widened: int | None) -> GraphModule:
    """`widened`: the layer whose weights of one input are huge, and that input always 0. In float it says nothing;
    in integers it takes all levels."""
    torch.manual_seed(0)
    module = Chain()
    if widened is not None:
        before, own = (module.layers[2 * index] for index in (widened - 1, widened))
        assert isinstance(before, nn.Conv2d)
        assert isinstance(own, nn.Conv2d)
        assert before.bias is not None
        with torch.no_grad():
            before.weight[0] = 0.0
            before.bias[0] = 0.0
            own.weight[:, 0] = 1000.0
    return network_of(torch.export.export(module.eval(), (torch.randn(1, 3, 8, 8),)))


def samples(count: int) -> list[tuple[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(1, 3, 8, 8, generator=generator),) for _ in range(min(count, 8))]


@pytest.mark.parametrize("widened", [1, 2, 3])
def test_the_layer_that_was_widened_is_the_worst(widened: int) -> None:
    graph = network(widened)
    told: list[tuple[int, int]] = []
    rows = sensitivity(graph, find_ranges(observed(graph, samples)), samples(8), MANIFEST, lambda *at: told.append(at))
    assert [row.module for row in rows] == ["layers.0", "layers.2", "layers.4", "layers.6", "answer"]
    assert told == [(index, 5) for index in range(5)]
    worst = min(rows, key=lambda row: row.quality_db)
    assert worst.module == f"layers.{2 * widened}"
    others = [row.quality_db for row in rows if row is not worst]
    assert min(others) > worst.quality_db + 10.0
    assert all(0.0 <= row.content <= 1.0 for row in rows)


def test_an_even_network_loses_little_anywhere() -> None:
    graph = network(None)
    rows = sensitivity(graph, find_ranges(observed(graph, samples)), samples(8), MANIFEST, lambda *_: None)
    assert min(row.quality_db for row in rows) > 25.0, "a layer's three roundings of 8 bits, two bits of them unused"
    assert [row.weights for row in rows] == [216, 576, 576, 64, 512]
    assert [row.macs for row in rows] == [216 * 64, 576 * 64, 576 * 64, 64 * 64, 512]
