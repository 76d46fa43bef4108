"""The teacher: a wide residual network with squeeze-excite, 23 million parameters with 200 classes.

Wide residual networks, arXiv 1605.07146; squeeze-excite, arXiv 1709.01507; the last norm of a block
starts at zero, arXiv 1706.02677 section 5.1. The stride-2 stem gives 128 px images, enlarged from
64 px, one feature for each original pixel.
"""

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

# channels, blocks, stride of the first block
_STAGES = ((64, 1, 1), (160, 2, 2), (320, 3, 2), (704, 2, 2))
_SQUEEZE = 8
_DROPOUT = 0.2


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from all channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, channels // _SQUEEZE, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels // _SQUEEZE, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = x * self.gate(x)
        return scaled


class Block(nn.Module):
    """Two 3x3 convolutions with squeeze-excite, added to the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcite(outputs),
        )
        nn.init.zeros_(self.body.get_submodule("4").get_parameter("weight"))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            conv = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.shortcut = nn.Sequential(pool, conv, nn.BatchNorm2d(outputs))
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.act(self.body(x) + self.shortcut(x))
        return summed


class Teacher(nn.Module):
    """(N, 3, H, W) normalised images to (N, classes) logits; H and W multiples of 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        width = _STAGES[0][0]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks: list[nn.Module] = []
        for channels, count, stride in _STAGES:
            for index in range(count):
                blocks.append(Block(width, channels, stride if index == 0 else 1))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(_DROPOUT), nn.Linear(width, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(x)))
        return logits


def fold_norms(model: nn.Module) -> nn.Module:
    """Merges each BatchNorm2d into the Conv2d before it, in place, for inference; same outputs."""
    for part in model.modules():
        if isinstance(part, nn.Sequential):
            for index in range(len(part) - 1):
                conv, norm = part[index], part[index + 1]
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    part[index], part[index + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    return model.eval()
