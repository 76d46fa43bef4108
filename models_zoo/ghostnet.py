"""GhostNet: half of each layer's channels made by cheap depthwise convolutions (Han et al., 2020, arXiv:1911.11907).

State-dict keys are those of timm and of the authors, whose checkpoints agree.
"""

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Row:
    """One bottleneck before scaling: kernel of the strided convolutions, middle and output width (table 1)."""

    kernel: int
    mid: int
    out: int
    se: bool = False
    stride: int = 1


STAGES: tuple[tuple[Row, ...], ...] = (
    (Row(3, 16, 16),),
    (Row(3, 48, 24, stride=2),),
    (Row(3, 72, 24),),
    (Row(5, 72, 40, se=True, stride=2),),
    (Row(5, 120, 40, se=True),),
    (Row(3, 240, 80, stride=2),),
    (Row(3, 200, 80), Row(3, 184, 80), Row(3, 184, 80), Row(3, 480, 112, se=True), Row(3, 672, 112, se=True)),
    (Row(5, 672, 160, se=True, stride=2),),
    (Row(5, 960, 160), Row(5, 960, 160, se=True), Row(5, 960, 160), Row(5, 960, 160, se=True)),
)
STEM, LAST, HEAD = 16, 960, 1280
WIDTHS = {"ghostnet_050": 0.5, "ghostnet_100": 1.0, "ghostnet_130": 1.3}


def _scaled(channels: float) -> int:
    """The nearest multiple of 4, never more than a tenth below."""
    near = max(4, int(channels + 2) // 4 * 4)
    return near + 4 if near < 0.9 * channels else near


def _conv_norm(inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inp, out, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(out)]


class Ghost(nn.Module):
    """A 1x1 convolution to half of the channels, and a depthwise 3x3 of those for the other half (section 3.1)."""

    def __init__(self, inp: int, out: int, relu: bool) -> None:
        super().__init__()
        half, self.out = ceil(out / 2), out
        act: list[nn.Module] = [nn.ReLU(inplace=True)] if relu else []
        self.primary_conv = nn.Sequential(*_conv_norm(inp, half, 1), *act)
        self.cheap_operation = nn.Sequential(*_conv_norm(half, half, 3, groups=half), *act)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H, W)."""
        primary = self.primary_conv(x)
        both = torch.cat([primary, self.cheap_operation(primary)], dim=1)
        return both if both.shape[1] == self.out else both[:, : self.out]


class SqueezeExcite(nn.Module):
    """Channel attention with a hard sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        reduced = _scaled(channels * 0.25)
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        scale = self.conv_expand(F.relu(self.conv_reduce(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(scale)


class Bottleneck(nn.Module):
    """Two Ghost modules, between them a strided depthwise convolution and attention where the row says so."""

    def __init__(self, inp: int, row: Row, mid: int, out: int) -> None:
        super().__init__()
        self.ghost1 = Ghost(inp, mid, relu=True)
        if row.stride > 1:
            self.conv_dw, self.bn_dw = _conv_norm(mid, mid, row.kernel, row.stride, mid)
        self.strided = row.stride > 1
        self.se = SqueezeExcite(mid) if row.se else None
        self.ghost2 = Ghost(mid, out, relu=False)
        same = inp == out and row.stride == 1
        self.shortcut = (
            nn.Sequential()
            if same
            else nn.Sequential(*_conv_norm(inp, inp, row.kernel, row.stride, inp), *_conv_norm(inp, out, 1))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        y = self.ghost1(x)
        if self.strided:
            y = self.bn_dw(self.conv_dw(y))
        if self.se is not None:
            y = self.se(y)
        out: Tensor = self.ghost2(y) + self.shortcut(x)
        return out


class LastConv(nn.Module):
    """1x1 convolution, norm, ReLU."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.conv, self.bn1 = _conv_norm(inp, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H, W)."""
        return F.relu(self.bn1(self.conv(x)))


class GhostNet(nn.Module):
    """Images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, width: float, num_classes: int, dropout: float) -> None:
        super().__init__()
        inp = _scaled(STEM * width)
        self.conv_stem, self.bn1 = _conv_norm(3, inp, 3, stride=2)
        stages: list[nn.Module] = []
        for rows in STAGES:
            blocks = []
            for row in rows:
                out = _scaled(row.out * width)
                blocks.append(Bottleneck(inp, row, _scaled(row.mid * width), out))
                inp = out
            stages.append(nn.Sequential(*blocks))
        last = _scaled(LAST * width)
        self.blocks = nn.Sequential(*stages, nn.Sequential(LastConv(inp, last)))
        self.conv_head = nn.Conv2d(last, HEAD, 1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HEAD, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images whose sides are 32 or more."""
        x = self.blocks(F.relu(self.bn1(self.conv_stem(x))))
        x = F.relu(self.conv_head(x.mean((2, 3), keepdim=True))).flatten(1)
        out: Tensor = self.classifier(self.dropout(x))
        return out


def ghostnet(name: str, *, num_classes: int = 1000, dropout: float = 0.2, width: float | None = None) -> GhostNet:
    """The network of that name, or of any other `width`, with random weights."""
    return GhostNet(WIDTHS[name] if width is None else width, num_classes, dropout)
