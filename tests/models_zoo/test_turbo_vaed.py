"""Turbo-VAED decoders against their published integers, diffusers' blocks, and the formulas written out in numpy."""

from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from exporters.base import absent
from models_zoo.turbo_vaed import VARIANTS, ResBlock, Upsampler, WrongLatent, WrongVariant, turbo_vaed
from runtime_py.errors import SdkError


@dataclass(frozen=True)
class Published:
    """Of hustvl/Turbo-VAED@9268488; `parts`: conv_in, middle, four up blocks, 2-D up-samplers, conv_out."""

    params: int
    entries: int
    parts: tuple[int, ...]
    latent: tuple[int, ...]
    video: tuple[int, ...]
    macs: int


_WIDE = Published(
    40_687_811, 158, (221_696, 3_271_680, 2_617_344, 33_756_928, 700_512, 118_352, 1_299),
    (1, 16, 5, 8, 8), (1, 3, 17, 64, 64), 51_541_311_488,
)  # fmt: skip
PUBLISHED = {
    "turbo_vaed_hunyuan": _WIDE,
    "turbo_vaed_cog": _WIDE,
    "turbo_vaed_dc": Published(
        45_831_383, 134,
        (1_769_984, 2_617_344, 1_963_008, 30_217_472, 7_555_712, 1_668_288, 36_928, 2_320, 327),
        (1, 128, 4, 2, 2), (1, 3, 16, 64, 64), 9_753_772_032,
    ),
    "turbo_vaed_ltx": Published(
        41_896_023, 86,
        (1_769_984, 654_336, 654_336, 30_217_472, 6_670_720, 1_889_600, 36_928, 2_320, 327),
        (1, 128, 3, 2, 2), (1, 3, 17, 64, 64), 6_348_808_192,
    ),
}  # fmt: skip
LTX_SHAPES = {
    "conv_in.conv.weight": (512, 128, 3, 3, 3),
    "mid_block.resnets.0.conv1.depthwise_conv.weight": (512, 1, 5, 5, 5),
    "mid_block.resnets.0.conv2.pointwise_conv.bias": (512,),
    "up_blocks.0.resnets.0.conv1.pointwise_conv.weight": (512, 512, 1, 1, 1),
    "up_blocks.1.conv_in.conv1.conv.weight": (256, 512, 3, 3, 3),
    "up_blocks.1.conv_in.norm3.weight": (512,),
    "up_blocks.1.conv_in.norm3.bias": (512,),
    "up_blocks.1.conv_in.conv_shortcut.conv.weight": (256, 512, 1, 1, 1),
    "up_blocks.1.upsamplers.0.conv.conv.weight": (2048, 256, 3, 3, 3),
    "up_blocks.2.upsamplers.0.conv.conv.weight": (1024, 128, 3, 3, 3),
    "up_blocks.3.upsamplers.0.conv.conv.weight": (512, 64, 3, 3, 3),
    "up_blocks.3.resnets.2.conv2.conv.weight": (64, 64, 3, 3, 3),
    "upsampler2d_1.conv.weight": (64, 64, 3, 3),
    "upsampler2d_2.conv.weight": (16, 16, 3, 3),
    "conv_out.conv.weight": (3, 4, 3, 3, 3),
}
NARROW: dict[str, dict[str, Any]] = {
    "turbo_vaed_hunyuan": {"latent_channels": 4, "widths": (12, 8, 6, 5), "resnets": (1, 1, 1, 1, 1)},
    "turbo_vaed_dc": {"latent_channels": 5, "widths": (12, 8, 6, 32), "resnets": (1, 1, 1, 1, 1)},
    "turbo_vaed_ltx": {"latent_channels": 5, "widths": (12, 8, 6, 32), "resnets": (2, 0, 1, 1, 1)},
}


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"):
        return turbo_vaed(name)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def spread(module: nn.Module, seed: int = 0) -> None:
    """Weights of seeded noise, so that no bias, norm weight or norm bias hides behind its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            fan = max(prod(parameter.shape[1:]), 1)
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) / fan**0.5)


@pytest.fixture(scope="module")
def ltx() -> Any:
    """Diffusers' LTX-Video decoder, imported without what it loads only because it is there."""
    with absent("transformers", "torchvision", "torchao"):
        return pytest.importorskip("diffusers.models.autoencoders.autoencoder_kl_ltx", reason="needs diffusers")


def relative_error(expected: Tensor, found: Tensor) -> float:
    assert expected.shape == found.shape
    return float((expected - found).abs().max() / expected.abs().max())


