"""The graph that is quantised answers as the program that it was made of."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sdk.quantize.network import MOST_TAPS, network_of
from sdk.quantize.regions import layers_of


class Wide(nn.Module):
    """A depthwise convolution with a norm and an activation in place."""

    def __init__(self, kernel: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=bias)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.act(self.norm(self.conv(x)))
        return found


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(13, 17), (16, 12)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2), (7, 1), (7, 2), (9, 1), (11, 2)])
def test_bands_answer_as_the_whole_kernel(kernel: int, stride: int, size: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(kernel * 10 + stride)
    wide = Wide(kernel, stride, bias).eval()
    nn.init.normal_(wide.norm.running_mean)  # type: ignore[arg-type]  # a norm that tracks has one
    x = torch.randn(1, 6, *size)
    network = network_of(torch.export.export(wide, (x,)))
    with torch.no_grad():
        torch.testing.assert_close(network(x), wide(x), rtol=1e-5, atol=1e-5)
    layers = layers_of(network.graph)
    assert all(layer.weights // 6 <= MOST_TAPS for layer in layers)
    assert sum(layer.weights for layer in layers) == 6 * kernel**2
    assert (len(layers) > 1) == (kernel**2 > MOST_TAPS)


def test_a_saved_network_gets_its_names_back(tmp_path: Path) -> None:
    """Equalising inserts products, which saving numbers among the others."""
    from sdk.programs import load_program, save_program
    from sdk.quantize.network import put_back
    from sdk.quantize.recipes import Recipe, prepared, quantised
    from tests.sdk.quantize import small

    ready = prepared(small.program(), small.samples, equalised=False)
    made, other = (quantised(ready, Recipe(searched=searched), small.samples, 16) for searched in (True, False))
    for network in (made, other):
        first = next(node for node in network.graph.nodes if node.op == "call_function")
        first._rename("inserted_before_the_others")
    save_program(torch.export.export(made, small.samples(1)[0]), tmp_path / "made.pt2")
    saved = load_program(tmp_path / "made.pt2").module(check_guards=False)
    names = [node.name for node in other.graph.nodes]
    put_back(saved, other)
    assert [node.name for node in other.graph.nodes] == names
    given = small.samples(4, seed=3)
    for expected, found in zip(small.firsts(made, given), small.firsts(other, given), strict=True):
        torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)


def test_another_network_is_not_taken_for_the_saved_one() -> None:
    from sdk.quantize.network import OtherOperators, put_back

    one, two = (torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2), nn.ReLU())) for _ in range(2))
    last = next(iter(reversed(two.graph.nodes)))
    with two.graph.inserting_before(last):
        last.args = (two.graph.call_function(torch.sigmoid, last.args),)
    with pytest.raises(OtherOperators, match="or others"):
        put_back(one, two)
