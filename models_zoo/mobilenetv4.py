"""MobileNetV4, the convolutional and the hybrid networks (Qin et al., 2024, arXiv:2404.10518).

State-dict keys are timm's, so that its published checkpoints load strictly.
"""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Conv:
    """A plain convolution with norm and activation."""

    out: int
    kernel: int
    stride: int = 1


@dataclass(frozen=True)
class Fused:
    """A full convolution to `mid` channels, then 1x1 to `out` (an inverted bottleneck with both fused)."""

    mid: int
    out: int
    kernel: int
    stride: int = 1


@dataclass(frozen=True)
class UIB:
    """Universal inverted bottleneck (section 3.1); a depthwise kernel of 0 means that there is none."""

    mid: int
    out: int
    start: int
    middle: int
    stride: int = 1


@dataclass(frozen=True)
class Attention:
    """Mobile multi-query attention (section 3.2): all heads share one key and one value of width `dim`."""

    heads: int
    dim: int
    kv_stride: int


Row = Conv | Fused | UIB | Attention


@dataclass(frozen=True)
class Variant:
    """One network: stem width, the rows of each stage, and whether it is a hybrid with layer scale."""

    stem: int
    stages: tuple[tuple[Row, ...], ...]
    layer_scale: bool = False
    act: type[nn.Module] = nn.ReLU


VARIANTS: dict[str, Variant] = {
    "mobilenetv4_conv_small": Variant(
        stem=32,
        stages=(
            (Conv(32, 3, 2), Conv(32, 1, 1)),
            (Conv(96, 3, 2), Conv(64, 1, 1)),
            (UIB(192, 96, 5, 5, 2), *[UIB(192, 96, 0, 3)] * 4, UIB(384, 96, 3, 0)),
            (
                UIB(576, 128, 3, 3, 2),
                UIB(512, 128, 5, 5),
                UIB(512, 128, 0, 5),
                UIB(384, 128, 0, 5),
                *[UIB(512, 128, 0, 3)] * 2,
            ),
            (Conv(960, 1, 1),),
        ),
    ),
    "mobilenetv4_conv_medium": Variant(
        stem=32,
        stages=(
            (Fused(128, 48, 3, 2),),
            (UIB(192, 80, 3, 5, 2), UIB(160, 80, 3, 3)),
            (
                UIB(480, 160, 3, 5, 2),
                *[UIB(640, 160, 3, 3)] * 2,
                UIB(640, 160, 3, 5),
                UIB(640, 160, 3, 3),
                UIB(640, 160, 3, 0),
                UIB(320, 160, 0, 0),
                UIB(640, 160, 3, 0),
            ),
            (
                UIB(960, 256, 5, 5, 2),
                UIB(1024, 256, 5, 5),
                *[UIB(1024, 256, 3, 5)] * 2,
                UIB(1024, 256, 0, 0),
                UIB(1024, 256, 3, 0),
                UIB(512, 256, 3, 5),
                UIB(1024, 256, 5, 5),
                *[UIB(1024, 256, 0, 0)] * 2,
                UIB(512, 256, 5, 0),
            ),
            (Conv(960, 1, 1),),
        ),
    ),
    "mobilenetv4_conv_large": Variant(
        stem=24,
        stages=(
            (Fused(96, 48, 3, 2),),
            (UIB(192, 96, 3, 5, 2), UIB(384, 96, 3, 3)),
            (
                UIB(384, 192, 3, 5, 2),
                *[UIB(768, 192, 3, 3)] * 3,
                UIB(768, 192, 3, 5),
                *[UIB(768, 192, 5, 3)] * 5,
                UIB(768, 192, 3, 0),
            ),
            (
                UIB(768, 512, 5, 5, 2),
                *[UIB(2048, 512, 5, 5)] * 3,
                UIB(2048, 512, 5, 0),
                UIB(2048, 512, 5, 3),
                *[UIB(2048, 512, 5, 0)] * 2,
                UIB(2048, 512, 5, 3),
                UIB(2048, 512, 5, 5),
                *[UIB(2048, 512, 5, 0)] * 3,
            ),
            (Conv(960, 1, 1),),
        ),
    ),
    "mobilenetv4_hybrid_medium": Variant(
        stem=32,
        stages=(
            (Fused(128, 48, 3, 2),),
            (UIB(192, 80, 3, 5, 2), UIB(160, 80, 3, 3)),
            (
                UIB(480, 160, 3, 5, 2),
                UIB(320, 160, 0, 0),
                UIB(640, 160, 3, 3),
                UIB(640, 160, 3, 5),
                Attention(4, 64, 2),
                UIB(640, 160, 3, 3),
                Attention(4, 64, 2),
                UIB(640, 160, 3, 0),
                Attention(4, 64, 2),
                UIB(640, 160, 3, 3),
                Attention(4, 64, 2),
                UIB(640, 160, 3, 0),
            ),
            (
                UIB(960, 256, 5, 5, 2),
                UIB(1024, 256, 5, 5),
                *[UIB(1024, 256, 3, 5)] * 2,
                UIB(512, 256, 0, 0),
                UIB(512, 256, 3, 5),
                UIB(512, 256, 0, 0),
                UIB(1024, 256, 0, 0),
                Attention(4, 64, 1),
                UIB(1024, 256, 3, 0),
                Attention(4, 64, 1),
                UIB(1024, 256, 5, 5),
                Attention(4, 64, 1),
                UIB(1024, 256, 5, 0),
                Attention(4, 64, 1),
                UIB(1024, 256, 5, 0),
            ),
            (Conv(960, 1, 1),),
        ),
        layer_scale=True,
    ),
    "mobilenetv4_hybrid_large": Variant(
        stem=24,
        stages=(
            (Fused(96, 48, 3, 2),),
            (UIB(192, 96, 3, 5, 2), UIB(384, 96, 3, 3)),
            (
                UIB(384, 192, 3, 5, 2),
                *[UIB(768, 192, 3, 3)] * 3,
                UIB(768, 192, 3, 5),
                *[UIB(768, 192, 5, 3)] * 2,
                Attention(8, 48, 2),
                UIB(768, 192, 5, 3),
                Attention(8, 48, 2),
                UIB(768, 192, 5, 3),
                Attention(8, 48, 2),
                UIB(768, 192, 5, 3),
                Attention(8, 48, 2),
                UIB(768, 192, 3, 0),
            ),
            (
                UIB(768, 512, 5, 5, 2),
                *[UIB(2048, 512, 5, 5)] * 3,
                UIB(2048, 512, 5, 0),
                UIB(2048, 512, 5, 3),
                *[UIB(2048, 512, 5, 0)] * 2,
                UIB(2048, 512, 5, 3),
                UIB(2048, 512, 5, 5),
                Attention(8, 64, 1),
                UIB(2048, 512, 5, 0),
                Attention(8, 64, 1),
                UIB(2048, 512, 5, 0),
                Attention(8, 64, 1),
                UIB(2048, 512, 5, 0),
                Attention(8, 64, 1),
                UIB(2048, 512, 5, 0),
            ),
            (Conv(960, 1, 1),),
        ),
        layer_scale=True,
        act=nn.GELU,
    ),
}


