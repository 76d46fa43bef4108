"""MobileNetV2 of any width (Sandler et al., 2018, arXiv:1801.04381). State-dict keys are torchvision's."""

from torch import Tensor, nn

ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, output width, repeats and the first repeat's stride (table 2)."""
STEM, LAST = 32, 1280


def _scaled(channels: float) -> int:
    """The nearest multiple of 8, never more than a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


def _conv_norm(inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, linear 1x1 projection; a shortcut where the shapes agree (section 3.3)."""

    def __init__(self, inp: int, out: int, stride: int, expansion: int) -> None:
        super().__init__()
        mid = inp * expansion
        expand = [_conv_norm(inp, mid, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            _conv_norm(mid, mid, 3, stride, mid),
            nn.Conv2d(mid, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.residual = stride == 1 and inp == out

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, width: float, num_classes: int, dropout: float) -> None:
        super().__init__()
        inp = _scaled(STEM * width)
        layers: list[nn.Module] = [_conv_norm(3, inp, 3, stride=2)]
        for expansion, channels, repeats, first in ROWS:
            out = _scaled(channels * width)
            for index in range(repeats):
                layers.append(InvertedResidual(inp, out, first if index == 0 else 1, expansion))
                inp = out
        last = _scaled(LAST * max(1.0, width))
        self.features = nn.Sequential(*layers, _conv_norm(inp, last, 1))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images whose sides are 32 or more."""
        out: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return out


def mobilenet_v2(name: str, *, num_classes: int = 1000, width: float = 1.0, dropout: float = 0.2) -> MobileNetV2:
    """The network of any `width` multiplier, with random weights."""
    return MobileNetV2(width, num_classes, dropout)