def test_every_decoder_is_checked() -> None:
    assert set(PUBLISHED) == set(VARIANTS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_of_every_part(name: str) -> None:
    model, published = on_meta(name), PUBLISHED[name]
    blocks = list(model.get_submodule("up_blocks").children())
    tail = [part for key, part in model.named_children() if key.startswith("upsampler2d")]
    ends = [model.get_submodule(key) for key in ("conv_in", "mid_block", "conv_out")]
    assert tuple(map(parameters, [*ends[:2], *blocks, *tail, ends[2]])) == published.parts
    assert parameters(model) == published.params == sum(published.parts)


@pytest.mark.parametrize("name", PUBLISHED)
def test_entries_of_the_state_dict(name: str) -> None:
    assert len(on_meta(name).state_dict()) == PUBLISHED[name].entries


def test_keys_and_shapes_are_the_published_ones() -> None:
    shapes = {key: tuple(value.shape) for key, value in on_meta("turbo_vaed_ltx").state_dict().items()}
    assert {key: shapes.get(key) for key in LTX_SHAPES} == LTX_SHAPES
    wide = on_meta("turbo_vaed_hunyuan").state_dict()
    assert tuple(wide["up_blocks.2.upsamplers.0.conv.conv.weight"].shape) == (256, 32, 3, 3, 3)
    assert tuple(wide["up_blocks.3.upsamplers.0.conv.conv.weight"].shape) == (64, 16, 3, 3, 3), "space only"
    assert tuple(wide["conv_out.conv.weight"].shape) == (3, 16, 3, 3, 3)


@pytest.mark.parametrize("name", PUBLISHED)
def test_video_shape_and_multiply_accumulates(name: str) -> None:
    model, published, total = on_meta(name), PUBLISHED[name], 0

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.Conv3d)
        total += output.numel() * prod(layer.kernel_size) * layer.in_channels // layer.groups

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            layer.register_forward_hook(count)
    assert tuple(model(torch.empty(published.latent, device="meta")).shape) == published.video
    assert total == published.macs


@pytest.mark.parametrize("shape", [(1, 15, 3, 4, 4), (1, 128, 3, 4, 4), (16, 3, 4, 4)])
def test_another_latent_is_refused_with_its_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(WrongLatent) as caught:
        on_meta("turbo_vaed_hunyuan")(torch.empty(shape, device="meta"))
    assert isinstance(caught.value, SdkError)
    assert str(shape) in caught.value.given
    assert "(N, 16, T, H, W)" in caught.value.expected


@pytest.mark.parametrize(
    "overrides",
    [{"widths": (8, 8, 8)}, {"resnets": (1, 1, 1, 1)}, {"widths": (8, 8, 8, 24)}, {"resnets": (1, 1, 1, 1, -1)},
     {"latent_channels": 0}, {"widths": (8, 0, 8, 16)}],
)  # fmt: skip
def test_impossible_decoders_are_refused(overrides: dict[str, Any]) -> None:
    with pytest.raises(WrongVariant):
        turbo_vaed("turbo_vaed_ltx", **overrides)


@pytest.mark.parametrize(("inp", "out"), [(6, 6), (6, 9)])
def test_dense_residual_block_is_that_of_diffusers(ltx: Any, inp: int, out: int) -> None:
    """LTX-Video's, not causal, whose keys are the same (diffusers 0.42)."""
    ours, theirs = ResBlock(inp, out, separable=False).double(), ltx.LTXVideoResnetBlock3d(inp, out, is_causal=False)
    spread(ours)
    theirs.double().load_state_dict(ours.state_dict())
    x = torch.randn(2, inp, 4, 5, 3, dtype=torch.float64)
    assert relative_error(theirs(x), ours(x)) < 1e-6  # its norm computes in float32


def test_decoupled_shuffle_is_that_of_diffusers_in_another_order(ltx: Any) -> None:
    """LTX-Video's has channel ((c * 2 + dt) * 2 + dy) * 2 + dx where ours has ((c * 4 + 2 * dy + dx) * 2 + dt)."""
    channels = 3
    ours, theirs = (
        Upsampler(channels, 2, drop=1).double(),
        ltx.LTXVideoUpsampler3d(channels, (2, 2, 2), is_causal=False),
    )
    spread(ours)
    order = [((c * 4 + 2 * dy + dx) * 2 + dt) for c in range(channels) for dt, dy, dx in product(range(2), repeat=3)]
    theirs.double().load_state_dict({key: value[order] for key, value in ours.state_dict().items()})
    x = torch.randn(2, channels, 4, 3, 5, dtype=torch.float64)
    found = ours(x)
    assert found.shape == (2, channels, 7, 6, 10)
    assert relative_error(theirs(x), found) < 1e-12


