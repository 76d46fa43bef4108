"""One rounding at a time: the layer that was made to suffer must be the worst."""

import pytest
import torch
from torch import Tensor, nn

from runtime_py.manifest import Classify, Manifest
from runtime_py.manifest import Tensor as Spec
from sdk.quantize.recipes import Recipe, prepared, quantised
from sdk.quantize.sensitivity import Sensitivity, sensitivity
from sdk.quantize.student import Student

MANIFEST = Manifest(
    model="net", task="classify", inputs=(Spec(name="x", shape=(1, 3, 8, 8)),),
    outputs=(Spec(name="y", shape=(1, 64)),), postprocessing=Classify(output="y"),
)  # fmt: skip


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1),
        )  # fmt: skip
        self.answer = nn.Linear(8, 64)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.answer(self.layers(x).mean((2, 3)))
        return answer


def measured(widened: int | None, told: list[tuple[int, int]]) -> Sensitivity:
    """Of a network quantised by the extremes. `widened`: the layer whose weights of one input are huge, and that input
    always 0. In float it says nothing; in integers it takes all levels."""
    torch.manual_seed(0)
    module = Chain()
    if widened is not None:
        before, own = (module.layers[2 * index] for index in (widened - 1, widened))
        assert isinstance(before, nn.Conv2d)
        assert isinstance(own, nn.Conv2d)
        assert before.bias is not None
        with torch.no_grad():
            before.weight[0] = 0.0
            before.bias[0] = 0.0
            own.weight[:, 0] = 1000.0
    ready = prepared(torch.export.export(module.eval(), (torch.randn(1, 3, 8, 8),)), samples, equalised=False)
    student = Student(quantised(ready, Recipe(), samples, 8), ready.weights())
    return sensitivity(student, ready.network, samples(8), MANIFEST, lambda *at: told.append(at))


def samples(count: int) -> list[tuple[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(1, 3, 8, 8, generator=generator),) for _ in range(min(count, 8))]


LAYERS = ["layers.0", "layers.2", "layers.4", "layers.6", "answer"]


@pytest.mark.parametrize("widened", [1, 2, 3])
def test_the_layer_that_was_widened_is_the_worst(widened: int) -> None:
    told: list[tuple[int, int]] = []
    rows = [row for row in measured(widened, told).rows if row.weights]
    assert [row.module for row in rows] == LAYERS
    assert told == [(index, len(told)) for index in range(len(told))]
    worst = min(rows, key=lambda row: row.quality_db)
    assert worst.module == f"layers.{2 * widened}"
    others = [row.quality_db for row in rows if row is not worst]
    assert min(others) > worst.quality_db + 10.0
    assert all(0.0 <= row.content <= 1.0 for row in rows)


def test_an_even_network_loses_little_anywhere() -> None:
    rows = measured(None, []).rows
    assert min(row.quality_db for row in rows) > 25.0, "roundings of 8 bits, two bits of them unused"
    layers = [row for row in rows if row.weights]
    assert [row.weights for row in layers] == [216, 576, 576, 64, 512]
    assert [row.macs for row in layers] == [216 * 64, 576 * 64, 576 * 64, 64 * 64, 512]


def test_values_that_no_layer_gives_have_rows_of_their_own() -> None:
    found = measured(None, [])
    assert next(row.name for row in found.rows if not row.weights) == "x", "the input"
    assert {row.name for row in found.operators} >= {"conv2d", "conv2d_1", "linear"}
    between = frozenset({"conv2d", "conv2d_1"})
    assert between in {row.operators for row in found.roundings}, "the value between two layers needs both in float"
