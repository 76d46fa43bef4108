"""From a w8a8 program to integers: geometry, refusals, and LiteRT's own reference kernels on the same program."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from exporters.base import Options, UnsupportedOperators
from exporters.mcu import exporter
from exporters.mcu.network import Network
from exporters.mcu.reader import NotIntegers, fixed, read, real
from exporters.mcu.simulate import as_bytes, simulate
from sdk.quantize import network as networks
from sdk.quantize.quantizer import EdgeQuantizer


def quantised(net: nn.Module, *shape: int, samples: int = 4) -> ExportedProgram:
    """As an export quantises it, but for NNCF's choice of ranges."""
    torch.manual_seed(0)
    inputs = [torch.rand(shape) * 2 - 1 for _ in range(samples)]
    program = torch.export.export(net.eval(), (inputs[0],))
    prepared = prepare_pt2e(networks.network_of(program), EdgeQuantizer())
    with torch.no_grad():
        for sample in inputs:
            prepared(sample)
    return torch.export.export(convert_pt2e(prepared), (inputs[0],))


class Block(nn.Module):
    """An inverted residual, gated or not, and a classifier."""

    def __init__(self, kernel: int = 3, gated: bool = False, act: type[nn.Module] = nn.ReLU6) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), act())
        self.expand = nn.Sequential(nn.Conv2d(8, 20, 1), act())
        self.depth = nn.Sequential(nn.Conv2d(20, 20, kernel, 1, kernel // 2, groups=20), act())
        self.project = nn.Conv2d(20, 8, 1)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(20, 5, 1), nn.ReLU(), nn.Conv2d(5, 20, 1),
                                  nn.Hardsigmoid()) if gated else None  # fmt: skip
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.depth(self.expand(x))
        if self.gate is not None:
            y = y * self.gate(y)
        return self.head((x + self.project(y)).mean((2, 3)))


def answers(program: ExportedProgram, network: Network, image: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The quantised program's answer and the network's, as real numbers."""
    with torch.no_grad():
        expected = program.module()(image).numpy().ravel()
    out = network.output
    found = simulate(network, as_bytes(network, image.numpy())).ravel().astype(np.float64)
    return expected, (found - out.zero) * out.scale


@pytest.mark.parametrize(("kernel", "gated", "act"), [
    (3, False, nn.ReLU6), (5, False, nn.ReLU), (3, True, nn.ReLU6), (3, False, nn.Hardswish), (7, False, nn.ReLU6),
])  # fmt: skip
def test_the_integers_answer_as_the_quantised_program(kernel: int, gated: bool, act: type[nn.Module]) -> None:
    program = quantised(Block(kernel, gated, act), 1, 3, 24, 24)
    network = read(program)
    steps = []
    for seed in range(5):
        image = torch.rand((1, 3, 24, 24), generator=torch.Generator().manual_seed(seed)) * 2 - 1
        expected, found = answers(program, network, image)
        steps.append(np.abs(expected - found) / network.output.scale)
    assert np.max(steps) < (6 if kernel == 7 else 3)  # bands of a 7 x 7 kernel were rounded on their way
    assert np.mean(steps) < 1


def test_a_large_kernel_is_one_layer_again() -> None:
    network = read(quantised(Block(7), 1, 3, 24, 24))
    depthwise = [layer for layer in network.layers if layer.kind == "depthwise"]
    assert [layer.kernel for layer in depthwise] == [(7, 7)]
    assert depthwise[0].output.height == 12


def test_multiply_accumulates_and_weights_are_counted() -> None:
    network = read(quantised(Block(), 1, 3, 24, 24))
    places = 12 * 12
    assert network.total_macs == places * (8 * 27 + 20 * 8 + 20 * 9 + 8 * 20) + 10 * 8
    assert [layer.kind for layer in network.layers] == [
        "read", "conv", "pointwise", "depthwise", "pointwise", "add", "mean", "pointwise",
    ]  # fmt: skip


def test_an_image_may_be_flattened_before_a_linear_layer() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 3 * 3, 5))
    program = quantised(net, 1, 3, 14, 14)
    network = read(program)
    expected, found = answers(program, network, torch.rand(1, 3, 14, 14) * 2 - 1)
    assert np.abs(expected - found).max() < 3 * network.output.scale


def test_a_factor_keeps_31_bits() -> None:
    factors = np.array([1e-6, 0.37, 1.0, 0.99999999999, 200.0])
    assert np.allclose(real(*fixed(factors)), factors, rtol=2**-30)


class Sorted(nn.Module):
    """An operator that no generator has, in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.sort(self.a(x), dim=1).values)


def test_what_is_lacking_is_named_with_its_line_before_a_file_is_written(tmp_path: Path) -> None:
    program = quantised(Sorted(), 1, 3, 12, 12)
    with pytest.raises(UnsupportedOperators) as caught:
        exporter.lower(program, Options("w8a8", ("x",), ("y",)), tmp_path / "mcu")
    assert "aten::sort" in caught.value.given
    assert "test_reader.py" in caught.value.given
    assert not (tmp_path / "mcu").exists()
    assert [row.operator for row in exporter.check(program)] == ["aten::sort"]


def test_a_float_program_is_asked_for_w8a8(tmp_path: Path) -> None:
    program = torch.export.export(Block().eval(), (torch.rand(1, 3, 24, 24),))
    with pytest.raises(NotIntegers) as caught:
        exporter.lower(program, Options("fp32", ("x",), ("y",)), tmp_path / "mcu")
    assert "w8a8" in caught.value.hint
    assert not (tmp_path / "mcu").exists()


@pytest.mark.parametrize("net", [
    nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.ReLU()), nn.Sequential(nn.Conv2d(4, 8, 3, dilation=2), nn.ReLU()),
    nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 4, 2, 2)),
])  # fmt: skip
def test_convolutions_of_other_kinds_are_named(net: nn.Module) -> None:
    with pytest.raises((UnsupportedOperators, NotIntegers)) as caught:
        read(quantised(net, 1, 4, 12, 12))
    assert "conv" in str(caught.value.given)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [3, 7])
