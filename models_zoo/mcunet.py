"""MCUNet, networks found for microcontrollers (Lin et al., 2020, arXiv:2007.10319).

State-dict keys are its authors', so that their checkpoints load strictly.
"""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Block:
    """An inverted residual: middle and output width, depthwise kernel and stride, and whether a shortcut adds."""

    mid: int
    out: int
    kernel: int
    stride: int = 1
    add: bool = False


def _plain(mid: int, out: int, kernel: int) -> Block:
    return Block(mid, out, kernel)


def _down(mid: int, out: int, kernel: int) -> Block:
    return Block(mid, out, kernel, stride=2)


def _add(mid: int, out: int, kernel: int) -> Block:
    return Block(mid, out, kernel, add=True)


@dataclass(frozen=True)
class Variant:
    """One network: stem width, blocks, and classes as published. The first block has no expansion."""

    stem: int
    blocks: tuple[Block, ...]
    classes: int = 1000


VARIANTS: dict[str, Variant] = {
    "mcunet_in0": Variant(24, (
        _plain(24, 16, 3), _down(64, 16, 5), _add(48, 16, 3), _add(64, 16, 3), _down(80, 24, 7), _add(96, 24, 5),
        _add(120, 24, 5), _down(120, 48, 7), _add(192, 48, 5), _plain(240, 56, 3), _add(224, 56, 5), _add(280, 56, 3),
        _down(336, 112, 3), _add(448, 112, 5), _plain(672, 192, 3),
    )),
    "mcunet_in1": Variant(16, (
        _plain(16, 8, 3), _down(32, 16, 3), _add(48, 16, 3), _down(48, 24, 7), _add(120, 24, 3), _down(120, 40, 3),
        _add(160, 40, 7), _plain(160, 48, 5), _add(144, 48, 3), _add(192, 48, 3), _down(240, 96, 7), _add(384, 96, 5),
        _add(384, 96, 5), _plain(576, 160, 3),
    )),
    "mcunet_in2": Variant(16, (
        _plain(16, 8, 3), _down(24, 16, 5), _add(96, 16, 7), _add(80, 16, 3), _add(80, 16, 5), _down(80, 24, 3),
        _add(144, 24, 7), _add(144, 24, 5), _down(96, 40, 7), _add(200, 40, 5), _plain(200, 48, 3), _add(240, 48, 5),
        _add(192, 48, 3), _down(288, 96, 5), _add(384, 96, 5), _add(288, 96, 5), _add(384, 96, 3), _plain(480, 160, 5),
    )),
    "mcunet_in3": Variant(16, (
        _plain(16, 8, 3), _down(24, 16, 7), _add(80, 16, 3), _add(80, 16, 7), _add(64, 16, 5), _down(80, 24, 5),
        _add(120, 24, 5), _add(120, 24, 5), _down(120, 40, 3), _add(240, 40, 7), _add(160, 40, 5), _plain(200, 48, 5),
        _add(240, 48, 7), _add(240, 48, 3), _down(288, 96, 3), _add(480, 96, 7), _add(384, 96, 3), _plain(480, 160, 7),
    )),
    "mcunet_in4": Variant(32, (
        _plain(32, 16, 3), _down(48, 24, 7), _add(120, 24, 3), _add(96, 24, 5), _down(120, 40, 7), _add(160, 40, 3),
        _add(160, 40, 7), _down(120, 80, 7), _add(240, 80, 3), _add(240, 80, 7), _plain(320, 96, 3), _add(288, 96, 5),
        _add(288, 96, 5), _down(384, 192, 7), _add(576, 192, 7), _add(576, 192, 5), _plain(768, 320, 5),
    )),
    "mcunet_vww1": Variant(16, (
        _plain(16, 8, 3), _down(48, 16, 3), _add(48, 16, 3), _add(48, 16, 3), _down(48, 24, 7), _add(144, 24, 3),
        _add(120, 24, 5), _down(144, 40, 7), _add(240, 40, 7), _plain(240, 48, 3), _add(192, 48, 3), _down(240, 96, 5),
        _add(480, 96, 3), _add(384, 96, 3), _plain(288, 160, 7),
    ), classes=2),
}  # fmt: skip


class ConvNorm(nn.Module):
    """Convolution without bias, norm, and ReLU6 where `act`."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)
        self.act = nn.ReLU6(inplace=True) if act else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        y: Tensor = self.bn(self.conv(x))
        return y if self.act is None else self.act(y)


class InvertedConv(nn.Module):
    """1x1 expansion (not in the first block), depthwise convolution, linear 1x1 projection."""

    def __init__(self, inp: int, block: Block, expand: bool) -> None:
        super().__init__()
        self.inverted_bottleneck = ConvNorm(inp, block.mid, 1) if expand else None
        self.depth_conv = ConvNorm(block.mid, block.mid, block.kernel, block.stride, block.mid)
        self.point_linear = ConvNorm(block.mid, block.out, 1, act=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        if self.inverted_bottleneck is not None:
            x = self.inverted_bottleneck(x)
        out: Tensor = self.point_linear(self.depth_conv(x))
        return out


class Residual(nn.Module):
    """A block and, where the configuration says so, its shortcut."""

    def __init__(self, inp: int, block: Block, expand: bool) -> None:
        super().__init__()
        self.mobile_inverted_conv = InvertedConv(inp, block, expand)
        self.add = block.add

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        y: Tensor = self.mobile_inverted_conv(x)
        return x + y if self.add else y


class Classifier(nn.Module):
    """Dropout and a linear layer."""

    def __init__(self, inp: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(inp, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) to logits (N, classes)."""
        out: Tensor = self.linear(self.dropout(x))
        return out


class MCUNet(nn.Module):
    """Images (N, 3, H, W) to logits (N, classes)."""

    def __init__(self, variant: Variant, num_classes: int, dropout: float) -> None:
        super().__init__()
        inp = variant.stem
        self.first_conv = ConvNorm(3, inp, 3, stride=2)
        blocks = []
        for index, block in enumerate(variant.blocks):
            blocks.append(Residual(inp, block, expand=index > 0))
            inp = block.out
        self.blocks = nn.Sequential(*blocks)
        self.classifier = Classifier(inp, num_classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images of any size."""
        out: Tensor = self.classifier(self.blocks(self.first_conv(x)).mean((2, 3)))
        return out


def mcunet(name: str, *, num_classes: int | None = None, dropout: float = 0.0) -> MCUNet:
    """The network of that name, with random weights."""
    variant = VARIANTS[name]
    return MCUNet(variant, variant.classes if num_classes is None else num_classes, dropout)
