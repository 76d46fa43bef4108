"""Activations in 16 bits, against the same network in 8 and against LiteRT's own kernels."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from runtime_py.proof import sqnr_db
from sdk.quantize.recipes import Prepared, Recipe, prepared, quantised
from sdk.quantize.wide import LEVELS, SHARE_STEP, NoWideJoin, check_joins, widen
from tests.exporters.support import installed
from tests.sdk.quantize.small import SHAPE, firsts, program, samples

q = torch.ops.quantized_decomposed


@pytest.fixture(scope="module")
def ready() -> Prepared:
    return prepared(program(), samples, equalised=False)


@pytest.fixture(scope="module")
def narrow(ready: Prepared) -> GraphModule:
    return quantised(ready, Recipe(), samples, 16)


@pytest.fixture(scope="module")
def wide(narrow: GraphModule) -> GraphModule:
    network = copy.deepcopy(narrow)
    widen(network)
    return network


def test_what_is_left_is_the_weights_rounding(ready: Prepared, narrow: GraphModule, wide: GraphModule) -> None:
    """The network without any quantisation of values is the reference for what weights alone do."""
    weights = copy.deepcopy(narrow)
    for node in list(weights.graph.nodes):
        if node.target in (q.quantize_per_tensor.default, q.dequantize_per_tensor.default):
            node.replace_all_uses_with(node.args[0])
            weights.graph.erase_node(node)
    weights.recompile()
    given = samples(8, seed=2)
    alone, found, exact = (firsts(network, given) for network in (weights, wide, ready.network))
    for x, y, real in zip(alone, found, exact, strict=True):
        assert (x - y).norm() < 0.05 * (x - real).norm()


def test_every_value_is_symmetric_and_has_room_for_more(narrow: GraphModule, wide: GraphModule) -> None:
    before, after = (
        {node.name: node for node in network.graph.nodes if node.target is q.quantize_per_tensor.default}
        for network in (narrow, wide)
    )
    assert before
    assert before.keys() == after.keys()
    for name, node in after.items():
        _, step, zero, low, high, kind = node.args
        assert (zero, low, high, kind) == (0, -LEVELS - 1, LEVELS, torch.int16)
        _, old, old_zero, *_ = before[name].args
        reach = max((127 - old_zero) * old, (128 + old_zero) * old)
        assert step * LEVELS == pytest.approx(2 * reach)
        assert all(user.args[1:] == node.args[1:] for user in node.users)


def test_a_sigmoid_has_the_step_that_its_kernel_gives() -> None:
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    share = graph.call_function(torch.ops.aten.sigmoid.default, (x,))
    arguments = (1 / 255, -128, -128, 127, torch.int8)
    rounded = graph.call_function(q.quantize_per_tensor.default, (share, *arguments))
    graph.output(graph.call_function(q.dequantize_per_tensor.default, (rounded, *arguments)))
    network = GraphModule(torch.nn.Module(), graph)
    widen(network)
    assert rounded.args[1:3] == (SHARE_STEP, 0)
    assert network(torch.zeros(2)).tolist() == [0.5, 0.5]


class Parts(nn.Module):
    """What LiteRT has kernels of 16 bits for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.third, self.last = nn.Conv2d(16, 16, 1), nn.Linear(16 * 36, 32)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.first(x))
        y = x + self.second(x) * torch.sigmoid(x.mean((2, 3), keepdim=True))
        z = nn.functional.interpolate(nn.functional.max_pool2d(y, 2), scale_factor=2.0)
        z = self.third(z + nn.functional.silu(x))
        answer: Tensor = self.last(nn.functional.max_pool2d(z, 2).flatten(1))
        return answer


def test_a_concatenation_is_refused_by_its_place(ready: Prepared) -> None:
    with pytest.raises(NoWideJoin, match="concatenates values, in cat\n") as caught:
        check_joins(ready.network.graph)
    assert "w8a8" in caught.value.hint
    check_joins(prepared(torch.export.export(Parts().eval(), samples(1)[0]), samples, equalised=False).network.graph)


@pytest.mark.slow
def test_litert_answers_as_the_program_does(tmp_path: Path) -> None:
    """In its own integer kernels, with biases of 64 bits: read back from the file."""
    from ai_edge_litert.interpreter import Interpreter

    from exporters import load_exporter
    from exporters.base import Options
    from exporters.contents import contents

    torch.manual_seed(0)
    captured = torch.export.export(Parts().eval(), (torch.randn(SHAPE),))
    ready = prepared(captured, samples, equalised=False)
    wide = quantised(ready, Recipe(), samples, 16)
    widen(wide)
    path = tmp_path / "net.tflite"
    exported = torch.export.export(wide, samples(1)[0])
    load_exporter(installed("tflite")).lower(
        exported, Options(precision="w8a16", input_names=("x",), output_names=("y",)), path
    )
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    kinds = {row["index"]: row["dtype"].__name__ for row in interpreter.get_tensor_details()}
    layers = [
        [kinds[at] for at in row["inputs"]] + [kinds[at] for at in row["outputs"]]
        for row in interpreter._get_ops_details()
        if row["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    ]
    assert layers.count(["int16", "int8", "int64", "int16"]) == len(layers) == 4
    found = contents("tflite", path)
    assert found is not None
    assert found.int8_share == 1.0
    assert found.integer_layers == found.layers == 4
    given = samples(8, seed=2)
    for sample, expected in zip(given, firsts(wide, given), strict=True):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample[0].numpy())
        interpreter.invoke()
        answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(float)
        assert sqnr_db(expected.numpy().astype(float).ravel(), answer.ravel()) > 60.0, (
            "a step of 16 bits here and there"
        )
