"""Programs that coremltools converts from torch give torch's results when read back from disk."""
# ruff: noqa: E501  # the table reads best with one line a module

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exporters.mil.interpreter import Interpreter, missing_operators
from exporters.mil.package import read_program

FP32_DB = 100.0  # float32 rounds at 2^-24, about -144 dB; sums of a few hundred terms stay below -100
FP16_DB = 45.0  # float16 rounds at 2^-11, about -66 dB, a few times over


class Apply(nn.Module):
    def __init__(self, function: Callable[..., Any], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*self.parts, *inputs)


def fn(function: Callable[..., Any]) -> Apply:
    return Apply(function)


def sqnr(reference: np.ndarray, measured: np.ndarray) -> float:
    noise = np.square(reference.astype(np.float64) - measured).sum()
    return float(10 * np.log10(np.square(reference.astype(np.float64)).sum() / max(noise, 1e-30)))


class MultiQuery(nn.Module):
    """MobileNetV4's multi-query attention: one key and value head for all queries."""

    def __init__(self, width: int = 8, heads: int = 4, size: int = 8) -> None:
        super().__init__()
        self.query = nn.Conv2d(width, heads * size, 1)
        self.key = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1, groups=width), nn.Conv2d(width, size, 1))
        self.out = nn.Conv2d(heads * size, width, 1)
        self.scale = nn.Parameter(torch.rand(width))
        self.heads, self.size = heads, size

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        q = self.query(x).reshape(n, self.heads, self.size, h * w).transpose(-1, -2)
        k = self.key(x).reshape(n, 1, self.size, -1)
        y = F.scaled_dot_product_attention(q, k.mT.expand(-1, self.heads, -1, -1), k.mT.expand(-1, self.heads, -1, -1))
        y = self.out(y.transpose(-1, -2).reshape(n, -1, h, w))
        return x + y * self.scale.view(1, -1, 1, 1)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.norm = nn.Linear(16, 48), nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        return F.scaled_dot_product_attention(q, k, v)


