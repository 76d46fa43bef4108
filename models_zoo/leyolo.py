"""LeYOLO detectors (Hollard et al., 2024, arXiv:2406.14239): inverted bottlenecks from the stem to a depthwise head.

State-dict keys are those of the published checkpoints, so that they load strictly.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, log

import torch
from torch import Tensor, nn

from runtime_py.errors import SdkError

BINS = 16
"""Distances to a box's sides are spread over 0..15 cells (Li et al., 2020, Generalized Focal Loss)."""
STRIDES = (8, 16, 32)
TRAINED_AT = 640
"""Input size for which the biases of the class branch are initialised."""


class InputSizeError(SdkError):
    """An image whose sides the network's five halvings do not divide."""

    id = "input-size"


@dataclass(frozen=True)
class Conv:
    """A full convolution with norm and SiLU."""

    out: int
    kernel: int
    stride: int = 1


@dataclass(frozen=True)
class IB:
    """Inverted bottleneck: expand to `mid` (0: the depthwise convolution takes the input), depthwise, project."""

    out: int
    kernel: int
    mid: int
    stride: int = 1


@dataclass(frozen=True)
class SPPF:
    """Spatial pyramid pooling by three chained max-pools."""

    out: int
    kernel: int = 5


@dataclass(frozen=True)
class Up:
    """Nearest-neighbour upsampling by 2."""


@dataclass(frozen=True)
class Cat:
    """Concatenation with the output of layer `other`."""

    other: int


@dataclass(frozen=True)
class Detect:
    """The head, on the outputs of `layers` at strides 8, 16 and 32."""

    layers: tuple[int, int, int]


@dataclass(frozen=True)
class Classify:
    """The classifier's head, with `hidden` channels before pooling, whatever the width."""

    hidden: int


Row = Conv | IB | SPPF | Up | Cat | Detect | Classify


@dataclass(frozen=True)
class Variant:
    """One network: a row a layer, with the widths of Nano, and the factor that widens them."""

    rows: tuple[Row, ...]
    width: float = 1.0
    num_classes: int = 80


_STEM: tuple[Row, ...] = (Conv(16, 3, 2), Conv(16, 1), IB(16, 3, 0, 2))

_NANO_BACKBONE: tuple[Row, ...] = (
    *_STEM,
    IB(32, 3, 96, 2), IB(32, 3, 96),
    IB(64, 5, 96, 2), *[IB(64, 5, 192)] * 4,
    IB(96, 5, 576, 2), *[IB(96, 5, 576)] * 3,
)  # fmt: skip

_NANO: tuple[Row, ...] = (
    *_NANO_BACKBONE,
    SPPF(96),
    Up(), Cat(9), *[IB(64, 5, 128)] * 3,
    Up(), Cat(4), IB(32, 3, 0), *[IB(32, 3, 64)] * 2,
    Conv(64, 3, 2), Cat(19), *[IB(64, 5, 128)] * 3,
    Conv(96, 3, 2), Cat(14), *[IB(96, 5, 192)] * 3,
    Detect((24, 29, 34)),
)  # fmt: skip

# Detect reads layers 27, 32 and 37 here, the last of them a bare concatenation, so that 38 to 41 feed nothing:
# the published networks are wired so, and their figures are those of this wiring.
_MEDIUM: tuple[Row, ...] = (
    *_STEM,
    IB(32, 3, 96, 2), *[IB(32, 3, 96)] * 2,
    IB(64, 5, 96, 2), *[IB(64, 5, 192)] * 5,
    IB(96, 5, 576, 2), *[IB(96, 5, 576)] * 4,
    SPPF(96),
    Up(), Cat(11), *[IB(64, 5, 128)] * 4,
    Up(), Cat(5), IB(32, 3, 0), *[IB(32, 3, 64)] * 2, IB(64, 5, 128),
    Conv(64, 3, 2), Cat(23), *[IB(64, 5, 128)] * 4,
    Conv(96, 3, 2), Cat(17), *[IB(96, 5, 192)] * 3, IB(64, 5, 128),
    Detect((27, 32, 37)),
)  # fmt: skip

VARIANTS: dict[str, Variant] = {
    "leyolo_nano": Variant(_NANO),
    "leyolo_small": Variant(_NANO, width=1.33),
    "leyolo_medium": Variant(_MEDIUM, width=1.33),
    "leyolo_large": Variant(_MEDIUM, width=1.33),  # Medium at 768 px
    "leyolo_nano_cls": Variant((*_NANO_BACKBONE, Classify(1024)), num_classes=1000),
}


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)


