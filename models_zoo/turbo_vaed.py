"""Turbo-VAED, video decoders distilled for phones (arXiv:2508.09136): latents to frames, for four video VAEs.

State-dict keys are those of the published decoders, so that their checkpoints load strictly. Norms without
weights, time padded by repeating frames, separable 5x5x5 convolutions where channels are many, and a 3-D pixel
shuffle that is decoupled into one over time and one over each frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from runtime_py.errors import SdkError

SEPARABLE_BLOCKS = 1  # of the up blocks, beside the middle block: the first, where the picture is smallest


class WrongLatent(SdkError):
    """A latent of another rank or channel count than the decoder's."""

    id = "wrong-latent"


class WrongVariant(SdkError):
    """Widths or block counts from which no decoder can be built."""

    id = "wrong-variant"


@dataclass(frozen=True)
class Variant:
    """One decoder, in the order of its forward pass.

    `resnets` counts residual blocks of the middle block and of each up block; `up` is each up block's factor
    over time, with a factor of 2 over height and width, or 0 where it keeps the size. `patch` is the factor by
    which the tail's 2-D convolutions enlarge frames: 1 or 4. `keep_frames` keeps all dt * T frames, where the
    others drop what a causal encoder never saw and give dt * (T - 1) + 1.
    """

    latent_channels: int
    widths: tuple[int, ...]
    resnets: tuple[int, ...]
    up: tuple[int, ...]
    patch: int
    keep_frames: bool = False


_WIDE = Variant(16, (512, 256, 32, 16), (5, 4, 4, 4, 5), (0, 2, 2, 1), patch=1)

VARIANTS: dict[str, Variant] = {
    "turbo_vaed_hunyuan": _WIDE,
    "turbo_vaed_cog": _WIDE,
    "turbo_vaed_dc": Variant(128, (512, 256, 128, 64), (4, 3, 3, 3, 4), (0, 2, 2, 1), patch=4, keep_frames=True),
    "turbo_vaed_ltx": Variant(128, (512, 256, 128, 64), (1, 1, 3, 2, 3), (0, 2, 2, 2), patch=4),
}


class RMSNorm(nn.Module):
    """Divides by the root mean square over channels; has no weights."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) to the same shape."""
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class ChannelLayerNorm(nn.LayerNorm):
    """Layer norm over channels, which stay where convolutions have them."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to the same shape."""
        x = x - x.mean(1, keepdim=True)
        x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + self.eps)
        return x * self.weight.view(-1, 1, 1, 1) + self.bias.view(-1, 1, 1, 1)


class RepeatFrames(nn.Module):
    """Pads time by repeating the first and the last frame."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C, T + 2 * count, H, W)."""
        return torch.cat([x[:, :, :1]] * self.count + [x] + [x[:, :, -1:]] * self.count, 2)


