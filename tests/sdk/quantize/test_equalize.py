"""Equalising changes no answer, and evens channels out."""

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from sdk.quantize.equalize import disparity, equalize, sites
from sdk.quantize.network import network_of
from sdk.quantize.recipes import UNEVEN, observed


class Inverted(nn.Module):
    """An expansion whose channels are of very different sizes, its activation, and a depthwise convolution."""

    def __init__(self, curve: nn.Module) -> None:
        super().__init__()
        self.expand, self.curve = nn.Conv2d(3, 16, 1), curve
        self.depthwise, self.reduce = nn.Conv2d(16, 32, 3, groups=16), nn.Conv2d(32, 8, 1)
        with torch.no_grad():
            self.expand.weight.mul_(torch.logspace(-1, 2, 16).reshape(-1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.reduce(self.depthwise(self.curve(self.expand(x))))
        return answer


class Read(Inverted):
    """The same, where something else reads the activation too."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.curve(self.expand(x))
        return torch.cat((self.reduce(self.depthwise(y)).mean((2, 3)), y.mean((2, 3))), 1)


def samples(count: int) -> list[tuple[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(1, 3, 10, 10, generator=generator),) for _ in range(min(count, 8))]


def network(module: nn.Module) -> GraphModule:
    return network_of(torch.export.export(module.eval(), samples(1)[0]))


@pytest.mark.parametrize("curve", [nn.SiLU(), nn.Hardswish(), nn.GELU()], ids=lambda curve: type(curve).__name__)
def test_answers_stay_and_channels_even_out(curve: nn.Module) -> None:
    torch.manual_seed(0)
    graph = network(Inverted(curve))
    (site,) = sites(graph)
    seen = observed(graph, samples)
    before = [disparity(seen.seen[node]) for node in (site.layer, site.curve)]
    assert max(before) > UNEVEN
    expected = [graph(*sample) for sample in samples(8)]
    equalize(graph, site, seen.seen[site.layer], seen.seen[site.curve])
    for sample, answer in zip(samples(8), expected, strict=True):
        assert (graph(*sample) - answer).abs().max() <= 1e-4 * answer.abs().max(), "scaled up and down again in float"
    again = observed(graph, samples)
    read = site.readers[0].args[0]
    assert isinstance(read, torch.fx.Node)
    after = [disparity(again.seen[node]) for node in (site.layer, read)]
    assert after[0] < before[0]
    assert after[1] < before[1]


def test_a_value_that_others_read_is_left_alone() -> None:
    assert sites(network(Read(nn.SiLU()))) == []
    assert sites(network(Inverted(nn.ReLU()))) == [], "whose factors go through: no multiplication is worth it"
