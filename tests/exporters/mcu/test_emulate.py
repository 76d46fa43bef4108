"""Generated C on emulated Cortex-M cores against PyTorch's integers: networks that reach every path of the kernels."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from exporters.mcu.emulate import CORES, Emulated, EmulationFailed, emulate, missing_tools
from exporters.mcu.generate import Facts, sources
from exporters.mcu.network import Layer, Network, Tensor
from exporters.mcu.schedule import least_memory, whole_layers
from exporters.mcu.simulate import simulate

needs_tools = pytest.mark.skipif(bool(missing_tools()), reason=f"not on PATH: {', '.join(missing_tools())}")


class Chain:
    """Random layers one after the other: any zero points, limits, biases and factors that the kernels must take."""

    def __init__(self, seed: int, height: int, width: int, channels: int) -> None:
        self.random = np.random.default_rng(seed)
        self.layers = [Layer("read", "image", (), self._tensor(height, width, channels))]

    def _tensor(self, height: int, width: int, channels: int) -> Tensor:
        return Tensor(height, width, channels, zero=int(self.random.integers(-128, 128)))

    @property
    def last(self) -> Tensor:
        return self.layers[-1].output

    def _append(
        self, kind: str, inputs: tuple[int, ...], output: Tensor, factor: float, factors: int, **more: object
    ) -> None:
        shift = np.floor(np.log2(factor)) + self.random.integers(0, 3, factors)
        narrow = self.random.random() < 0.3
        self.layers.append(
            Layer(
                kind, f"{kind}_{len(self.layers)}", inputs, output,
                low=int(self.random.integers(-128, -40)) if narrow else -128,
                high=int(self.random.integers(40, 127)) if narrow else 127,
                multiplier=self.random.integers(2**30, 2**31, factors, np.int32, endpoint=False),
                shift=shift.astype(np.int8), **more,
            )
        )  # fmt: skip

    def weighted(
        self, kind: str, out: int, kernel: tuple[int, int] = (1, 1), stride: tuple[int, int] = (1, 1),
        pad: tuple[int, int] = (0, 0), *, extreme: bool = False,
    ) -> None:  # fmt: skip
        """A layer with weights. Of every three channels of an `extreme` one the first has a bias near 2^30, the second
        all weights -128, and the third few weights and a factor of 2 or more."""
        given, places = self.last, (self.last.height, self.last.width)
        side = [(s + 2 * p - k) // t + 1 for s, p, k, t in zip(places, pad, kernel, stride, strict=True)]
        shape = (*kernel, out) if kind == "depthwise" else (out, *kernel, given.channels)
        weight = self.random.integers(-127 - len(self.layers) % 2, 128, shape).astype(np.int8)
        taps = weight.size // out
        bias = self.random.integers(-3000, 3000, out).astype(np.int32)
        self._append(
            kind, (len(self.layers) - 1,), self._tensor(side[0], side[1], out), 1 / (60 * np.sqrt(taps)), out,
            kernel=kernel, stride=stride, pad=pad, weight=weight, bias=bias,
        )  # fmt: skip
        if extreme:
            channels, shift = weight if kind == "depthwise" else np.moveaxis(weight, 0, -1), self.layers[-1].shift
            bias[::3] = self.random.choice([-(2**30), 2**30, 2**29, -(2**29)], len(bias[::3]))
            shift[::3] = self.random.integers(-25, -21, len(bias[::3]))
            channels[..., 1::3] = -128
            channels[..., 2::3] = self.random.random(channels[..., 2::3].shape) < 1 / taps
            bias[2::3] = self.random.integers(-20, 20, len(bias[2::3]))
            shift[2::3] = self.random.integers(0, 4, len(bias[2::3]))

    def add(self, other: int) -> None:
        """The sum of the last output and an older one, with factors around LiteRT's."""
        output = self._tensor(self.last.height, self.last.width, self.last.channels)
        self._append("add", (other, len(self.layers) - 1), output, 0.5, 3)
        self.layers[-1].shift[:] = [0, -self.random.integers(0, 5), -self.random.integers(17, 21)]

    def ended(self, classes: int) -> Network:
        """With the mean over the image and a linear layer."""
        self._append(
            "mean", (len(self.layers) - 1,), self._tensor(1, 1, self.last.channels), 1 / (self.last.height * 20), 1
        )
        self.weighted("pointwise", classes)
        return Network(tuple(self.layers))