class ConvNorm(nn.Module):
    """Convolution, norm, SiLU. (N, C, H, W) to (N, O, H / stride, W / stride)."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = _norm(out)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class BiasedConvNorm(nn.Module):
    """The same with a bias before the norm, as the published backbone has it."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups)
        self.bn = _norm(out)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        out: Tensor = self.act(self.bn(self.c(x)))
        return out


class InvertedBottleneck(nn.Module):
    """[1x1 expansion] -> depthwise -> linear 1x1 projection, with a shortcut where shapes allow (section 3)."""

    def __init__(self, inp: int, out: int, kernel: int, mid: int, stride: int) -> None:
        super().__init__()
        self.skip = stride == 1 and inp == out
        expand = [BiasedConvNorm(inp, mid, 1)] if mid else []
        mid = mid or inp
        depthwise = BiasedConvNorm(mid, mid, kernel, stride, mid)
        self.layers = nn.Sequential(*expand, depthwise, nn.Conv2d(mid, out, 1), _norm(out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H / stride, W / stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.skip else y


class PyramidPooling(nn.Module):
    """1x1 to half the channels, three chained max-pools, all four concatenated, 1x1."""

    def __init__(self, inp: int, out: int, kernel: int) -> None:
        super().__init__()
        self.cv1 = ConvNorm(inp, inp // 2, 1)
        self.cv2 = ConvNorm(inp // 2 * 4, out, 1)
        self.m = nn.MaxPool2d(kernel, 1, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, O, H, W)."""
        pooled: list[Tensor] = [self.cv1(x)]
        for _ in range(3):
            pooled.append(self.m(pooled[-1]))
        out: Tensor = self.cv2(torch.cat(pooled, 1))
        return out


class Concat(nn.Module):
    """Joins channels."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """(N, C, H, W) and (N, D, H, W) to (N, C + D, H, W)."""
        return torch.cat((x, other), 1)


@cache
def _cells(sizes: tuple[tuple[int, int], ...]) -> tuple[list[tuple[float, float]], list[tuple[float]]]:
    """Centres (x, y) of all cells in units of their level's stride, and the strides."""
    centres = [(x + 0.5, y + 0.5) for height, width in sizes for y in range(height) for x in range(width)]
    strides = [(float(s),) for (h, w), s in zip(sizes, STRIDES, strict=True) for _ in range(h * w)]
    return centres, strides


class Decode(nn.Module):
    """From the head's maps to boxes and scores: everything that has no trained weight, and stays float."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(BINS, 1, 1, bias=False).requires_grad_(False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.arange(BINS).view_as(self.conv.weight))

    def forward(self, boxes: list[Tensor], scores: list[Tensor]) -> Tensor:
        """Maps (B, 64, H, W) and (B, classes, H, W) a level to (B, 4 + classes, cells).

        Boxes are centre, width and height in input pixels; scores are probabilities. The centres of the cells are
        constants of a captured program, and softmax runs over the last axis, where every runtime has it.
        """
        # Literal lists, and no arange: torch.export keeps them as constants.
        cells, steps = _cells(tuple((level.shape[2], level.shape[3]) for level in boxes))
        centres, strides = boxes[0].new_tensor(cells), boxes[0].new_tensor(steps)
        bins = _by_cell(boxes).reshape(boxes[0].shape[0], -1, 4, BINS).softmax(3)  # (B, cells, 4, 16)
        sides = self.conv(bins.permute(0, 3, 1, 2)).squeeze(1)  # (B, cells, 4): expected left, top, right, bottom
        near, far = sides[..., :2], sides[..., 2:]
        centre, extent = (centres + (far - near) * 0.5) * strides, (near + far) * strides
        return torch.cat((centre, extent, _by_cell(scores).sigmoid()), 2).transpose(1, 2)


def _by_cell(levels: list[Tensor]) -> Tensor:
    """(B, C, H, W) a level to (B, cells, C)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)


class DetectHead(nn.Module):
    """A box branch and a class branch a level, pointwise and depthwise (the paper's DNiN head)."""

    def __init__(self, channels: list[int], num_classes: int) -> None:
        super().__init__()
        box, cls = max(16, channels[0] // 4, 4 * BINS), max(channels[0], min(num_classes, 100))
        self.cv2 = nn.ModuleList(_branch(inp, box, 4 * BINS, 1.0) for inp in channels)
        self.cv3 = nn.ModuleList(
            _branch(inp, cls, num_classes, log(5 / num_classes / (TRAINED_AT / stride) ** 2))
            for inp, stride in zip(channels, STRIDES, strict=True)
        )
        self.dfl = Decode()

    def forward(self, features: list[Tensor]) -> Tensor | list[Tensor]:
        """Decoded (B, 4 + classes, cells); while training the raw maps (B, 64 + classes, H, W) a level."""
        boxes: list[Tensor] = [branch(x) for branch, x in zip(self.cv2, features, strict=True)]
        scores: list[Tensor] = [branch(x) for branch, x in zip(self.cv3, features, strict=True)]
        if self.training:
            return [torch.cat(level, 1) for level in zip(boxes, scores, strict=True)]
        out: Tensor = self.dfl(boxes, scores)
        return out


def _branch(inp: int, mid: int, out: int, bias: float) -> nn.Sequential:
    last = nn.Conv2d(mid, out, 1)
    nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]  # a convolution's default has one
    return nn.Sequential(ConvNorm(inp, mid, 1), ConvNorm(mid, mid, 3, 1, mid), ConvNorm(mid, mid, 3, 1, mid), last)


class ClassifyHead(nn.Module):
    """1x1 convolution, global average, linear: (N, C, H, W) to logits (N, classes)."""

    def __init__(self, inp: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.conv = ConvNorm(inp, hidden, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        out: Tensor = self.linear(self.pool(self.conv(x)).flatten(1))
        return out


class LeYOLO(nn.Module):
    """The whole network, of RGB images in 0..1 whose sides are multiples of 32.

    (B, 3, H, W) to (B, 4 + classes, cells), boxes as centre, width and height in pixels before class probabilities;
    while training to raw maps (B, 64 + classes, H / 8, W / 8) and at strides 16 and 32; a classifier to logits.
    Raises InputSizeError.
    """

    def __init__(self, variant: Variant, num_classes: int) -> None:
        super().__init__()
        self.rows = variant.rows
        self.model = nn.ModuleList()
        channels: list[int] = []
        for row in variant.rows:
            layer, out = _layer(row, channels, variant.width, num_classes)
            self.model.append(layer)
            channels.append(out)

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """See the class."""
        height, width = image.shape[2:]
        if isinstance(self.rows[-1], Detect) and (height % STRIDES[-1] or width % STRIDES[-1]):
            raise InputSizeError(
                f"an image of {height} x {width} pixels", expected=f"sides that are multiples of {STRIDES[-1]}"
            )
        outputs: list[Tensor] = []
        x: Tensor = image
        for row, layer in zip(self.rows[:-1], self.model, strict=False):
            x = layer(x, outputs[row.other]) if isinstance(row, Cat) else layer(x)
            outputs.append(x)
        row, head = self.rows[-1], self.model[-1]
        answer: Tensor | list[Tensor] = head([outputs[i] for i in row.layers] if isinstance(row, Detect) else x)
        return answer


def _layer(row: Row, channels: list[int], width: float, num_classes: int) -> tuple[nn.Module, int]:
    """A row's module and how many channels it answers with; `channels` are those of the layers before it."""

    def widened(count: int) -> int:
        return ceil(count * width / 8) * 8

    inp = channels[-1] if channels else 3
    match row:
        case Conv():
            out = widened(row.out)
            return BiasedConvNorm(inp, out, row.kernel, row.stride), out
        case IB():
            out = widened(row.out)
            return InvertedBottleneck(inp, out, row.kernel, widened(row.mid), row.stride), out
        case SPPF():
            out = widened(row.out)
            return PyramidPooling(inp, out, row.kernel), out
        case Up():
            return nn.Upsample(scale_factor=2, mode="nearest"), inp
        case Cat():
            return Concat(), inp + channels[row.other]
        case Detect():
            return DetectHead([channels[i] for i in row.layers], num_classes), 0
        case Classify():
            return ClassifyHead(inp, row.hidden, num_classes), num_classes


def leyolo(name: str, *, num_classes: int | None = None) -> LeYOLO:
    """The network of `VARIANTS[name]`, with COCO's 80 classes (a classifier: ImageNet's 1000) if not told."""
    variant = VARIANTS[name]
    return LeYOLO(variant, num_classes or variant.num_classes)
