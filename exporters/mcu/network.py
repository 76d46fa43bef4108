"""A network of integers as microcontrollers run it: layers over rows of (W, C) bytes, plain data and no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.int8]
Words = npt.NDArray[np.int32]
KINDS = ("read", "conv", "pointwise", "depthwise", "add", "multiply", "maximum", "average", "mean", "table")
"""`read` gives the input's rows; `table` is any function of one byte; `mean` is over the whole image."""
WINDOWED = frozenset({"conv", "depthwise", "maximum", "average"})


@dataclass(frozen=True)
class Tensor:
    """An activation of (height, width, channels) bytes: real = scale * (byte - zero)."""

    height: int
    width: int
    channels: int
    scale: float = 1.0
    zero: int = 0

    @property
    def bytes(self) -> int:
        """Of the whole."""
        return self.height * self.width * self.channels

    @property
    def row(self) -> int:
        """Bytes of one row."""
        return self.width * self.channels


def _none() -> Bytes:
    return np.empty(0, np.int8)


def _no_words() -> Words:
    return np.empty(0, np.int32)


@dataclass(frozen=True)
class Layer:
    """One layer; `inputs` are numbers of the layers whose outputs it reads.

    Weights are (out, kernel_h, kernel_w, in) of convolutions, (kernel_h, kernel_w, channels) of depthwise ones and the
    256 answers of a table. A factor is `multiplier / 2^31 * 2^shift`, one for each output channel where weights have
    scales of their own; of sums those of both sides and of the answer.
    """

    kind: str
    module: str
    inputs: tuple[int, ...]
    output: Tensor
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    low: int = -128
    high: int = 127
    weight: Bytes = field(default_factory=_none)
    bias: Words = field(default_factory=_no_words)
    multiplier: Words = field(default_factory=_no_words)
    shift: Bytes = field(default_factory=_none)

    def need(self, row: int, height: int) -> int:
        """How many rows of an input of `height` rows must be there before `row` can be made."""
        if self.kind not in WINDOWED:
            return min(row + 1, height)
        return min(max(row * self.stride[0] - self.pad[0] + self.kernel[0], 0), height)

    def oldest(self, row: int) -> int:
        """The first row of the input that `row` and those after it read."""
        return max(row * self.stride[0] - self.pad[0], 0) if self.kind in WINDOWED else row

    def columns(self, first: int, last: int, width: int) -> tuple[int, int]:
        """The columns of an input of `width` columns that its columns `first` to `last` (exclusive) read."""
        if self.kind not in WINDOWED:
            return first, last
        start = max(first * self.stride[1] - self.pad[1], 0)
        return start, min((last - 1) * self.stride[1] - self.pad[1] + self.kernel[1], width)

    def lines(self, first: int, last: int, height: int) -> tuple[int, int]:
        """The rows of an input that its rows `first` to `last` (exclusive) read."""
        return self.oldest(first), self.need(last - 1, height)

    @property
    def constants(self) -> int:
        """Bytes of weights, biases, multipliers and shifts."""
        return sum(array.nbytes for array in (self.weight, self.bias, self.multiplier, self.shift))


@dataclass(frozen=True)
class Network:
    """Layers in the order in which they can run. The first one reads the input, the last one gives the output."""

    layers: tuple[Layer, ...]

    @property
    def input(self) -> Tensor:
        """What the network is given."""
        return self.layers[0].output

    @property
    def output(self) -> Tensor:
        """What the network answers."""
        return self.layers[-1].output

    def source(self, layer: Layer) -> Tensor:
        """The first input of a layer."""
        return self.layers[layer.inputs[0]].output

    def macs(self, layer: Layer, places: int | None = None) -> int:
        """Multiply-accumulates of `places` outputs (all of them) of a layer; none but of layers with weights."""
        if layer.kind not in ("conv", "pointwise", "depthwise"):
            return 0
        across = 1 if layer.kind == "depthwise" else self.source(layer).channels
        where = layer.output.height * layer.output.width if places is None else places
        return where * layer.output.channels * prod(layer.kernel) * across

    @property
    def total_macs(self) -> int:
        """Of one answer."""
        return sum(self.macs(layer) for layer in self.layers)

    def last_use(self) -> list[int]:
        """Of each layer: the number of the last one that reads its output."""
        last = list(range(len(self.layers)))
        for index, layer in enumerate(self.layers):
            for source in layer.inputs:
                last[source] = index
        last[-1] = len(self.layers)
        return last

    def cuts(self) -> list[int]:
        """Numbers of the layers after which only their own output is alive: where one stage may end."""
        last, alive = self.last_use(), 0
        found = []
        for index in range(len(self.layers)):
            if alive <= index:
                found.append(index)
            alive = max(alive, last[index])
        return found
