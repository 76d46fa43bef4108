"""What exporters take out of quantised files: they must be smaller, and answer bit for bit as before."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.ao.quantization.fx._decomposed  # registers quantized_decomposed
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional as F

from exporters import TARGETS, load_exporter
from exporters.base import Options
from exporters.contents import contents
from tests.exporters.support import Stored, installed

q = torch.ops.quantized_decomposed
SHAPE = (1, 3, 12, 12)
REWRITTEN = ("tflite", "onnx", "openvino", "executorch")
NAMES = ("image",), ("scores",)


class Net(nn.Module):
    """Residual blocks, each an expansion, a depthwise layer (every other time of two channels a group) and a
    projection. Activations are quantised too, unless `weights_only`."""

    def __init__(self, weights_only: bool, blocks: int = 4) -> None:
        super().__init__()
        self.weights_only = weights_only
        self.stem = Stored(16, 3, 3, 3)
        self.blocks = nn.ModuleList(
            nn.ModuleList((Stored(32, 16, 1, 1), Stored(32, 1 + index % 2, 3, 3), Stored(16, 32, 1, 1)))
            for index in range(blocks)
        )
        self.scores = Stored(10, 16)

    def rounded(self, x: Tensor, scale: float, zero: int = 0) -> Callable[[], Tensor]:
        """Gives the rounded value, dequantised for each reader by itself, as quantisers do."""
        if self.weights_only:
            return lambda: x
        whole = q.quantize_per_tensor(x, scale, zero, -128, 127, torch.int8)
        return lambda: q.dequantize_per_tensor(whole, scale, zero, -128, 127, torch.int8)

    def layer(self, x: Callable[[], Tensor], stored: Any, groups: int = 1) -> Tensor:
        return F.conv2d(x(), stored(), stored.bias, padding=stored.whole.shape[2] // 2, groups=groups)

    def forward(self, image: Tensor) -> Tensor:
        x = self.rounded(self.layer(self.rounded(image, 0.03), self.stem).relu(), 0.02, -128)
        for expand, middle, project in self.blocks:  # type: ignore[misc]  # a ModuleList of three
            y = self.rounded(self.layer(x, expand).relu(), 0.03, -128)
            y = self.rounded(self.layer(y, middle, 32 // middle.whole.shape[1]).relu(), 0.03, -128)
            y = self.rounded(self.layer(y, project), 0.02)
            x = self.rounded(x() + y(), 0.04, 3)
        mean = self.rounded(x().mean((2, 3)), 0.02)
        return self.rounded(F.linear(mean(), self.scores(), self.scores.bias), 0.02)()


@pytest.fixture(params=REWRITTEN)
def target(request: pytest.FixtureRequest) -> str:
    return installed(request.param)


def program(weights_only: bool) -> ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(Net(weights_only).eval(), (torch.randn(SHAPE),))


def size(path: Path) -> int:
    return sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Path, Path]]:
    """Lowers a network twice: as its converter writes it, and as the exporter does."""

    def make(target: str, weights_only: bool = False) -> tuple[Path, Path]:
        exporter, network = load_exporter(target), program(weights_only)
        plain, compact = (tmp_path / f"{name}{exporter.suffix}" for name in ("plain", "compact"))
        options = Options("w8" if weights_only else "w8a8", *NAMES)
        with monkeypatch.context() as patch:
            for place in ("shared.store_once", "ir.simplify", "ir.shorten", "bare.strip", "bare.number"):
                patch.setattr(f"exporters.{place}", lambda _: None)
            patch.setattr("exporters.executorch._short_keys", nullcontext)
            patch.setattr("exporters.executorch.ALIGNMENT", 128)
            first = exporter.lower(network, options, plain)
        second = exporter.lower(network, options, compact)
        assert (first.inputs, first.outputs) == (second.inputs, second.outputs)
        assert sum(first.not_delegated.values()) == sum(second.not_delegated.values())
        return plain, compact

    return make


def images(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(5)
    return [generator.standard_normal(SHAPE).astype(np.float32) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("weights_only", [False, True], ids=["w8a8", "w8"])
def test_a_file_is_smaller_and_answers_bit_for_bit_alike(
    target: str, weights_only: bool, written: Any, run: Any
) -> None:
    if weights_only and "w8" not in TARGETS[target].precisions:
        pytest.skip(f"{target} has no weights-only precision")
    plain, compact = written(target, weights_only)
    assert size(compact) < size(plain)
    assert contents(target, compact) == contents(target, plain)
    for image in images(3):
        before, after = (run(path, {"image": image}) for path in (plain, compact))
        assert list(before) == list(after)
        for name in before:
            np.testing.assert_array_equal(np.asarray(after[name]), np.asarray(before[name]))
            assert np.ptp(np.asarray(before[name])) > 0, "answers that say something"


@pytest.mark.slow
def test_litert_without_xnnpack_answers_alike(written: Any) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed here")

    def answers(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
        reference = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = litert.Interpreter(str(path), experimental_op_resolver_type=reference)
        found: dict[str, np.ndarray] = interpreter.get_signature_runner()(image=image)
        return found

    plain, compact = written("tflite")
    for image in images(2):
        before, after = answers(plain, image), answers(compact, image)
        assert set(before) == set(after) == set(NAMES[1])
        for name in before:
            np.testing.assert_array_equal(after[name], before[name])


@pytest.mark.slow
def test_a_tflite_stores_what_is_equal_once(written: Any) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="LiteRT is not installed here")
    from exporters.shared import ALIGNMENT, store_once

    plain, compact = written("tflite")
    data = compact.read_bytes()
    model, old = schema.Model.GetRootAs(data), schema.Model.GetRootAs(plain.read_bytes())
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    zeros: dict[int, set[int]] = {}
    for tensor in tensors:
        vector = tensor.Quantization()
        if vector is not None and vector.ZeroPointLength() > 1:
            place = vector._tab.Vector(vector._tab.Offset(10))  # the field of zero points
            zeros.setdefault(vector.ZeroPointLength(), set()).add(place)
    assert set(zeros) == {10, 16, 32}
    assert all(len(places) == 1 for places in zeros.values())
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            assert buffer._tab.Vector(buffer._tab.Offset(4)) % ALIGNMENT == 0
    ends = [*graph.InputsAsNumpy(), *graph.OutputsAsNumpy()]
    assert [tensors[end].Name() for end in ends] == [old.Subgraphs(0).Tensors(end).Name() for end in ends]
    assert len({tensor.Name() for tensor in tensors}) == len(tensors), "other converters take them for keys"
    store_once(compact)
    assert compact.read_bytes() == data, "once more changes nothing"


def test_only_equal_tables_share_a_place() -> None:
    numbers = pytest.importorskip("flatbuffers.number_types", reason="flatbuffers is not installed here")
    from exporters.shared import SharingBuilder

    builder = SharingBuilder(16)

    def table(kind: Any, value: int, target: int = 0) -> int:
        builder.StartObject(2)
        builder.PrependSlot(kind, 0, value, 0)
        builder.PrependUOffsetTRelativeSlot(1, target, 0)
        return builder.EndObject()

    text, other = builder.CreateString("one"), builder.CreateString("two")
    assert builder.CreateString(b"one") == text != other
    vector = builder.CreateNumpyVector(np.arange(3, dtype=np.int32))
    assert builder.CreateNumpyVector(np.arange(3, dtype=">i4")) == vector
    assert builder.CreateNumpyVector(np.arange(3, dtype=np.float32)) != vector
    first = table(numbers.Int32Flags, 7, text)
    assert table(numbers.Int32Flags, 7, text) == first
    different = {table(numbers.Int32Flags, 7, other), table(numbers.Int8Flags, 7, text), table(numbers.Int32Flags, 8)}
    assert len(different | {first}) == 4


@pytest.mark.slow
def test_an_ir_names_operators_by_the_captured_programs_nodes(written: Any) -> None:
    ov = pytest.importorskip("openvino", reason="OpenVINO is not installed here")
    plain, compact = written("openvino")
    before, after = (ov.Core().read_model(path / "model.xml") for path in (plain, compact))
    names = [node.get_friendly_name() for node in after.get_ordered_ops()]
    assert len(set(names)) == len(names)
    assert {"convolution", "convolution_2", "quantize_per_tensor"} <= set(names)
    assert [port.get_names() for port in after.inputs] == [{"image"}]
    assert [port.get_names() for port in after.outputs] == [{name} for name in NAMES[1]]
    assert [port.get_shape() for port in after.outputs] == [port.get_shape() for port in before.outputs]
    kinds = [[node.get_type_name() for node in model.get_ordered_ops()] for model in (before, after)]
    assert kinds[0].count("Reshape") >= kinds[1].count("Reshape") + 4, "four grouped layers"
    assert kinds[1].count("Constant") < kinds[0].count("Constant")


@pytest.mark.slow
def test_openvino_still_computes_in_integers(written: Any) -> None:
    ov = pytest.importorskip("openvino", reason="OpenVINO is not installed here")

    def kernels(path: Path) -> list[str]:
        compiled = ov.Core().compile_model(path / "model.xml", "CPU")
        return sorted(
            node.get_rt_info()["primitiveType"].astype(str)
            for node in compiled.get_runtime_model().get_ordered_ops()
            if node.get_rt_info()["layerType"].astype(str) in ("Convolution", "FullyConnected")
        )

    plain, compact = written("openvino")
    assert kernels(compact) == kernels(plain)
    assert all(kernel.upper().endswith("_I8") for kernel in kernels(compact))


def test_names_that_a_branch_reads_from_outside_stay() -> None:
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed here")
    ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed here")
    from exporters.bare import number

    helper, kind = onnx.helper, onnx.TensorProto
    branches = [
        helper.make_graph(
            [helper.make_node(name, ["outside", "1"], [f"{name}_out"])], name, [],
            [helper.make_tensor_value_info(f"{name}_out", kind.FLOAT, [2])],
        )
        for name in ("Add", "Sub")
    ]  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("Neg", ["x"], ["outside"]),
            helper.make_node("Abs", ["outside"], ["inside"]),
            helper.make_node("If", ["yes"], ["either"], then_branch=branches[0], else_branch=branches[1]),
            helper.make_node("Mul", ["either", "inside"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", kind.FLOAT, [2]), helper.make_tensor_value_info("yes", kind.BOOL, [])],
        [helper.make_tensor_value_info("y", kind.FLOAT, [2])],
        [helper.make_tensor("1", kind.FLOAT, [2], [3.0, 4.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    number(model)
    onnx.checker.check_model(model, full_check=True)
    inside = [name for node in model.graph.node for name in node.output]
    assert inside[0] == "outside"
    assert inside[-1] == "y"
    assert len({*inside, "1"}) == 5, "the initialiser's own name is not given again"
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.array([1.0, -2.0], np.float32)
    (y,) = session.run(None, {"x": x, "yes": np.array(True)})
    np.testing.assert_array_equal(y, (-x + [3.0, 4.0]) * np.abs(x))
