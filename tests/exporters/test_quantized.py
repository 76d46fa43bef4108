"""A quantised program in all five formats: each must answer as the program does, and compute in integers."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import ExportedProgram

from exporters import load_exporter
from exporters.base import Lowered, Options
from exporters.contents import contents
from exporters.quantized import computes_in_integers, is_quantized, multiplied_out, safe_in_pairs, unfolded
from runtime_py.manifest import Artifact, Manifest
from runtime_py.manifest import Tensor as Spec

q = torch.ops.quantized_decomposed
SHAPE = (1, 3, 32, 32)
SAFE = frozenset({"onnx", "openvino"})
"""Targets that lower the program with weights that are safe in pairs."""


class Block(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, side: int, act: nn.Module, stride: int = 1, groups: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs, momentum=None), act)


class Net(nn.Module):
    """What quantisers meet: clamps, curves, depthwise layers, a sum, a concatenation, pooling, a mean; ten layers."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        wide = 2 * width
        self.stem = Block(3, width, 3, nn.ReLU6(), stride=2)
        self.depthwise = Block(width, width, 3, nn.SiLU(), groups=width)
        self.pointwise = Block(width, width, 1, nn.ReLU6())
        self.left, self.right = Block(width, width, 3, nn.ReLU6()), Block(width, width, 1, nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        self.joined = Block(wide, wide, 3, nn.ReLU())
        self.spread = Block(wide, wide, 5, nn.Hardswish(), groups=wide)
        self.down = Block(wide, wide, 3, nn.ReLU6(), stride=2)
        self.last = Block(wide, wide, 1, nn.SiLU())
        self.head = nn.Linear(wide, 200)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.pointwise(self.depthwise(x))
        x = self.pool(torch.cat((self.left(x), self.right(x)), 1))
        x = self.down(self.spread(self.joined(x)))
        answer: Tensor = self.head(self.last(x).mean((2, 3)))
        return answer


LAYERS = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in Net().modules())
WEIGHTS = sum(module.weight.numel() for module in Net().modules() if isinstance(module, nn.Conv2d | nn.Linear))


def images(count: int, seed: int) -> Tensor:
    """Smooth noise, as photographs are."""
    coarse = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=SHAPE[2:], mode="bilinear") * 4 - 2


@pytest.fixture(scope="module")
def program() -> ExportedProgram:
    """The network as it was captured, in float."""
    torch.manual_seed(0)
    network = Net().train()
    with torch.no_grad():
        for seed in range(4):
            network(images(8, seed))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return torch.export.export(network.eval(), (images(1, 0),))


@pytest.fixture(scope="module")
def quantised(program: ExportedProgram) -> ExportedProgram:
    """The same with int8 weights and activations, as every exporter gets it."""
    pytest.importorskip("nncf", reason="nncf measures the ranges; it is not installed here")
    from sdk.quantize.recipes import Recipe, prepared
    from sdk.quantize.recipes import quantised as quantise

    data = images(64, 10)

    def samples(count: int) -> list[tuple[Tensor]]:
        return [(data[index : index + 1],) for index in range(min(count, len(data)))]

    ready = prepared(program, samples, equalised=False)
    found = quantise(ready, Recipe(searched=True, rounded=True), samples, count=16)
    return torch.export.export(found, (data[:1],))


def answers(program: ExportedProgram, count: int = 4) -> list[np.ndarray]:
    network = program.module()
    with torch.no_grad():
        return [network(images(1, 100 + seed)).numpy() for seed in range(count)]


