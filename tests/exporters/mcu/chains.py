"""Random small networks of integers, as hypothesis draws them: every kind of layer, size, stride and scale."""

import numpy as np
from hypothesis import strategies as st

from exporters.mcu.network import Layer, Network, Tensor
from exporters.mcu.reader import fixed


class Chain:
    """Layers that `draw` chooses, one after the other."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        size = [draw(st.integers(4, 14)) for _ in range(2)]
        self.layers = [Layer("read", "image", (), Tensor(*size, draw(st.integers(1, 9)), 0.05, self.zero()))]

    def zero(self) -> int:
        return int(self.random.integers(-128, 128))

    @property
    def last(self) -> int:
        return len(self.layers) - 1

    def push(
        self, kind: str, sources: tuple[int, ...], output: tuple[int, int, int], factors: object, **rest: object
    ) -> int:
        multiplier, shift = fixed(factors)
        low, high = sorted(int(bound) for bound in self.random.integers(-128, 128, 2))
        bounds = {"low": low, "high": high} if self.draw(st.integers(0, 3)) == 0 else {}
        tensor = Tensor(*output, 0.05, self.zero())
        name = f"{kind}{len(self.layers)}"
        self.layers.append(Layer(kind, name, sources, tensor, multiplier=multiplier, shift=shift, **bounds, **rest))  # type: ignore[arg-type]
        return self.last

    def weighted(self, kind: str, out: int, kernel: int, stride: int, pad: int) -> int:
        given = self.layers[-1].output
        out = given.channels if kind == "depthwise" else out
        kernels = (min(kernel, given.height + 2 * pad), min(kernel, given.width + 2 * pad))
        across = 1 if kind == "depthwise" else given.channels
        shape = (*kernels, out) if kind == "depthwise" else (out, *kernels, across)
        size = [
            (side + 2 * pad - own) // stride + 1 for side, own in zip((given.height, given.width), kernels, strict=True)
        ]
        spread = 1.0 / (40.0 * np.sqrt(kernels[0] * kernels[1] * across))
        factors = spread * 2.0 ** self.random.uniform(-2, 2, out)
        if self.draw(st.integers(0, 9)) == 0:
            factors[0] *= 2.0**9  # a shift to the left
        return self.push(
            kind, (self.last,), (*size, out), factors, kernel=kernels, stride=(stride, stride), pad=(pad, pad),
            weight=self.random.integers(-127, 128, shape, np.int8),
            bias=self.random.integers(-3000, 3000, out).astype(np.int32),
        )  # fmt: skip

    def inverted(self) -> None:
        draw, start = self.draw, self.last
        kernel, channels = draw(st.sampled_from([1, 2, 3, 4, 5, 7])), self.layers[start].output.channels
        self.weighted("pointwise", draw(st.integers(1, 24)), 1, 1, 0)
        self.weighted("depthwise", 0, kernel, draw(st.integers(1, 3)), draw(st.integers(0, kernel // 2)))
        if draw(st.booleans()):
            self.gate()
        same = draw(st.booleans())
        self.weighted("pointwise", channels if same else draw(st.integers(1, 16)), 1, 1, 0)
        before, own = self.layers[start].output, self.layers[-1].output
        if (before.height, before.width, before.channels) == (own.height, own.width, own.channels):
            sides = self.random.uniform(0.2, 0.5, 2)
            self.push("add", (start, self.last), (own.height, own.width, own.channels), [*sides, 2.0**-19.3])

    def gate(self) -> None:
        """Squeeze and excite."""
        start, own = self.last, self.layers[-1].output
        self.mean()
        self.weighted("pointwise", self.draw(st.integers(1, 6)), 1, 1, 0)
        self.weighted("pointwise", own.channels, 1, 1, 0)
        self.table()
        self.push("multiply", (start, self.last), (own.height, own.width, own.channels), [2.0**-6.3])

    def mean(self) -> None:
        given = self.layers[-1].output
        self.push("mean", (self.last,), (1, 1, given.channels), [1.3 / (given.height * given.width)])

    def table(self) -> None:
        given = self.layers[-1].output
        answers = self.random.integers(-128, 128, 256).astype(np.int8)
        self.layers.append(Layer("table", f"table{len(self.layers)}", (self.last,), given, weight=answers))

    def pool(self) -> None:
        given, kernel = self.layers[-1].output, self.draw(st.integers(1, 3))
        kernel = min(kernel, given.height, given.width)
        stride, pad = self.draw(st.integers(1, 2)), self.draw(st.integers(0, kernel // 2))
        size = [(side + 2 * pad - kernel) // stride + 1 for side in (given.height, given.width)]
        shape = {"kernel": (kernel, kernel), "stride": (stride, stride), "pad": (pad, pad)}
        if self.draw(st.booleans()):
            tensor = Tensor(*size, given.channels, given.scale, given.zero)
            name = f"maximum{len(self.layers)}"
            self.layers.append(Layer("maximum", name, (self.last,), tensor, **shape))
        else:
            self.push("average", (self.last,), (*size, given.channels), [0.9 / kernel**2], **shape)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A chain of one to six blocks, sometimes with a classifier at its end."""
    chain = Chain(draw)
    kernel = draw(st.integers(1, 4))
    chain.weighted("conv", draw(st.integers(1, 12)), kernel, draw(st.integers(1, 2)), draw(st.integers(0, kernel // 2)))
    for _ in range(draw(st.integers(0, 5))):
        kind = draw(st.sampled_from(["inverted", "inverted", "inverted", "pool", "table", "conv"]))
        if kind == "conv":
            chain.weighted("conv", draw(st.integers(1, 12)), draw(st.integers(1, 3)), draw(st.integers(1, 2)), 1)
        else:
            getattr(chain, kind)()
    if draw(st.booleans()):
        chain.mean()
        chain.weighted("pointwise", draw(st.integers(1, 20)), 1, 1, 0)
    return Network(tuple(chain.layers))
