"""LiteRT's file in pieces: run one after the other they must be the whole, to the last bit."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from devices.operators import NotTimed, tflite
from devices.operators.tflite import Piece, cut, names_of, nothing, packed, pieces, product, read, timed
from exporters.base import Options
from exporters.tflite import exporter
from tests.devices.operators.tiny import Made, all_layers, lowered, outputs_of
from tests.exporters.mcu.test_reader import quantised
from tests.exporters.support import installed

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="the file format comes with ai-edge-litert")
PRECISIONS = ("fp32", "fp16", "w8a8")


class Woven(nn.Module):
    """Paddings that a layer reads and that a pool reads, a layer that is used twice, two outputs of which one is
    read on, a transposed convolution, a product with a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.once, self.twice, self.up = nn.Conv2d(3, 6, 3, 2), nn.Conv2d(3, 3, 3), nn.ConvTranspose2d(6, 4, 2, 2)
        self.gate = nn.Conv2d(4, 4, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        padded = F.pad(image, (1, 1, 1, 1))
        middle = torch.relu(self.twice(padded)) + padded[:, :, 1:-1, 1:-1]
        other = self.twice(F.pad(middle, (1, 1, 1, 1))) + middle
        large = self.up(self.once(F.pad(other, (1, 1, 1, 1))))
        pooled = F.max_pool2d(F.pad(other, (1, 1, 1, 1)), 3, 1)
        gated = large * torch.sigmoid(self.gate(large.mean((2, 3), keepdim=True)))
        return torch.cat([pooled, gated], 1), other


@pytest.fixture(scope="module", params=PRECISIONS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return lowered(tmp_path_factory.mktemp("tflite"), "tflite", request.param)


@pytest.fixture(scope="module", params=PRECISIONS[:2])  # the converter's layouts fail on it in w8a8
def woven(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    installed("tflite")
    torch.manual_seed(0)
    network, shape = Woven().eval(), (1, 3, 16, 24)
    whole = request.param == "w8a8"
    program = quantised(network, *shape) if whole else torch.export.export(network, (torch.zeros(shape),))
    path = tmp_path_factory.mktemp("woven") / "woven.tflite"
    exporter.lower(program, Options(request.param, ("image",), ("joined", "other")), path)
    return path


def run(content: bytes, given: list[np.ndarray]) -> list[np.ndarray]:
    """Outputs in the file's order, of inputs in the file's order."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    assert len(details) == len(given)
    for detail, values in zip(details, given, strict=True):
        interpreter.set_tensor(detail["index"], values)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def cut_up(path: Path) -> tuple[Any, list[str], list[Piece]]:
    model = read(path, schema)
    kinds = names_of(model, schema)
    return model, kinds, list(pieces(model.subgraphs[0], kinds, model.buffers))


def assert_whole(path: Path) -> None:
    """The pieces, each given what others made, answer as the file does."""
    model, _, found = cut_up(path)
    graph = model.subgraphs[0]
    (given,) = (int(one) for one in graph.inputs)
    image = np.random.default_rng(3).random(tuple(graph.tensors[given].shape), np.float32) * 2 - 1
    values = {given: image}
    for piece in found:
        made = run(cut(model, graph, piece, schema), [values[one] for one in piece.inputs])
        values |= dict(zip(piece.outputs, made, strict=True))
    expected = run(path.read_bytes(), [image])
    for index, answer in zip((int(one) for one in graph.outputs), expected, strict=True):
        assert np.ptp(answer) > 0
        assert np.array_equal(values[index], answer)


def test_the_pieces_of_a_network_are_the_whole_of_it(made: Made) -> None:
    assert_whole(made.path)


def test_the_pieces_of_woven_branches_are_the_whole(woven: Path) -> None:
    assert_whole(woven)


def test_each_operator_is_in_a_piece_and_what_is_no_constant_in_one_alone(made: Made) -> None:
    model, kinds, found = cut_up(made.path)
    counted = [number for piece in found for number in piece.operators]
    assert set(counted) == set(range(len(kinds)))
    twice = {kinds[number] for number in counted if counted.count(number) > 1}
    assert twice <= {"DEQUANTIZE"}
    assert {kinds[piece.operators[-1]] for piece in found}.isdisjoint({"PAD", "PADV2"})
    folded = [kinds[number] for piece in found for number in piece.operators[:-1]]
    assert {"PAD", "PADV2"} & set(folded)  # stride 2 with a padding of 1 is none of LiteRT's own
    assert ("DEQUANTIZE" in folded) == (made.artifact.precision == "fp16")
    made_by = [output for piece in found for output in piece.outputs]
    assert len(made_by) == len(set(made_by))
    assert set(model.subgraphs[0].outputs) <= set(made_by)


def test_a_padding_of_several_readers_or_of_a_pool_stays_alone(woven: Path) -> None:
    """In the network above the first one is read by a convolution and a slice."""
    model, kinds, found = cut_up(woven)
    graph = model.subgraphs[0]
    for piece in found:
        for number in piece.operators[:-1]:
            if kinds[number] in ("PAD", "PADV2"):
                (padded,) = (int(one) for one in graph.operators[number].outputs)
                assert kinds[piece.operators[-1]] in ("CONV_2D", "DEPTHWISE_CONV_2D")
                readers = [at for at, each in enumerate(graph.operators) if padded in [int(one) for one in each.inputs]]
                assert readers == [piece.operators[-1]]
    alone = [kinds[piece.operators[-1]] for piece in found if len(piece.operators) == 1]
    paddings = sum(kind in ("PAD", "PADV2") for kind in kinds)
    folded = sum(kinds[number] in ("PAD", "PADV2") for piece in found for number in piece.operators[:-1])
    assert paddings == folded + sum(kind in ("PAD", "PADV2") for kind in alone)


def test_every_layer_is_found_with_its_weights_and_output(made: Made) -> None:
    told = timed(made.bundle, made.artifact, 1, made.inputs)
    found = all_layers(made, told)
    outputs = outputs_of(made)
    for one, row in zip(told, found, strict=True):
        if row.macs:
            assert row.node is not None
            assert (one.weights, one.output) == (made.network[row.node].weights, outputs[row.module])
    convolutions = [one.integers for one in told if "CONV_2D" in one.kind]
    assert convolutions == [made.artifact.precision == "w8a8"] * 5


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0ONNX" + bytes(100)])
def test_what_is_no_tflite_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(content)
    with pytest.raises(NotTimed, match="no LiteRT identifier"):
        read(tmp_path / "net.tflite", schema)


def test_several_graphs_are_refused(tmp_path: Path) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(nothing(schema)), 0))
    path = tmp_path / "net.tflite"
    path.write_bytes(packed(model))
    assert len(read(path, schema).subgraphs) == 1
    model.subgraphs = [model.subgraphs[0], model.subgraphs[0]]
    path.write_bytes(packed(model))
    with pytest.raises(NotTimed, match="2 graphs"):
        read(path, schema)


def test_weights_behind_the_graph_are_refused(tmp_path: Path) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(product(schema, 16)), 0))
    model.buffers[1].data, model.buffers[1].offset, model.buffers[1].size = None, 4096, 256
    path = tmp_path / "net.tflite"
    path.write_bytes(packed(model))
    with pytest.raises(NotTimed, match="outside of its graph"):
        read(path, schema)


def test_tflite_runtime_alone_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("ai_edge_litert")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(NotTimed, match="tflite-runtime") as caught:
        tflite.timed(None, None, 1, {})  # type: ignore[arg-type]  # nothing is looked at before
    assert caught.value.hint == "pip install ai-edge-litert"


def test_the_file_of_nothing_adds_a_number_to_itself() -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(nothing(schema)), 0))
    (given,) = model.subgraphs[0].inputs
    shape = tuple(model.subgraphs[0].tensors[given].shape)
    values = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    assert values.size <= 4  # or it would take time of its own
    (answer,) = run(nothing(schema), [values])
    assert np.array_equal(answer, 2 * values)


@pytest.mark.parametrize("side", [16, 96])
def test_the_file_of_a_product_multiplies_bytes(side: int) -> None:
    """Scales of 0.02, 0.005 and 0.05: each sum times 0.002, which runtimes round in ways of their own."""
    content = product(schema, side)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(content), 0))
    weights = np.frombuffer(bytes(bytearray(model.buffers[1].data)), np.int8).reshape(side, side).astype(np.int64)
    left = np.random.default_rng(1).integers(-128, 128, (side, side)).astype(np.int8)
    (answer,) = run(content, [left.reshape(1, side, 1, side)])
    expected = np.clip(left.astype(np.int64) @ weights.T * (0.02 * 0.005 / 0.05), -128, 127)
    assert np.abs(answer.reshape(side, side) - expected).max() <= 1.0
    assert len(set(answer.ravel().tolist())) > side
