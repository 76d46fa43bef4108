"""Programs in half precision: what stays in float32, so that no value leaves float16's range."""

from math import prod

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from exporters.half import in_half, longest_sum, with_half_weights


class Norm(nn.Module):
    """Divides by the root of the mean square, as RMSNorm does: 300 squared is beyond float16."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Conv2d(8, 6, 3)
        self.depthwise = nn.Conv2d(6, 6, 5, groups=6)
        self.answer = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.answer(self.depthwise(self.dense(x)).mean((2, 3)))
        return answer


def captured(network: nn.Module, *shape: int) -> ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(network.eval(), (torch.randn(shape),))


def float16_operators(program: ExportedProgram) -> set[str]:
    """The operators whose answers are float16."""
    values = ((str(node.target), node.meta.get("val")) for node in program.graph.nodes if node.op == "call_function")
    return {name for name, value in values if isinstance(value, Tensor) and value.dtype == torch.float16}


@pytest.mark.parametrize("scale", [300.0, 1e-4])
def test_a_norm_keeps_its_squares_in_float32(scale: float) -> None:
    program = captured(Norm(), 1, 16, 4, 4)
    half = in_half(program)
    x = scale * torch.randn(1, 16, 4, 4)
    expected, found = program.module()(x), half.module()(x)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3 if scale > 1 else 2e-2)
    assert not {"aten.square.default", "aten.pow.Tensor_Scalar", "aten.mean.dim"} & float16_operators(half)
    assert "aten.mul.Tensor" in float16_operators(half), "what the norm gives is half again"


def test_all_else_computes_in_half() -> None:
    half = in_half(captured(Layers(), 1, 8, 9, 9))
    assert {"aten.conv2d.default", "aten.linear.default", "aten.mean.dim"} <= float16_operators(half)


def test_the_longest_sum_is_the_largest_filters() -> None:
    assert longest_sum(captured(Layers(), 1, 8, 9, 9)) == 8 * 3 * 3
    assert longest_sum(captured(Norm(), 1, 16, 4, 4)) == 0


def test_half_weights_are_rounded_and_the_rest_is_float32() -> None:
    program = captured(Layers(), 1, 8, 9, 9)
    rounded = with_half_weights(program)
    assert not float16_operators(rounded)
    before, after = program.state_dict, rounded.state_dict
    assert len(before) == len(after) == 6
    assert all(
        torch.equal(value.half().float(), other) for value, other in zip(before.values(), after.values(), strict=True)
    )
    assert sum(prod(value.shape) for value in after.values()) == 8 * 6 * 9 + 6 + 6 * 25 + 6 + 24 + 4
    assert not torch.equal(next(iter(before.values())), next(iter(after.values()))), "the program given is untouched"


class Normed(nn.Module):
    """Norms behind two convolutions, one with variances below float16's least, and one behind none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, eps=1e-12)
        self.second, self.second_norm = nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8, affine=False)
        self.alone = nn.BatchNorm2d(8)
        with torch.no_grad():
            self.first.weight.mul_(1e-5)
            self.first_norm.running_var.fill_(1e-10)  # type: ignore[union-attr]
            self.second_norm.running_mean.normal_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        x = self.second_norm(self.second(self.first_norm(self.first(x)).relu()))
        answer: Tensor = self.alone(x.relu())
        return answer


def test_norms_are_folded_before_anything_is_rounded() -> None:
    program = captured(Normed(), 1, 3, 16, 16)
    half = in_half(program)
    x = torch.randn(1, 3, 16, 16)
    expected, found = program.module()(x), half.module()(x)
    assert (found - expected).abs().max() < 5e-3 * expected.abs().max()
    assert sum(node.target is torch.ops.aten.batch_norm.default for node in half.graph.nodes) == 1


def test_a_convolution_that_others_read_keeps_its_norm() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            answer: Tensor = y + self.norm(y)
            return answer

    program = captured(Shared(), 1, 3, 4, 4)
    x = torch.randn(1, 3, 4, 4)
    torch.testing.assert_close(in_half(program).module()(x), program.module()(x), rtol=1e-2, atol=1e-2)