def test_layers_are_litert_s_reference_kernels_to_the_last_bit(
    kernel: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one program, without the bands that other targets want. Its fully connected kernel alone rounds once where
    convolutions round twice: one unit, in few answers."""
    if find_spec("litert_torch") is None:
        pytest.skip("LiteRT's converter is not installed here")
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from exporters import load_exporter

    monkeypatch.setattr(networks, "MOST_TAPS", 49)
    program = quantised(Block(kernel), 1, 3, 24, 24)
    network, path = read(program), tmp_path / "net.tflite"
    load_exporter("tflite").lower(program, Options("w8a8", ("x",), ("y",)), path)
    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    given, gives = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    own = [row for row in interpreter.get_tensor_details() if row["dtype"] == np.int8]
    image = next(row for row in own if row["quantization"][1] == network.input.zero and row["shape"][-1] == 3)
    for seed in range(8):
        array = np.random.default_rng(seed).uniform(-1, 1, (1, 3, 24, 24)).astype(np.float32)
        interpreter.set_tensor(given["index"], array)
        interpreter.invoke()
        expected = np.rint(interpreter.get_tensor(gives["index"]).ravel() / network.output.scale) + network.output.zero
        found = simulate(network, np.ascontiguousarray(interpreter.get_tensor(image["index"])[0])).ravel()
        pools = simulate(Network(network.layers[:-1]), interpreter.get_tensor(image["index"])[0]).ravel()
        same = [interpreter.get_tensor(row["index"]).ravel() for row in own if row["shape"].prod() == pools.size]
        assert any(np.array_equal(pools, other) for other in same)
        assert np.abs(expected - found).max() <= 1
