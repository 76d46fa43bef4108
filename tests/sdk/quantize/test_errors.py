"""How far answers are apart, against closed forms."""

import math

import pytest
import torch
from torch import Tensor

from runtime_py.manifest import Classify, Detect, Manifest, Postprocessing, Task
from runtime_py.manifest import Tensor as Spec
from sdk.quantize.errors import CEILING_DB, answer_error, decibels, noises


def manifest(task: Task, post: Postprocessing | None) -> Manifest:
    one = (Spec(name="x", shape=(1, 3)),)
    return Manifest(model="net", task=task, inputs=one, outputs=one, postprocessing=post)


CLASSES = manifest("classify", Classify(output="x"))
BOXES = manifest("detect", Detect(output="x"))


@pytest.mark.parametrize("share", [1.0, 0.1, 1e-3])
def test_quality_is_that_of_the_shares(share: float) -> None:
    x = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    assert answer_error([x], [x * (1 + share)], CLASSES).quality_db == pytest.approx(-20 * math.log10(share), abs=0.01)


def test_quality_has_bounds() -> None:
    x = torch.ones(1, 4)
    assert answer_error([x], [x], CLASSES).quality_db == CEILING_DB
    for lost in (float("nan"), float("inf")):
        assert answer_error([x], [torch.full((1, 4), lost)], CLASSES).quality_db == -CEILING_DB
    assert decibels(0.0) == CEILING_DB


def test_gradients_lead_to_the_expected_answer() -> None:
    found = (SEEN + 0.05).requires_grad_()
    torch.stack(noises(SEEN, found, BOXES)).sum().backward()  # type: ignore[no-untyped-call]  # torch's
    assert found.grad is not None
    assert bool((found.grad[:, 4:] > 0).all()), "all scores are too high"
    assert bool((found.grad[0, :4, 0] > 0).all()), "and so is the seen box"


def test_a_classifiers_content_is_the_share_of_other_best_classes() -> None:
    expected = [torch.eye(4)[index : index + 1] for index in range(4)]
    found = [*expected[:3], expected[0]]
    error = answer_error(expected, found, CLASSES)
    assert error.content == 0.25
    assert error.quality_db == pytest.approx(10 * math.log10(4 / 2))


def test_other_tasks_have_no_content() -> None:
    error = answer_error([torch.ones(1, 3)], [-torch.ones(1, 3)], manifest("raw", None))
    assert error.content == 0.0
    assert error.quality_db == pytest.approx(10 * math.log10(1 / 4))


def cells(*objects: tuple[float, float, float, float, int, float]) -> Tensor:
    """Centre, size, class of two and score of each cell, as (1, 6, cells)."""
    rows = [[x, y, w, h, *(score if number == label else 0.0 for number in (0, 1))]
            for x, y, w, h, label, score in objects]  # fmt: skip
    return torch.tensor(rows).T[None]


SEEN = cells((10, 10, 8, 8, 0, 0.9), (30, 30, 8, 8, 1, 0.8), (50, 50, 8, 8, 0, 0.7), (70, 70, 8, 8, 1, 0.01))


@pytest.mark.parametrize(
    ("changed", "content"),
    [
        ((10, 10, 8, 8, 0, 0.9), 0.0),
        ((11, 10, 8, 8, 0, 0.9), 0.0),  # IoU 7 / 9
        ((14, 10, 8, 8, 0, 0.9), 1 / 3),  # IoU 4 / 12
        ((10, 10, 8, 8, 1, 0.9), 1 / 3),  # another class
        ((10, 10, 8, 8, 0, 0.01), 1 / 3),  # no longer seen
    ],
)
def test_a_detectors_content_is_the_share_of_lost_objects(
    changed: tuple[float, float, float, float, int, float], content: float
) -> None:
    found = SEEN.clone()
    found[:, :, 0] = cells(changed)[:, :, 0]
    assert answer_error([SEEN], [found], BOXES).content == pytest.approx(content)


def test_a_detectors_quality_is_the_worse_of_boxes_and_scores() -> None:
    assert answer_error([SEEN], [SEEN], BOXES).quality_db == CEILING_DB
    scores = SEEN.clone()
    scores[:, 4:] *= 1.1
    assert answer_error([SEEN], [scores], BOXES).quality_db < 25.0
    boxes = SEEN.clone()
    boxes[:, :4] += 0.08  # a hundredth of each box's size, in all four numbers
    assert answer_error([SEEN], [boxes], BOXES).quality_db == pytest.approx(40.0, abs=0.1)
    dead = torch.full_like(SEEN, float("nan"))
    assert answer_error([SEEN], [dead], BOXES).quality_db == -CEILING_DB


def test_cells_without_an_object_say_nothing() -> None:
    far = SEEN.clone()
    far[:, :2, 3] += 100.0
    assert answer_error([SEEN], [far], BOXES).content == 0.0