class Reference:
    """One sample (C, T, H, W) through the published formulas, in numpy, from a state dict."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {key: value.numpy() for key, value in state.items()}

    def has(self, prefix: str) -> bool:
        return any(key.startswith(prefix) for key in self.state)

    def conv(self, x: np.ndarray, key: str) -> np.ndarray:
        """Any convolution that keeps the size, tap by tap; first and last frames repeat, zeros surround pictures."""
        weight, bias = self.state[key + ".weight"], self.state[key + ".bias"]
        weight = weight[:, :, None] if weight.ndim == 4 else weight
        kt, kh, kw = weight.shape[2:]
        frames, h, w = x.shape[1:]
        x = np.concatenate([x[:, :1]] * (kt // 2) + [x] + [x[:, -1:]] * (kt // 2), 1)
        x = np.pad(x, ((0, 0), (0, 0), (kh // 2, kh // 2), (kw // 2, kw // 2)))
        total = np.broadcast_to(bias[:, None, None, None], (len(bias), frames, h, w)).copy()
        for a, b, c in np.ndindex(kt, kh, kw):
            window, tap = x[:, a : a + frames, b : b + h, c : c + w], weight[:, :, a, b, c]
            depthwise = tap.shape[1] == 1 and len(x) > 1
            total += tap[:, :, None, None] * window if depthwise else np.tensordot(tap, window, 1)
        return total

    def any_conv(self, x: np.ndarray, key: str) -> np.ndarray:
        if self.has(key + ".conv."):
            return self.conv(x, key + ".conv")
        return self.conv(self.conv(x, key + ".depthwise_conv"), key + ".pointwise_conv")

    def block(self, x: np.ndarray, key: str, relu: bool) -> np.ndarray:
        y = rms(x)
        y = self.any_conv(np.maximum(y, 0) if relu else silu(y), key + ".conv1")
        y = self.any_conv(silu(rms(y)), key + ".conv2")
        if self.has(key + ".norm3"):
            centred = x - x.mean(0)
            x = centred / np.sqrt((centred**2).mean(0) + 1e-6)
            x = x * self.state[key + ".norm3.weight"][:, None, None, None]
            x = x + self.state[key + ".norm3.bias"][:, None, None, None]
            x = self.conv(x, key + ".conv_shortcut.conv")
        return x + y

    def blocks(self, x: np.ndarray, prefix: str, relu: bool) -> np.ndarray:
        index = 0
        while self.has(f"{prefix}.{index}."):
            x = self.block(x, f"{prefix}.{index}", relu)
            index += 1
        return x

    def decode(self, latent: np.ndarray, keep_frames: bool) -> np.ndarray:
        x = self.blocks(self.conv(latent, "conv_in.conv"), "mid_block.resnets", relu=False)
        for index in range(4):
            key = f"up_blocks.{index}"
            if self.has(key + ".conv_in"):
                x = self.block(x, key + ".conv_in", relu=False)
            grows = self.has(key + ".upsamplers")
            if grows:
                y = self.conv(x, key + ".upsamplers.0.conv.conv")
                factor = len(y) // len(x) // 4
                x = shuffled(y, len(x), factor)[:, 0 if keep_frames else factor - 1 :]
            x = self.blocks(x, key + ".resnets", relu=grows)
        x = silu(rms(x))
        for key in ("upsampler2d_1.conv", "upsampler2d_2.conv"):
            if self.has(key):
                x = silu(rms(shuffled(self.conv(x, key), len(x) // 4, 1)))
        return self.conv(x, "conv_out.conv")


def rms(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(0) + 1e-8)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def shuffled(y: np.ndarray, channels: int, factor: int) -> np.ndarray:
    """Channel ((c * 4 + 2 * dy + dx) * factor + dt) to frame t * factor + dt and pixel (2 * i + dy, 2 * j + dx)."""
    _, frames, h, w = y.shape
    x = np.empty((channels, frames * factor, 2 * h, 2 * w), y.dtype)
    for c, dy, dx, dt in np.ndindex(channels, 2, 2, factor):
        x[c, dt::factor, dy::2, dx::2] = y[(c * 4 + 2 * dy + dx) * factor + dt]
    return x


@pytest.mark.parametrize("name", NARROW)
def test_narrow_decoders_are_the_formulas(name: str) -> None:
    model = turbo_vaed(name, **NARROW[name]).double().eval()
    spread(model)
    latents = torch.randn(2, NARROW[name]["latent_channels"], 3, 2, 3, dtype=torch.float64)
    with torch.no_grad():
        videos = model(latents)
    reference = Reference(model.state_dict())
    for latent, video in zip(latents, videos, strict=True):
        expected = torch.from_numpy(reference.decode(latent.numpy(), keep_frames=name.endswith("dc")))
        assert relative_error(expected, video) < 1e-6


def test_weights_are_random_and_follow_the_seed() -> None:
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(turbo_vaed("turbo_vaed_ltx", **NARROW["turbo_vaed_ltx"]).state_dict())
    first, same, other = ([state[key] for key in sorted(state)] for state in models)
    assert all(map(torch.equal, first, same))
    assert not any(
        torch.equal(a, b) for a, b, key in zip(first, other, sorted(models[0]), strict=True) if "norm" not in key
    )
    bound = (12 * 27) ** -0.5  # PyTorch's own: uniform within 1 / sqrt(fan in)
    weight = models[0]["up_blocks.1.conv_in.conv1.conv.weight"]
    assert 0.97 * bound < weight.abs().max() <= bound