class Undrawn(nn.Conv2d):
    """A convolution whose weights `_initialise` draws: to draw them twice would take twice as long."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


def _conv(inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return Undrawn(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False)


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch norm, and an activation if one is given. (N, C, H, W) to (N, O, H', W')."""

    def __init__(
        self,
        inp: int,
        out: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        act: type[nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.conv = _conv(inp, out, kernel, stride, groups)
        self.bn = nn.BatchNorm2d(out)
        if act is not None:
            self.act = act()


class LayerScale(nn.Module):
    """A learnt factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((channels,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), scaled."""
        return x * self.gamma.view(-1, 1, 1)


class DropPath(nn.Module):
    """Drops the whole branch of a sample with probability `rate` while training (Huang et al., 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...), with some samples zeroed and the rest scaled up."""
        if not self.training or self.rate == 0.0:
            return x
        keep = 1.0 - self.rate
        return x * x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep).div_(keep)


class ConvBlock(nn.Module):
    """Convolution, norm, activation."""

    def __init__(self, inp: int, row: Conv, act: type[nn.Module]) -> None:
        super().__init__()
        self.conv = _conv(inp, row.out, row.kernel, row.stride)
        self.bn1 = nn.BatchNorm2d(row.out)
        self.act = act()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        out: Tensor = self.act(self.bn1(self.conv(x)))
        return out


class FusedBlock(nn.Module):
    """Fused inverted bottleneck."""

    def __init__(self, inp: int, row: Fused, act: type[nn.Module], drop_path: float) -> None:
        super().__init__()
        self.skip = row.stride == 1 and inp == row.out
        self.conv_exp = _conv(inp, row.mid, row.kernel, row.stride)
        self.bn1 = nn.BatchNorm2d(row.mid)
        self.act = act()
        self.conv_pwl = _conv(row.mid, row.out, 1)
        self.bn2 = nn.BatchNorm2d(row.out)
        self.drop_path = DropPath(drop_path if self.skip else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        y: Tensor = self.bn2(self.conv_pwl(self.act(self.bn1(self.conv_exp(x)))))
        return x + self.drop_path(y) if self.skip else y


class UIBBlock(nn.Module):
    """Universal inverted bottleneck: [depthwise] -> expand -> [depthwise] -> project (figure 4)."""

    def __init__(self, inp: int, row: UIB, act: type[nn.Module], scale: bool, drop_path: float) -> None:
        super().__init__()
        self.skip = row.stride == 1 and inp == row.out
        start_stride, middle_stride = (1, row.stride) if row.middle else (row.stride, 1)
        self.dw_start = ConvNorm(inp, inp, row.start, start_stride, inp) if row.start else nn.Identity()
        self.pw_exp = ConvNorm(inp, row.mid, 1, act=act)
        self.dw_mid = (
            ConvNorm(row.mid, row.mid, row.middle, middle_stride, row.mid, act) if row.middle else nn.Identity()
        )
        self.pw_proj = ConvNorm(row.mid, row.out, 1)
        self.layer_scale = LayerScale(row.out) if scale else nn.Identity()
        self.drop_path = DropPath(drop_path if self.skip else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        y: Tensor = self.layer_scale(self.pw_proj(self.dw_mid(self.pw_exp(self.dw_start(x)))))
        return x + self.drop_path(y) if self.skip else y


class Projection(nn.Module):
    """A 1x1 convolution, behind a strided depthwise one with a norm where keys and values are down-sampled."""

    def __init__(self, inp: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.strided = stride > 1
        if self.strided:
            self.down_conv = _conv(inp, inp, 3, stride, inp)
            self.norm = nn.BatchNorm2d(inp)
        self.proj = _conv(inp, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        if self.strided:
            x = self.norm(self.down_conv(x))
        out: Tensor = self.proj(x)
        return out


class MultiQueryAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V with one key and one value for all heads (Shazeer, 2019)."""

    def __init__(self, channels: int, row: Attention) -> None:
        super().__init__()
        self.heads, self.dim = row.heads, row.dim
        self.query = Projection(channels, row.heads * row.dim)
        self.key = Projection(channels, row.dim, row.kv_stride)
        self.value = Projection(channels, row.dim, row.kv_stride)
        self.output = Projection(row.heads * row.dim, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        n, _, h, w = x.shape
        q = self.query(x).reshape(n, self.heads, self.dim, h * w).transpose(2, 3)  # (N, heads, HW, d)
        k = self.key(x).reshape(n, 1, self.dim, -1)  # (N, 1, d, hw)
        v = self.value(x).reshape(n, 1, self.dim, -1).transpose(2, 3)  # (N, 1, hw, d)
        y = ((q * self.dim**-0.5) @ k).softmax(-1) @ v  # (N, heads, HW, d)
        out: Tensor = self.output(y.transpose(2, 3).reshape(n, self.heads * self.dim, h, w))
        return out


class AttentionBlock(nn.Module):
    """Norm, attention, layer scale, shortcut."""

    def __init__(self, channels: int, row: Attention, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.attn = MultiQueryAttention(channels, row)
        self.layer_scale = LayerScale(channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        out: Tensor = x + self.drop_path(self.layer_scale(self.attn(self.norm(x))))
        return out


class MobileNetV4(nn.Module):
    """The whole classifier: (N, 3, H, W), H and W of 32 or more, to logits (N, num_classes)."""

    def __init__(self, variant: Variant, num_classes: int = 1000, dropout: float = 0.0, drop_path: float = 0.0) -> None:
        super().__init__()
        act = variant.act
        self.conv_stem = _conv(3, variant.stem, 3, 2)
        self.bn1 = nn.BatchNorm2d(variant.stem)
        self.act1 = act()
        count, index, channels = sum(map(len, variant.stages)), 0, variant.stem
        stages: list[nn.Module] = []
        for rows in variant.stages:
            blocks: list[nn.Module] = []
            for row in rows:
                rate = drop_path * index / count
                blocks.append(_block(channels, row, variant, rate))
                channels = channels if isinstance(row, Attention) else row.out
                index += 1
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.conv_head = _conv(channels, 1280, 1)
        self.norm_head = nn.BatchNorm2d(1280)
        self.act2 = act()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(1280, num_classes)
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, num_classes) of normalised images (N, 3, H, W)."""
        x = self.blocks(self.act1(self.bn1(self.conv_stem(image))))
        x = self.act2(self.norm_head(self.conv_head(self.global_pool(x))))
        out: Tensor = self.classifier(self.dropout(x.flatten(1)))
        return out


def _block(channels: int, row: Row, variant: Variant, drop_path: float) -> nn.Module:
    match row:
        case Conv():
            return ConvBlock(channels, row, variant.act)
        case Fused():
            return FusedBlock(channels, row, variant.act, drop_path)
        case UIB():
            return UIBBlock(channels, row, variant.act, variant.layer_scale, drop_path)
        case Attention():
            return AttentionBlock(channels, row, drop_path)


def _initialise(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
            nn.init.normal_(module.weight, 0.0, sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear):
            bound = 1.0 / sqrt(module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
    for module in model.modules():  # after the walk above, so that attention's own scheme wins
        if isinstance(module, MultiQueryAttention):
            for conv in module.modules():
                if isinstance(conv, nn.Conv2d):
                    nn.init.xavier_uniform_(conv.weight)


def mobilenetv4(name: str, **overrides: int | float) -> MobileNetV4:
    """The network of `VARIANTS[name]`; overrides are `num_classes`, `dropout` and `drop_path`."""
    return MobileNetV4(VARIANTS[name], **overrides)  # type: ignore[arg-type]  # checked by create_model's caller