class Conv(nn.Module):
    """Dense 3-D convolution that keeps the size: frames repeat over time, zeros pad height and width."""

    def __init__(self, inp: int, out: int, kernel: int = 3) -> None:
        super().__init__()
        self.pad = RepeatFrames(kernel // 2) if kernel > 1 else nn.Identity()
        self.conv = nn.Conv3d(inp, out, kernel, padding=(0, kernel // 2, kernel // 2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, O, T, H, W)."""
        out: Tensor = self.conv(self.pad(x))
        return out


class SeparableConv(nn.Module):
    """Depthwise 5x5x5 convolution, padded as `Conv` is, then 1x1x1."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.pad = RepeatFrames(2)
        self.depthwise_conv = nn.Conv3d(inp, inp, 5, padding=(0, 2, 2), groups=inp)
        self.pointwise_conv = nn.Conv3d(inp, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, O, T, H, W)."""
        out: Tensor = self.pointwise_conv(self.depthwise_conv(self.pad(x)))
        return out


class ResBlock(nn.Module):
    """Norm, `act`, convolution, norm, SiLU, convolution, shortcut."""

    def __init__(self, inp: int, out: int, separable: bool, act: type[nn.Module] = nn.SiLU) -> None:
        super().__init__()
        conv: type[Conv] | type[SeparableConv] = SeparableConv if separable else Conv
        self.norm1 = RMSNorm()
        self.act1 = act()
        self.conv1 = conv(inp, out)
        self.norm2 = RMSNorm()
        self.act2 = nn.SiLU()
        self.conv2 = conv(out, out)
        self.norm3 = ChannelLayerNorm(inp, eps=1e-6) if inp != out else nn.Identity()
        self.conv_shortcut = Conv(inp, out, kernel=1) if inp != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, O, T, H, W)."""
        y: Tensor = self.conv1(self.act1(self.norm1(x)))
        y = self.conv2(self.act2(self.norm2(y)))
        out: Tensor = y + self.conv_shortcut(self.norm3(x))
        return out


class Upsampler(nn.Module):
    """Decoupled 3-D pixel shuffle: channel ((c * 4 + 2 * dy + dx) * factor + dt) becomes frame and pixel."""

    def __init__(self, channels: int, factor: int, drop: int) -> None:
        super().__init__()
        self.factor, self.drop = factor, drop
        self.conv = Conv(channels, channels * 4 * factor)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C, T * factor - drop, 2 * H, 2 * W)."""
        y: Tensor = self.conv(x).transpose(1, 2)
        n, frames, channels, h, w = y.shape
        if self.factor > 1:
            y = y.reshape(n, frames, channels // self.factor, self.factor, h * w).transpose(2, 3)
            y = y.reshape(n, frames * self.factor, channels // self.factor, h, w)[:, self.drop :]
        return F.pixel_shuffle(y, 2).transpose(1, 2)


class Upsampler2d(nn.Module):
    """3x3 convolution and pixel shuffle of every frame by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, C / 4, T, 2 * H, 2 * W)."""
        y: Tensor = F.pixel_shuffle(self.conv(x.transpose(1, 2).flatten(0, 1)), 2)
        return y.reshape(x.shape[0], x.shape[2], *y.shape[1:]).transpose(1, 2)


class MiddleBlock(nn.Module):
    """Separable residual blocks at the latent's size."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.resnets = nn.Sequential(*[ResBlock(channels, channels, separable=True) for _ in range(count)])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to the same shape."""
        out: Tensor = self.resnets(x)
        return out


class UpBlock(nn.Module):
    """A residual block to another width, an up-sampler, residual blocks; each of the first two where needed."""

    def __init__(self, inp: int, out: int, count: int, factor: int, drop: int, separable: bool) -> None:
        super().__init__()
        act = nn.ReLU if factor else nn.SiLU
        self.conv_in = ResBlock(inp, out, separable) if inp != out else nn.Identity()
        self.upsamplers = nn.Sequential(*([Upsampler(out, factor, drop)] if factor else []))
        self.resnets = nn.Sequential(*[ResBlock(out, out, separable, act) for _ in range(count)])

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) to (N, O, T', H', W')."""
        out: Tensor = self.resnets(self.upsamplers(self.conv_in(x)))
        return out


class TurboVAED(nn.Module):
    """The whole decoder: latent (N, C, T, H, W) to video (N, 3, T', H', W') in [-1, 1] or a little beyond."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.latent_channels = variant.latent_channels
        widths, counts = variant.widths, variant.resnets
        self.conv_in = Conv(variant.latent_channels, widths[0])
        self.mid_block = MiddleBlock(widths[0], counts[0])
        self.up_blocks = nn.Sequential(
            *[
                UpBlock(
                    widths[max(index - 1, 0)],
                    widths[index],
                    counts[index + 1],
                    factor,
                    drop=0 if variant.keep_frames else factor - 1,
                    separable=index < SEPARABLE_BLOCKS,
                )
                for index, factor in enumerate(variant.up)
            ]
        )
        self.norm, self.act = RMSNorm(), nn.SiLU()
        channels = widths[-1]
        self.patched = variant.patch > 1
        if self.patched:
            self.upsampler2d_1, self.upsampler2d_2 = Upsampler2d(channels), Upsampler2d(channels // 4)
            channels //= 16
        self.conv_out = Conv(channels, 3)

    def forward(self, latent: Tensor) -> Tensor:
        """Video (N, 3, T', H', W') of a latent (N, C, T, H, W); raises WrongLatent for another shape."""
        if latent.dim() != 5 or latent.shape[1] != self.latent_channels:
            raise WrongLatent(
                f"a latent of shape {tuple(latent.shape)}",
                expected=f"(N, {self.latent_channels}, T, H, W)",
                hint="each decoder takes the latents of its own teacher's encoder only",
            )
        x = self.act(self.norm(self.up_blocks(self.mid_block(self.conv_in(latent)))))
        if self.patched:
            x = self.act(self.norm(self.upsampler2d_1(x)))
            x = self.act(self.norm(self.upsampler2d_2(x)))
        video: Tensor = self.conv_out(x)
        return video


def turbo_vaed(
    name: str,
    *,
    latent_channels: int | None = None,
    widths: Sequence[int] | None = None,
    resnets: Sequence[int] | None = None,
) -> TurboVAED:
    """The decoder of `VARIANTS[name]`; the overrides make narrow or short ones. Raises WrongVariant.

    Four `widths`, of the up blocks from the latent on, and five counts of `resnets`, the middle block's first.
    """
    row = VARIANTS[name]
    row = replace(
        row,
        latent_channels=row.latent_channels if latent_channels is None else latent_channels,
        widths=row.widths if widths is None else tuple(widths),
        resnets=row.resnets if resnets is None else tuple(resnets),
    )
    blocks = len(row.up)
    if len(row.widths) != blocks or len(row.resnets) != blocks + 1:
        raise WrongVariant(
            f"{name} with {len(row.widths)} widths and {len(row.resnets)} counts of resnets",
            expected=f"{blocks} widths and {blocks + 1} counts",
        )
    if min(row.latent_channels, *row.widths) < 1 or min(row.resnets) < 0 or row.widths[-1] % row.patch**2:
        raise WrongVariant(
            f"{name} with {row.latent_channels} latent channels, widths {row.widths} and resnets {row.resnets}",
            expected=f"positive channels, the last width a multiple of {row.patch**2}, no negative count",
        )
    return TurboVAED(row)