class Detector(nn.Module):
    """The end of an anchor-free detector: distributions to distances to boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.box, self.cls = nn.Conv2d(8, 64, 1), nn.Conv2d(8, 3, 1)
        self.register_buffer("bins", torch.arange(16.0).view(1, 16, 1, 1))
        ys, xs = torch.meshgrid(torch.arange(6) + 0.5, torch.arange(6) + 0.5, indexing="ij")
        self.register_buffer("anchors", torch.stack([xs, ys]).view(1, 2, 36))

    def forward(self, x: Tensor) -> Tensor:
        box = self.box(x).view(1, 4, 16, 36).transpose(1, 2).softmax(1)
        left, right = F.conv2d(box, self.bins.view(1, 16, 1, 1)).view(1, 4, 36).chunk(2, 1)
        low, high = self.anchors - left, self.anchors + right
        return torch.cat([(low + high) / 2, high - low, self.cls(x).view(1, 3, 36).sigmoid()], 1)


class Ghost(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(8, 6, 1), nn.BatchNorm2d(6), nn.ReLU())
        self.cheap = nn.Sequential(nn.Conv2d(6, 6, 3, 1, 1, groups=6), nn.BatchNorm2d(6), nn.ReLU())
        self.reduce, self.expand = nn.Conv2d(11, 4, 1), nn.Conv2d(4, 11, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.main(x)
        y = torch.cat([a, self.cheap(a)], 1)[:, :11]
        return y * F.hardsigmoid(self.expand(F.relu(self.reduce(y.mean((2, 3), keepdim=True)))))


class RmsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6) * self.weight.view(1, -1, 1, 1)


def image() -> tuple[Tensor, ...]:
    return (torch.randn(1, 8, 12, 12),)


def video() -> tuple[Tensor, ...]:
    return (torch.randn(1, 4, 5, 8, 8),)


def tokens() -> tuple[Tensor, ...]:
    return (torch.randn(2, 10, 16),)


def pair() -> tuple[Tensor, ...]:
    return torch.randn(2, 3, 4), torch.rand(2, 3, 4) + 0.5


def positive() -> tuple[Tensor, ...]:
    return (torch.rand(2, 6, 5) + 0.5,)


ACTIVATIONS = (
    nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Sigmoid(), nn.Hardsigmoid(), nn.Hardtanh(-0.5, 0.7), nn.LeakyReLU(0.2),
    nn.ELU(0.7), nn.PReLU(8, 0.3), nn.Softplus(), nn.Softsign(), nn.Tanh(), nn.Mish(), nn.SELU(), nn.GLU(1),
    nn.Threshold(0.1, 0.0), nn.Softmax(1), nn.LogSoftmax(1),
)  # fmt: skip
CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], tuple[Tensor, ...]]]] = {
    # convolutions
    "conv2d_same": (lambda: nn.Conv2d(8, 6, 3, padding="same"), image),
    "conv2d_stride": (lambda: nn.Conv2d(8, 6, 5, 2, 2, bias=False), image),
    "conv2d_dilated": (lambda: nn.Conv2d(8, 6, 3, padding=2, dilation=2), image),
    "conv2d_depthwise": (lambda: nn.Conv2d(8, 16, (3, 5), (1, 2), (1, 2), groups=8), image),
    "conv2d_asymmetric": (lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 6, 3, 2)), image),
    "conv1d": (lambda: nn.Conv1d(10, 4, 3, padding=1), tokens),
    "conv3d": (lambda: nn.Conv3d(4, 6, 3, padding=1), video),
    "conv3d_stride": (lambda: nn.Conv3d(4, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1)), video),
    "conv3d_causal": (lambda: Apply(lambda c, x: c(torch.cat([x[:, :, :1]] * 2 + [x], 2)), nn.Conv3d(4, 4, 3, padding=(0, 1, 1))), video),
    "conv2d_of_frames": (lambda: Apply(lambda c, x: torch.stack([c(f) for f in x.unbind(2)], 2), nn.Conv2d(4, 3, 3, padding=1)), video),
    "deconv2d": (lambda: nn.ConvTranspose2d(8, 6, 4, 2, 1), image),
    "deconv2d_output": (lambda: nn.ConvTranspose2d(8, 6, 3, 2, 1, output_padding=1), image),
    "deconv2d_groups": (lambda: nn.ConvTranspose2d(8, 8, 2, 2, groups=4, bias=False), image),
    "deconv1d": (lambda: nn.ConvTranspose1d(10, 4, 3, 2), tokens),
    "deconv3d": (lambda: nn.ConvTranspose3d(4, 3, 2, 2), video),
    # blocks of the zoo's networks
    "conv_bn_relu": (lambda: nn.Sequential(nn.Conv2d(8, 6, 3), nn.BatchNorm2d(6), nn.ReLU()), image),
    "bn_first": (lambda: nn.Sequential(nn.BatchNorm2d(8), nn.Conv2d(8, 6, 1)), image),
    "mobilenet_mqa": (MultiQuery, image),
    "ghost": (Ghost, image),
    "detector": (Detector, lambda: (torch.randn(1, 8, 6, 6),)),
    "spp": (lambda: fn(lambda x: torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (3, 5))], 1)), image),
    "mcunet": (lambda: nn.Sequential(nn.Conv2d(8, 12, 1), nn.ReLU6(), nn.Conv2d(12, 8, 7, 1, 3, groups=4)), image),
    "attention": (Attention, tokens),
    "multihead": (lambda: Apply(lambda m, x: m(x, x, x, need_weights=False)[0], nn.MultiheadAttention(16, 4, batch_first=True)), tokens),
    # activations
    "gelu": (nn.GELU, image),
    "hardswish": (nn.Hardswish, image),
    "activations": (lambda: Apply(lambda *parts: [m(parts[-1]) for m in parts[:-1]], *ACTIVATIONS), image),
    # arithmetic
    "add_mul": (lambda: fn(lambda a, b: (a + b) * b - a / b), pair),
    "scalars": (lambda: fn(lambda a, b: 2 - a * 3 + b.pow(2)), pair),
    "powers": (lambda: fn(lambda x: x.sqrt() + x.rsqrt() + x.square() + x.pow(1.7)), positive),
    "exponentials": (lambda: fn(lambda x: x.exp() + x.log() + x.exp2() + torch.log1p(x) + torch.expm1(x)), positive),
    "trigonometry": (lambda: fn(lambda x: x.sin() + x.cos() + x.tan() + x.tanh() + x.sinh() + x.cosh()), positive),
    "inverses": (lambda: fn(lambda x: (x / 2).asin() + (x / 2).acos() + x.atan() + (x / 2).atanh()), positive),
    "erf": (lambda: fn(torch.erf), image),
    "rounding": (lambda: fn(lambda x: (3 * x).floor() + (5 * x).ceil() + (7 * x).round() + x.sign() + x.abs()), image),
    "floor_div": (lambda: fn(lambda a, b: torch.div(a, b, rounding_mode="floor") + torch.remainder(a, b)), pair),
    "minimum": (lambda: fn(lambda a, b: torch.minimum(a, b) * torch.maximum(a, b * 2)), pair),
    "compare": (lambda: fn(lambda a, b: torch.where(torch.logical_or(a > b, a <= -b), a, b) * (a != b)), pair),
    "logic": (lambda: fn(lambda a, b: torch.where(torch.logical_and(a >= 0, torch.logical_not(b < 1)), a, -b) + (a == a).float()), pair),
    "clamp": (lambda: fn(lambda x: x.clamp(-0.3, 0.4) + x.clamp(min=0.1) + x.clamp(max=0.2)), image),
    "cast": (lambda: fn(lambda x: (x * 10).to(torch.int32).float() * 0.5 + (x > 0).float()), image),
    # matrices
    "linear": (lambda: nn.Linear(16, 7), tokens),
    "matmul": (lambda: fn(lambda x: x @ x.mT), tokens),
    "bmm": (lambda: fn(lambda a, b: torch.bmm(a, b.transpose(1, 2))), pair),
    "einsum": (lambda: fn(lambda x: torch.einsum("bchw,bwhu->bchu", x, x.transpose(1, 3))), lambda: (torch.randn(1, 5, 4, 6),)),
    "einsum_attention": (lambda: fn(lambda x: torch.einsum("bnd,bmd->bnm", x, x)), tokens),
    # normalisation
    "layer_norm": (lambda: nn.LayerNorm(16), tokens),
    "layer_norm_2d": (lambda: nn.LayerNorm([12, 12], elementwise_affine=False), image),
    "group_norm": (lambda: nn.GroupNorm(4, 8), image),
    "instance_norm": (lambda: nn.InstanceNorm2d(8, affine=True), image),
    "batch_norm_1d": (lambda: nn.BatchNorm1d(10), tokens),
    "batch_norm_3d": (lambda: nn.BatchNorm3d(4), video),
    "rms_norm": (RmsNorm, image),
    "normalize": (lambda: fn(lambda x: F.normalize(x, dim=1)), image),
    # pooling
    "max_pool": (lambda: nn.MaxPool2d(3, 2, 1), image),
    "max_pool_ceil": (lambda: nn.MaxPool2d(3, 2, 0, ceil_mode=True), image),
    "max_pool_1d": (lambda: nn.MaxPool1d(2), tokens),
    "avg_pool": (lambda: nn.AvgPool2d(3, 2, 1), image),
    "avg_pool_exclude": (lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False), image),
    "avg_pool_ceil": (lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), image),
    "avg_pool_3d": (lambda: nn.AvgPool3d(2), video),
    "adaptive_pool": (lambda: nn.AdaptiveAvgPool2d(1), image),
    "adaptive_max": (lambda: nn.AdaptiveMaxPool2d(1), image),
    # reductions
    "reductions": (lambda: fn(lambda x: x.sum(1) + x.mean(1) + x.amax(1) + x.amin(1)), image),
    "reduce_all": (lambda: fn(lambda x: x.mean() + x.sum((1, 2, 3))), image),
    "norms": (lambda: fn(lambda x: x.norm(dim=1) + x.abs().sum(1) + x.logsumexp(1)), image),
    "variance": (lambda: fn(lambda x: x.var(1) + x.std(1, unbiased=False)), image),
    "argmax": (lambda: fn(lambda x: x.argmax(1).float() + x.argmin(1)), image),
    "topk": (lambda: fn(lambda x: x.topk(3, dim=1)[0] * x.topk(3, dim=1)[1]), tokens),
    "sort": (lambda: fn(lambda x: x.sort(dim=-1)[0]), tokens),
    "argsort": (lambda: fn(lambda x: x.argsort(dim=-1).float()), tokens),
    "cumsum": (lambda: fn(lambda x: x.cumsum(1)), tokens),
    # shapes
    "reshape": (lambda: fn(lambda x: x.reshape(1, 2, 4, -1).permute(0, 3, 1, 2).flatten(1)), image),
    "squeeze": (lambda: fn(lambda x: x.unsqueeze(2).squeeze(0).unsqueeze(-1)), image),
    "split": (lambda: fn(lambda x: [p * i for i, p in enumerate(x.split([3, 4, 1], 1), 2)]), image),
    "chunk": (lambda: fn(lambda x: torch.cat(x.chunk(4, 1)[::-1], 1)), image),
    "slices": (lambda: fn(lambda x: x[:, 1:7:2, -4:, :-1] + x[:, :3, 2:6, 1:2]), image),
    "select": (lambda: fn(lambda x: x[:, 3] + x[:, -1] * x.select(2, 2)[:, :1]), image),
    "slice_assign": (lambda: fn(lambda x: torch.cat([x[:, :2], x[:, 2:4] * 0, x[:, 4:]], 1)), image),
    "flip": (lambda: fn(lambda x: x.flip(-1).flip((1, 2))), image),
    "roll": (lambda: fn(lambda x: x.roll(2, -1)), image),
    "repeat": (lambda: fn(lambda x: x.repeat(1, 2, 1, 3)), image),
    "expand": (lambda: fn(lambda x: x[:, :1].expand(-1, 5, -1, -1) * 2), image),
    "repeat_interleave": (lambda: fn(lambda x: x.repeat_interleave(2, 2)), video),
    "stack": (lambda: fn(lambda x: torch.stack([x, x * 2], 2)), image),
    "gather": (lambda: fn(lambda x: x.gather(1, (x[:, :4] > 0).long() * 3)), tokens),
    "index_select": (lambda: fn(lambda x: x.index_select(1, torch.tensor([3, 0, 3]))), tokens),
    "embedding": (lambda: Apply(lambda e, i: e(i), nn.Embedding(9, 5)), lambda: (torch.randint(0, 9, (2, 7), dtype=torch.int32),)),
    "tril": (lambda: fn(lambda x: x.tril() + x.triu()), image),
    "masked_fill": (lambda: fn(lambda x: x.masked_fill(x > 0.5, -2.0)), image),
    "full": (lambda: fn(lambda x: torch.full_like(x, 2.5) + torch.zeros(12) + x), image),
    "pad_constant": (lambda: fn(lambda x: F.pad(x, (1, 2, 3, 0), value=0.5)), image),
    "pad_reflect": (lambda: nn.ReflectionPad2d((1, 2, 3, 4)), image),
    "pad_replicate": (lambda: nn.ReplicationPad2d((1, 2, 3, 4)), image),
    "pad_replicate_frames": (lambda: fn(lambda x: F.pad(x, (0, 0, 0, 0, 2, 0), mode="replicate")), video),
    "pixel_shuffle": (lambda: nn.PixelShuffle(2), image),
    "pixel_unshuffle": (lambda: nn.PixelUnshuffle(3), image),
    "depth_to_space_3d": (lambda: fn(lambda x: x.reshape(1, 1, 2, 2, 5, 8, 8).permute(0, 1, 4, 5, 2, 6, 3).reshape(1, 1, 5, 16, 16)), video),
    # resampling
    "nearest": (lambda: nn.Upsample(scale_factor=2), image),
    "nearest_size": (lambda: nn.Upsample(size=(18, 30)), image),
    "bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), image),
    "bilinear_corners": (lambda: nn.Upsample(scale_factor=3, mode="bilinear", align_corners=True), image),
    "bilinear_size": (lambda: nn.Upsample(size=(7, 29), mode="bilinear"), image),
    "grid_sample": (lambda: fn(lambda x, g: F.grid_sample(x, g, align_corners=False)), lambda: (torch.randn(1, 3, 6, 7), torch.rand(1, 4, 5, 2) * 2.4 - 1.2)),
    "grid_sample_border": (lambda: fn(lambda x, g: F.grid_sample(x, g, padding_mode="border", align_corners=True)), lambda: (torch.randn(1, 3, 6, 7), torch.rand(1, 4, 5, 2) * 2.4 - 1.2)),
}  # fmt: skip
IOS18 = [
    "attention",
    "multihead",
    "mobilenet_mqa",
    "detector",
    "conv3d",
    "deconv2d_output",
    "slices",
    "embedding",
    "slice_assign",
]
FP16 = ["conv_bn_relu", "mobilenet_mqa", "ghost", "detector", "attention", "group_norm", "rms_norm", "conv3d", "gelu", "hardswish", "bilinear", "reductions", "avg_pool_exclude", "pad_reflect", "slices"]  # fmt: skip


def check(convert: Callable[..., Path], case: str, target: str, precision: str, threshold: float) -> None:
    torch.manual_seed(0)
    make_module, make_inputs = CASES[case]
    module, inputs = make_module().eval(), make_inputs()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
    program = read_program(convert(module, *inputs, target=target, precision=precision))
    assert missing_operators(program) == ()
    names = [each.name for each in program.inputs]
    outputs = Interpreter(program).run({n: x.numpy() for n, x in zip(names, inputs, strict=True)})
    with torch.no_grad():
        expected = module(*inputs)
    expected = expected if isinstance(expected, list | tuple) else [expected]
    assert list(outputs) == [each.name for each in program.outputs]
    for reference, measured in zip(expected, outputs.values(), strict=True):
        assert measured.shape == tuple(reference.shape)
        assert sqnr(reference.numpy(), measured) >= threshold


@pytest.mark.parametrize("case", CASES)
def test_float32_ios17(convert: Callable[..., Path], case: str) -> None:
    check(convert, case, "iOS17", "FLOAT32", FP32_DB)


@pytest.mark.parametrize("case", IOS18)
def test_float32_ios18(convert: Callable[..., Path], case: str) -> None:
    check(convert, case, "iOS18", "FLOAT32", FP32_DB)


@pytest.mark.parametrize("case", FP16)
def test_float16(convert: Callable[..., Path], case: str) -> None:
    check(convert, case, "iOS17", "FLOAT16", FP16_DB)


@pytest.mark.parametrize("case", ["mobilenet_mqa", "attention"])
def test_float16_ios18(convert: Callable[..., Path], case: str) -> None:
    check(convert, case, "iOS18", "FLOAT16", FP16_DB)


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        (nn.GELU("tanh"), nn.GELU()),  # converted from an exported program, the approximation is dropped
        (fn(lambda x: 1 / x), fn(lambda x: 1 / (x + 1e-4))),  # `inverse` has an epsilon
    ],
    ids=["gelu_tanh", "reciprocal"],
)
def test_shows_what_the_converter_changed(convert: Callable[..., Path], asked: nn.Module, written: nn.Module) -> None:
    (x,) = positive()
    program = read_program(convert(asked, x))
    (measured,) = Interpreter(program).run({program.inputs[0].name: x.numpy()}).values()
    assert sqnr(asked(x).numpy(), measured) < FP32_DB
    assert sqnr(written(x).numpy(), measured) >= FP32_DB


def test_batch_of_runs_keeps_nothing_of_the_last(convert: Callable[..., Path]) -> None:
    program = read_program(convert(Ghost(), *image()))
    interpreter, (a,), (b,) = Interpreter(program), image(), image()
    name = program.inputs[0].name
    first = interpreter.run({name: a.numpy()})
    interpreter.run({name: b.numpy()})
    again = interpreter.run({name: a.numpy()})
    assert all(np.array_equal(first[key], again[key]) for key in first)
