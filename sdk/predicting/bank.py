"""Networks that are good for nothing but being measured: blocks as compact networks have them, of random sizes.

A regression knows what it has seen. These show it windows, widths, strides, expansions and image sizes that no one
network has together, as nn-Meter's samplers do; each is a whole network, so that caches and fusions are those of one.
`sdk export sdk.predicting.bank:bank_0 --input 1,3,224,224 --target tflite`, and so on to `bank_19`.
"""

from random import Random
from typing import Any

import torch
from torch import Tensor, nn

SIZES = (128, 224, 320, 176, 96, 256, 416, 160, 96, 160, 224, 128, 192, 112, 256, 144, 48, 64, 80, 96)
"""Side of each one's image, in px."""
WIDE, TINY = range(8, 16), range(16, 20)
"""Those that are wide from their first layers on to their heads, as the last stages of classifiers are, and those that
are as small as a microcontroller's: the others show no regression what a layer of a microsecond takes."""
WIDTHS, WIDE_WIDTHS, TINY_WIDTHS = (16, 24, 32), (32, 48, 64), (8, 16)
HEAD = 1280
"""Channels of a wide one's head, as MobileNetV4's and GhostNet's."""
LEAST_SIDE = 4
WIDEST = 480
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)


def _conv(given: int, made: int, kernel: int, stride: int, groups: int, activation: Any) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(given, made, kernel, stride, kernel // 2, groups=groups, bias=False)]
    layers.append(nn.BatchNorm2d(made))
    return nn.Sequential(*layers, *([activation()] if activation else []))


class Bottleneck(nn.Module):
    """Expand, depthwise, project (Sandler et al., 2018), in part with squeeze and excitation, or with one plain
    convolution for the first two (Gupta and Akin, 2020)."""

    def __init__(self, given: int, made: int, stride: int, random: Random, activation: Any) -> None:
        super().__init__()
        wide, kernel = int(given * random.choice((1, 2, 3, 4, 6))), random.choice((3, 3, 5, 7))
        if random.random() < 0.2:
            body = [_conv(given, wide, 3, stride, 1, activation)]
        else:
            body = [_conv(given, wide, 1, 1, 1, activation), _conv(wide, wide, kernel, stride, wide, activation)]
        self.body = nn.Sequential(*body)
        self.excite = Excite(wide) if random.random() < 0.2 else nn.Identity()
        self.project = _conv(wide, made, 1, 1, 1, None)
        self.adds = stride == 1 and given == made

    def forward(self, image: Tensor) -> Tensor:
        """(1, given, H, W) to (1, made, H / stride, W / stride)."""
        found: Tensor = self.project(self.excite(self.body(image)))
        return found + image if self.adds else found


class Excite(nn.Module):
    """Squeeze and excitation (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = (
            nn.Conv2d(channels, max(8, channels // 4), 1),
            nn.Conv2d(max(8, channels // 4), channels, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Of the same shape."""
        return image * nn.functional.hardsigmoid(
            self.up(nn.functional.relu(self.down(image.mean((2, 3), keepdim=True))))
        )


class Ghost(nn.Module):
    """Half of the outputs from a cheap depthwise convolution of the other half (Han et al., 2020)."""

    def __init__(self, given: int, made: int, kernel: int, activation: Any) -> None:
        super().__init__()
        half = made // 2
        self.first, self.cheap = _conv(given, half, 1, 1, 1, activation), _conv(half, half, kernel, 1, half, activation)

    def forward(self, image: Tensor) -> Tensor:
        """(1, given, H, W) to (1, made, H, W)."""
        first = self.first(image)
        return torch.cat([first, self.cheap(first)], 1)


class Bank(nn.Module):
    """One network, the same for the same seed; ends in a pyramid's step up and a classifier."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        random, side = Random(seed), SIZES[seed] // 2
        widths = WIDE_WIDTHS if seed in WIDE else TINY_WIDTHS if seed in TINY else WIDTHS
        width, blocks = random.choice(widths), list[nn.Module]()
        self.stem = _conv(3, width, 3, 2, 1, nn.ReLU)
        while side >= LEAST_SIDE:
            activation = random.choice(ACTIVATIONS)
            for _ in range(random.choice((1, 2, 3))):
                if random.random() < 0.3:
                    blocks.append(Ghost(width, width, random.choice((3, 5)), activation))
                else:
                    blocks.append(Bottleneck(width, width, 1, random, activation))
            made = min(WIDEST, 8 * int(width * random.choice((1.0, 1.5, 1.75, 2.0)) / 8))
            blocks.append(Bottleneck(width, made, 2, random, activation))
            width, side = made, -(-side // 2)
        self.blocks = nn.Sequential(*blocks)
        self.lateral, self.smooth = _conv(width, 64, 1, 1, 1, nn.SiLU), _conv(64 + width, 96, 3, 1, 1, nn.SiLU)
        self.up = _conv(width, width, 3, 1, 1, nn.ReLU)
        self.head = _conv(96 + width, HEAD, 1, 1, 1, nn.ReLU) if seed in WIDE else None
        self.classifier = nn.Linear(96 if self.head is None else HEAD, 1000)

    def forward(self, image: Tensor) -> Tensor:
        """(1, 3, S, S) to (1, 1000)."""
        deep = self.up(self.blocks(self.stem(image)))
        large = nn.functional.interpolate(deep, scale_factor=4.0, mode="nearest")
        low = nn.functional.interpolate(self.lateral(deep), scale_factor=4.0, mode="nearest")
        mixed = nn.functional.max_pool2d(self.smooth(torch.cat([large, low], 1)), 2)
        pooled = mixed.mean((2, 3), keepdim=True)
        if self.head is not None:
            pooled = self.head(torch.cat([pooled, deep.mean((2, 3), keepdim=True)], 1))
        found: Tensor = self.classifier(pooled.flatten(1))
        return found


def __getattr__(name: str) -> Any:
    """`bank_0` to `bank_19`: functions that make one."""
    number = name.removeprefix("bank_")
    if name.startswith("bank_") and number.isdigit() and int(number) < len(SIZES):
        return lambda: Bank(int(number))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
