"""Ranges against what they must not be worse than, and rounding against PyTorch's own."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

from sdk.quantize.network import network_of
from sdk.quantize.ranges import best_range, clamp_to, drop_clamps, find_ranges, rounded
from sdk.quantize.recipes import BadActivations, observed


def fake_quantised(x: Tensor, low: float, high: float) -> Tensor:
    """PyTorch's own int8."""
    scale = (high - low) / 255
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale) - 128, -128, 127)


@pytest.mark.parametrize("seed", range(5))
def test_rounding_is_pytorchs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(10_000, generator=generator) * 3
    low, high = -float(torch.rand(1, generator=generator) * 5), float(torch.rand(1, generator=generator) * 5 + 0.1)
    difference = (rounded(x, low, high) - fake_quantised(x, low, high)).abs()
    step = (high - low) / 255
    # it multiplies by 1 / scale where we divide: a value within a float's precision of a tie may go the other way
    assert (difference > 1e-5).float().mean() < 1e-3
    assert difference.max() < 1.001 * step


@pytest.mark.parametrize("curve", [None, F.silu, F.hardswish, torch.sigmoid])
@pytest.mark.parametrize("degrees", [1.5, 3.0, 30.0])
def test_the_best_range_loses_no_more_than_the_extremes(
    degrees: float, curve: Callable[[Tensor], Tensor] | None
) -> None:
    torch.manual_seed(0)
    x = torch.distributions.StudentT(degrees).sample((4096,)).clamp(-1e4, 1e4)
    low, high = float(x.min()), float(x.max())
    through = curve or (lambda value: value)

    def error(bounds: tuple[float, float]) -> float:
        return float((through(fake_quantised(x, *bounds)) - through(x)).square().mean())

    best = best_range(x, low, high, curve)
    assert low <= best[0] <= 0.0 <= best[1] <= high
    # the two ways to round differ at ties, by a share of values that the test above bounds
    assert error(best) <= error((low, high)) * 1.01


def test_what_silu_flattens_takes_no_levels() -> None:
    x = torch.cat((torch.linspace(-18.0, 6.0, 4000),))
    low, high = best_range(x, -18.0, 6.0, F.silu)
    assert low > -12.0, "SiLU is below 7e-5 in size from -12 on: a step of any such range is larger"
    assert high > 5.0


@pytest.mark.parametrize("shift", [2.0, -2.0])
def test_a_range_holds_zero(shift: float) -> None:
    low, high = best_range(torch.rand(100) + shift, shift, shift + 1, None)
    assert low <= 0.0 <= high


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.third(F.silu(self.second(self.first(x).relu())))
        return answer


def network(module: nn.Module) -> GraphModule:
    return network_of(torch.export.export(module.eval(), (torch.randn(1, 3, 12, 12),)))


def samples(count: int) -> list[tuple[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(1, 3, 12, 12, generator=generator),) for _ in range(min(count, 8))]


def test_extremes_are_those_of_all_samples() -> None:
    torch.manual_seed(0)
    module = Small()
    seen = observed(network(module), samples)
    with torch.no_grad():
        values = [module.first(*sample).relu() for sample in samples(8)]
    (found,) = [value for node, value in seen.seen.items() if "relu" in node.name]
    assert found.low is not None
    torch.testing.assert_close(found.low, torch.cat(values).amin((0, 2, 3)))
    torch.testing.assert_close(found.high, torch.cat(values).amax((0, 2, 3)))


def test_clamps_bound_each_value_and_go_without_a_trace() -> None:
    torch.manual_seed(0)
    graph = network(Small())
    x = samples(1)[0]
    before, code = graph(*x), graph.code
    ranges = find_ranges(observed(graph, samples))
    names = clamp_to(graph, dict.fromkeys(ranges, (-0.01, 0.01)))
    assert len(names) == len(ranges) == 5, "the input, three layers, and what the third reads"
    assert graph(*x).abs().max() <= 0.01
    drop_clamps(graph, names)
    assert graph.code == code
    torch.testing.assert_close(graph(*x), before, rtol=0, atol=0)


def test_activations_that_are_no_numbers_are_refused_with_their_module() -> None:
    torch.manual_seed(0)
    module = Small()
    with torch.no_grad():
        module.second.weight[1, 0, 0, 0] = float("nan")
    with pytest.raises(BadActivations, match=r"output of second .*aten::conv2d") as caught:
        observed(network(module), samples)
    assert "fp32" in caught.value.hint
