"""Networks of integers by their published geometry, with random weights: no quantiser is needed to plan one."""

import numpy as np

from exporters.mcu.network import Layer, Network, Tensor
from exporters.mcu.reader import fixed
from models_zoo.mcunet import VARIANTS

MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, width, repeats, stride (Sandler et al., 2018, arXiv:1801.04381, table 2)."""


class Builder:
    """Layers one after the other."""

    def __init__(self, resolution: int, channels: int = 3, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.layers = [Layer("read", "image", (), Tensor(resolution, resolution, channels))]

    @property
    def last(self) -> int:
        return len(self.layers) - 1

    def conv(
        self,
        module: str,
        out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        pad: int | None = None,
    ) -> int:
        """A convolution over the last output, padded by half its kernel where nothing else is said."""
        given, pad = self.layers[-1].output, kernel // 2 if pad is None else pad
        side = [(size + 2 * pad - kernel) // stride + 1 for size in (given.height, given.width)]
        shape = (kernel, kernel, out) if depthwise else (out, kernel, kernel, given.channels)
        plain = "pointwise" if kernel == 1 and stride == 1 and pad == 0 else "conv"
        multiplier, shift = fixed(np.full(out, 1e-3))
        self.layers.append(
            Layer(
                "depthwise" if depthwise else plain, module, (self.last,), Tensor(*side, out),
                (kernel, kernel), (stride, stride), (pad, pad),
                weight=self.random.integers(-127, 128, shape, np.int8), bias=np.zeros(out, np.int32),
                multiplier=multiplier, shift=shift,
            )
        )  # fmt: skip
        return self.last

    def add(self, module: str, other: int) -> int:
        """The last output and an older one."""
        multiplier, shift = fixed([0.5, 0.5, 2.0**-19])
        both = (other, self.last)
        self.layers.append(Layer("add", module, both, self.layers[-1].output, multiplier=multiplier, shift=shift))
        return self.last

    def inverted(self, module: str, mid: int, out: int, kernel: int, stride: int, *, expand: bool, add: bool) -> int:
        """An inverted residual."""
        start = self.last
        if expand:
            self.conv(f"{module}.expand", mid)
        self.conv(f"{module}.depthwise", mid, kernel, stride, depthwise=True)
        self.conv(f"{module}.project", out)
        return self.add(module, start) if add else self.last

    def classified(self, classes: int) -> Network:
        """With the mean over the image and a linear layer behind all that is there."""
        multiplier, shift = fixed([1e-3])
        output = Tensor(1, 1, self.layers[-1].output.channels)
        self.layers.append(Layer("mean", "mean", (self.last,), output, multiplier=multiplier, shift=shift))
        self.conv("classifier", classes)
        return Network(tuple(self.layers))


def mobilenet_v2(width: float = 1.0, resolution: int = 224) -> Network:
    """MobileNetV2 of any width; channels are multiples of 8, never more than a tenth below."""

    def scaled(channels: float) -> int:
        near = max(8, int(channels + 4) // 8 * 8)
        return near + 8 if near < 0.9 * channels else near

    made = Builder(resolution)
    inp = scaled(32 * width)
    made.conv("stem", inp, 3, 2)
    block = 0
    for expansion, channels, repeats, first in MOBILENET_V2:
        out = scaled(channels * width)
        for index in range(repeats):
            block, stride = block + 1, first if index == 0 else 1
            add = stride == 1 and inp == out
            made.inverted(f"blocks.{block}", inp * expansion, out, 3, stride, expand=expansion > 1, add=add)
            inp = out
    made.conv("mix", scaled(1280 * max(1.0, width)))
    return made.classified(1000)


def mcunet(name: str, resolution: int) -> Network:
    """A network of the zoo's table (Lin et al., 2020, arXiv:2007.10319)."""
    variant = VARIANTS[name]
    made = Builder(resolution)
    made.conv("stem", variant.stem, 3, 2)
    for index, block in enumerate(variant.blocks):
        made.inverted(
            f"blocks.{index}", block.mid, block.out, block.kernel, block.stride, expand=index > 0, add=block.add
        )
    return made.classified(variant.classes)
