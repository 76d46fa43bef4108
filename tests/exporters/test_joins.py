"""Concatenations of values whose scales differ, in a detector's tail: the real LiteRT against the program."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from exporters import load_exporter
from exporters.base import Options
from exporters.joins import kept_in_float

aten, q = torch.ops.aten, torch.ops.quantized_decomposed
SCALES = (0.048, 0.041, 0.035)
"""Of a LeYOLO's scores, all of them below zero: the last cannot hold what the first can."""


class Heads(nn.Module):
    """Maps of three sizes, each in integers of a scale of its own, and their scores side by side."""

    def __init__(self, scales: tuple[float, ...], moved: bool = True, again: float | None = None) -> None:
        super().__init__()
        self.scales, self.moved, self.again = scales, moved, again

    def whole(self, x: Tensor, scale: float) -> Tensor:
        stored = q.quantize_per_tensor(x, scale, 127, -128, 127, torch.int8)
        real: Tensor = q.dequantize_per_tensor(stored, scale, 127, -128, 127, torch.int8)
        return real

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for place, scale in enumerate(self.scales):
            part = self.whole(-x[:, :, : 8 >> place, : 8 >> place].abs() * 255 * scale, scale)
            parts.append(part.flatten(2).transpose(1, 2) if self.moved else part.flatten(2))
        joined = torch.cat(parts, 1 if self.moved else 2)
        return (joined if self.again is None else self.whole(joined, self.again)).sigmoid()


def exported(network: nn.Module) -> ExportedProgram:
    return torch.export.export(network.eval(), (torch.rand(1, 6, 8, 8, generator=torch.Generator().manual_seed(0)),))


def negations(program: ExportedProgram) -> int:
    return sum(node.target is aten.neg.default for node in kept_in_float(program).graph.nodes)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("moved", [True, False])
def test_litert_cuts_nothing_off(order: tuple[int, ...], moved: bool, tmp_path: Path) -> None:
    interpreters = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed here")
    pytest.importorskip("litert_torch", reason="LiteRT's converter is not installed here")
    program = exported(Heads(tuple(SCALES[place] for place in order), moved))
    load_exporter("tflite").lower(program, Options("w8a8", ("image",), ("scores",)), tmp_path / "net.tflite")
    interpreter = interpreters.Interpreter(str(tmp_path / "net.tflite"))
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    image = program.example_inputs[0][0]
    interpreter.set_tensor(given["index"], image.numpy())
    interpreter.invoke()
    expected = program.module()(image).detach().numpy()
    np.testing.assert_allclose(interpreter.get_tensor(made["index"]), expected, rtol=0.06)  # a step of the logits


def test_what_is_joined_in_integers_or_of_one_scale_stays_as_it_is() -> None:
    own = negations(exported(Heads((0.04,) * 3)))
    assert negations(exported(Heads(SCALES))) == own + 4
    assert negations(exported(Heads(SCALES, again=0.048))) == own


def test_the_answer_is_the_same_to_the_last_bit() -> None:
    program = exported(Heads(SCALES))
    image = program.example_inputs[0][0]
    assert torch.equal(kept_in_float(program).module()(image), program.module()(image))