def _small(seed: int) -> Network:
    """Odd channels, all of the depthwise kernels' widths, rows of few places and of many."""
    made = Chain(seed, 11 + seed, 12 + 3 * seed, (3, 1, 5, 4)[seed % 4])
    made.weighted("conv", (7, 10, 13, 6)[seed % 4], (3, 2 + seed % 3), (1 + seed % 2, 1), (1, 1))
    made.weighted("pointwise", (18, 33, 24, 40)[seed % 4])
    for kernel, stride in (((3, 3), (1, 1)), ((2, 2), (1, 2)), ((5, 5), (1, 1)), ((4, 4), (1, 1)), ((1, 9), (1, 3))):
        made.weighted("depthwise", made.last.channels, kernel, stride, (kernel[0] // 2, kernel[1] // 2))
    start = len(made.layers) - 1
    made.weighted("depthwise", made.last.channels, (7, 7), (1, 1), (3, 3), extreme=True)
    made.add(start)
    made.weighted("pointwise", (16, 9, 3, 17)[seed % 4], extreme=seed % 2 == 1)
    made.weighted("depthwise", made.last.channels, (3, 3), (2, 2), (1, 1))
    made.weighted("conv", (100, 67, 83, 140)[seed % 4], (3, 3), (2, 2), (1, 1))
    made.weighted("pointwise", 21)
    return made.ended(10) if seed % 2 == 0 else Network(tuple(made.layers))


def _written(network: Network, folder: Path, *, whole: bool = False, seed: int = 0) -> Path:
    given = network.input
    shape = (given.height, given.width, given.channels)
    image = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    schedule = whole_layers(network) if whole else least_memory(network)
    for name, text in sources(schedule, Facts("chain"), image, simulate(network, image)).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@needs_tools
@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("seed", range(4))
def test_agrees_to_the_last_byte(core: str, seed: int, tmp_path: Path) -> None:
    folder = _written(_small(seed), tmp_path, whole=seed % 2 == 1, seed=seed)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = emulate(folder, core)
    assert found.agrees
    assert 0 < found.stack_bytes < 2048
    assert f"#define MODEL_ARENA_BYTES {found.arena_bytes} " in before["model.h"].decode()
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_tools
@pytest.mark.slow
def test_counts_the_same_instructions_again(tmp_path: Path) -> None:
    folder = _written(_small(2), tmp_path)
    one, other = emulate(folder, "cortex-m7"), emulate(folder, "cortex-m7")
    assert isinstance(one, Emulated)
    assert one == other
    assert one.instructions > 10_000


@needs_tools
def test_a_wrong_answer_is_seen(tmp_path: Path) -> None:
    made = Chain(0, 4, 4, 3)
    made.weighted("pointwise", 5)
    folder = _written(Network(tuple(made.layers)), tmp_path)
    golden = (folder / "golden_test.c").read_text(encoding="utf-8")
    start = golden.index("golden_output[80] = {") + len("golden_output[80] = {")
    end = golden.index(",", start)
    wrong = str(-int(golden[start:end]) or 1)
    (folder / "golden_test.c").write_text(golden[:start] + wrong + golden[end:], encoding="utf-8")
    assert not emulate(folder, "cortex-m4").agrees


@needs_tools
def test_words_of_the_compiler(tmp_path: Path) -> None:
    made = Chain(0, 4, 4, 3)
    made.weighted("pointwise", 5)
    folder = _written(Network(tuple(made.layers)), tmp_path)
    (folder / "kernels.c").write_text("int missing_semicolon", encoding="utf-8")
    with pytest.raises(EmulationFailed, match=r"kernels\.c"):
        emulate(folder, "cortex-m4")


def test_unknown_core(tmp_path: Path) -> None:
    with pytest.raises(EmulationFailed, match="cortex-m99"):
        emulate(tmp_path, "cortex-m99")


def test_missing_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "qemu-system-arm" in missing_tools()
    with pytest.raises(EmulationFailed, match="qemu-system-arm"):
        emulate(tmp_path, "cortex-m4")