def sqnr_db(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    signal, other = np.concatenate(expected).astype(np.float64), np.concatenate(found).astype(np.float64)
    noise = ((signal - other) ** 2).sum()
    return float(10 * np.log10((signal**2).sum() / noise)) if noise else float("inf")


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def interpreted(path: Path, lowered: Lowered) -> Callable[[Path, Any], Any]:
    """Core ML's program as `sdk verify` runs it on Linux."""
    from sdk.interpreted import Interpreted

    artifact = Artifact(
        target="coreml", precision="w8a8", file=path.name, bytes=0, sha256="", status="converted",
        inputs=lowered.inputs, outputs=lowered.outputs,
    )  # fmt: skip
    manifest = Manifest(
        model="net", inputs=(Spec(name="image", shape=SHAPE),), outputs=(Spec(name="logits", shape=(1, 200)),)
    )
    engine = Interpreted(path, artifact, manifest)
    return lambda _, inputs: engine.run(dict(inputs))


@pytest.mark.slow
def test_each_target_answers_as_the_program_does(
    target: str, program: ExportedProgram, quantised: ExportedProgram, run: Any, tmp_path: Path
) -> None:
    exporter = load_exporter(target)
    path, whole = (tmp_path / f"{name}{exporter.suffix}" for name in ("w8a8", "fp32"))
    lowered = exporter.lower(quantised, Options("w8a8", ("image",), ("logits",)), path)
    exporter.lower(program, Options("fp32", ("image",), ("logits",)), whole)
    if target == "coreml":
        run = interpreted(path, lowered)
    name = "image" if target == "coreml" else lowered.inputs[0]
    found = []
    for seed in range(4):
        (answer,) = run(path, {name: images(1, 100 + seed).numpy()}).values()
        found.append(np.asarray(answer))
    assert {answer.dtype for answer in found} == {np.dtype(np.float32)}, "integers stay inside"

    exact, rounded = answers(program), answers(quantised)
    lowered_from = answers(safe_in_pairs(quantised)) if target in SAFE else rounded
    own = sqnr_db(exact, rounded)
    fidelity = sqnr_db(lowered_from, found)
    if target == "coreml":  # the interpreter multiplies with torch too: only a tie may go the other way
        assert fidelity > 40.0
    else:  # kernels round ties and rescale in fixed point: a step here and there, less than quantising itself does
        assert fidelity > own
    assert sqnr_db(exact, found) > own - 3.0, "a runtime may at most double the noise: 3 dB"

    inside = contents(target, path)
    assert inside is not None
    assert (inside.layers, inside.integer_layers) == (LAYERS, LAYERS)
    assert inside.weights == {"int8": WEIGHTS}
    assert size(path) * 3 < size(whole), "a quarter, and the graph's quantisations and scales"


@pytest.mark.slow
def test_openvino_itself_says_that_it_computes_in_integers(quantised: ExportedProgram, tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino", reason="OpenVINO is not installed here")
    load_exporter("openvino").lower(quantised, Options("w8a8", ("image",), ("logits",)), tmp_path / "net.openvino")
    compiled = ov.Core().compile_model(tmp_path / "net.openvino" / "model.xml", "CPU")
    kinds = [
        node.get_rt_info()["primitiveType"].astype(str)
        for node in compiled.get_runtime_model().get_ordered_ops()
        if node.get_rt_info()["layerType"].astype(str) in ("Convolution", "FullyConnected")
    ]
    assert len(kinds) == LAYERS
    assert all(kind.upper().endswith("_I8") for kind in kinds), kinds  # "_i8" of kernels for AMX


@pytest.mark.slow
def test_onnx_runtime_itself_fuses_every_layer(quantised: ExportedProgram, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed here")
    load_exporter("onnx").lower(quantised, Options("w8a8", ("image",), ("logits",)), tmp_path / "net.onnx")
    session = ort.SessionOptions()
    session.optimized_model_filepath = str(tmp_path / "fused.onnx")
    ort.InferenceSession(str(tmp_path / "net.onnx"), session, providers=["CPUExecutionProvider"])
    fused = [node.op_type for node in onnx.load(tmp_path / "fused.onnx").graph.node]
    assert not {"Conv", "FusedConv", "Gemm", "MatMul"} & set(fused)
    assert sum(fused.count(kind) for kind in ("QLinearConv", "QGemm", "QLinearMatMul")) == LAYERS


class Stored(nn.Module):
    """A quantised convolution (`groups` of it) or linear layer between float ones, or by itself."""

    whole: Tensor

    def __init__(self, whole: Tensor, groups: int = 1, activations: bool = False) -> None:
        super().__init__()
        count = whole.shape[0]
        self.groups, self.activations = groups, activations
        self.register_buffer("whole", whole)
        self.register_buffer("scale", torch.rand(count, generator=torch.Generator().manual_seed(3)) * 1e-2 + 1e-3)
        self.register_buffer("zero", torch.zeros(count, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.activations:
            x = self._rounded(x, 1 / 255)
        weight = q.dequantize_per_channel(self.whole, self.scale, self.zero, 0, -127, 127, torch.int8)
        if self.whole.dim() == 2:
            return torch.nn.functional.linear(x, weight)
        y = torch.nn.functional.conv2d(x, weight, groups=self.groups)
        return self._rounded(y.relu(), 8.0) if self.activations else y

    @staticmethod
    def _rounded(x: Tensor, scale: float) -> Tensor:
        whole = q.quantize_per_tensor(x, scale, -128, -128, 127, torch.int8)
        real: Tensor = q.dequantize_per_tensor(whole, scale, -128, -128, 127, torch.int8)
        return real


def stored_of(program: ExportedProgram) -> tuple[np.ndarray, np.ndarray]:
    """The integers of the only stored weight, and its scales."""
    network = program.module(check_guards=False)
    (node,) = [node for node in network.graph.nodes if node.target is q.dequantize_per_channel.default]
    whole, scale = (getattr(network, str(arg.target)) for arg in node.args[:2])
    assert whole.dtype == torch.int8
    return whole.numpy().astype(np.int64), scale.numpy().astype(np.float64)


@st.composite
def layers(draw: st.DrawFn) -> tuple[Tensor, int]:
    """int8 weights of a linear layer, a convolution, or a depthwise one, and its groups; some with wide values."""
    outputs, inputs, side = draw(st.integers(1, 5)), draw(st.integers(1, 7)), draw(st.sampled_from([1, 2, 3]))
    kind = draw(st.sampled_from(["linear", "dense", "depthwise"]))
    shape = {"linear": (outputs, inputs), "dense": (outputs, inputs, side, side), "depthwise": (outputs, 1, side, side)}
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    limit = draw(st.sampled_from([20, 64, 100, 127]))
    whole = torch.randint(-limit, limit + 1, shape[kind], generator=generator, dtype=torch.int8)
    if draw(st.booleans()):
        whole = torch.where(whole >= 0, whole.clamp(min=limit - 2), whole)  # neighbours of one sign
    return whole, outputs if kind == "depthwise" else 1


@given(layers())
@settings(max_examples=25, deadline=None)
def test_no_pair_of_neighbours_overflows_and_sums_stay(layer: tuple[Tensor, int]) -> None:
    whole, groups = layer
    channels = whole.shape[0] if groups > 1 else whole.shape[1]
    x = torch.zeros(1, channels) if whole.dim() == 2 else torch.zeros(1, channels, 4, 4)
    program = torch.export.export(Stored(whole, groups, activations=True), (x,))
    before, old_scale = stored_of(program)
    after, new_scale = stored_of(safe_in_pairs(program))
    depthwise = whole.dim() == 4 and whole.shape[1] == 1
    for channel in range(whole.shape[0]):
        rows = []
        for weight in (before, after):  # places first, then input channels: how kernels lie in memory
            rows.append(np.moveaxis(weight[channel], 0, -1).ravel() if whole.dim() == 4 else weight[channel])
        pairs = [int(a) + int(b) for a, b in zip(rows[0], rows[0][1:], strict=False)]
        fine = depthwise or all(abs(pair) <= 127.5 for pair in pairs)
        if fine:
            assert (rows[0] == rows[1]).all()
            assert old_scale[channel] == new_scale[channel]
            continue
        assert all(abs(int(a) + int(b)) * 255 <= 32767 for a, b in zip(rows[1], rows[1][1:], strict=False))
        carried = np.cumsum(rows[1]) * new_scale[channel] - np.cumsum(rows[0]) * old_scale[channel]
        assert np.abs(carried).max() <= new_scale[channel], "the error is handed on, never kept"


RUN = """
import sys, numpy, openvino
network = openvino.Core().compile_model(sys.argv[1], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
numpy.save(sys.argv[3], numpy.array(network(numpy.load(sys.argv[2]))[0]))
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="VNNI is x86's")
def test_a_cpu_without_vnni_answers_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN, told that the CPU has AVX2 only, multiplies bytes by vpmaddubsw, whose pair sums saturate."""
    pytest.importorskip("openvino", reason="OpenVINO is not installed here")
    import exporters.quantized

    generator = torch.Generator().manual_seed(0)
    whole = torch.randint(60, 128, (32, 32, 3, 3), generator=generator, dtype=torch.int8)
    x = torch.rand(1, 32, 12, 12, generator=generator) * 0.2 + 0.8  # nearly the largest byte everywhere
    program = torch.export.export(Stored(whole, activations=True), (x,))
    np.save(tmp_path / "x.npy", x.numpy())

    def answer(name: str, isa: str) -> np.ndarray:
        path = tmp_path / f"{name}.openvino" / "model.xml"
        environment = {key: value for key, value in os.environ.items() if key != "ONEDNN_MAX_CPU_ISA"}
        if isa:
            environment["ONEDNN_MAX_CPU_ISA"] = isa
        command = [sys.executable, "-c", RUN, str(path), str(tmp_path / "x.npy"), str(tmp_path / "y.npy")]
        subprocess.run(command, env=environment, check=True, timeout=300)
        found: np.ndarray = np.load(tmp_path / "y.npy")
        return found

    options, exporter = Options("w8a8", ("image",), ("logits",)), load_exporter("openvino")
    exporter.lower(program, options, tmp_path / "safe.openvino")
    monkeypatch.setattr(exporters.quantized, "safe_in_pairs", lambda program: program)
    exporter.lower(program, options, tmp_path / "unsafe.openvino")
    assert sqnr_db([program.module()(x).numpy()], [answer("unsafe", "AVX2")]) < 20.0, "what this is about"
    np.testing.assert_array_equal(answer("safe", "AVX2"), answer("safe", ""))
    assert sqnr_db([program.module()(x).numpy()], [answer("safe", "AVX2")]) > 30.0  # steps of 1/255 of the range


@pytest.mark.slow
@pytest.mark.parametrize("rewritten", [unfolded, multiplied_out])
def test_rewriting_stored_weights_changes_no_answer(rewritten: Any, quantised: ExportedProgram) -> None:
    found = rewritten(quantised)
    for before, after in zip(answers(quantised), answers(found), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-6 * np.abs(before).max())
    assert is_quantized(found)


@pytest.mark.slow
def test_what_is_quantised_is_known(program: ExportedProgram, quantised: ExportedProgram) -> None:
    assert (is_quantized(program), computes_in_integers(program)) == (False, False)
    assert (is_quantized(quantised), computes_in_integers(quantised)) == (True, True)
    weights_only = torch.export.export(Stored(torch.ones(2, 3, dtype=torch.int8)), (torch.zeros(1, 3),))
    assert (is_quantized(weights_only), computes_in_integers(weights_only)) == (True, False)
