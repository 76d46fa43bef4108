"""Suppression against a loop over pairs, and boxes in the image's own pixels against a closed form."""

import numpy as np
import pytest

from runtime_py.detection import detections, suppress
from runtime_py.errors import SdkError
from runtime_py.manifest import Detect, Preprocessing
from runtime_py.preprocess import Fit, fit

LABELS = ("cat", "dog", "bird")
HOW = Detect(output="boxes", confidence_threshold=0.25, iou_threshold=0.5)
WHOLE = Fit((100, 100), (100, 100))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0.0) * max(h, 0.0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / union if union > 0 else 0.0


def one_by_one(boxes: np.ndarray, classes: np.ndarray | None, limit: float, most: int) -> list[int]:
    """Greedy suppression as its definition reads: each box against every box that stayed before it."""
    kept: list[int] = []
    for index, box in enumerate(boxes):
        rivals = [k for k in kept if classes is None or classes[k] == classes[index]]
        if all(overlap(box, boxes[k]) <= limit for k in rivals):
            kept.append(index)
    return kept[:most]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("agnostic", [False, True])
def test_suppression_is_the_definition(seed: int, agnostic: bool) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (400, 2))  # integers, so that there are ties and equal boxes
    boxes = np.concatenate((corner, corner + rng.integers(0, 40, (400, 2))), 1).astype(np.float32)
    classes = None if agnostic else rng.integers(0, 3, 400)
    for limit, most in ((0.5, 300), (0.7, 10), (0.0, 300), (1.0, 300)):
        assert suppress(boxes, classes, limit, most).tolist() == one_by_one(boxes, classes, limit, most)


def test_thousands_of_boxes_in_one_place_and_apart() -> None:
    rng = np.random.default_rng(9)
    corner = rng.uniform(0, 300, (3000, 2))
    boxes = np.concatenate((corner, corner + rng.uniform(5, 60, (3000, 2))), 1).astype(np.float32)
    classes = rng.integers(0, 3, 3000)
    assert suppress(boxes, classes, 0.5, 100).tolist() == one_by_one(boxes[:700], classes[:700], 0.5, 100)
    same = np.broadcast_to(np.array([1, 2, 30, 40], np.float32), (1500, 4))
    assert suppress(same, None, 0.7, 300).tolist() == [0]
    assert suppress(same, np.arange(1500), 0.7, 2000).tolist() == list(range(1500))
    flat = np.broadcast_to(np.array([5, 5, 5, 5], np.float32), (600, 4))
    assert len(suppress(flat, None, 0.7, 9999)) == 600


def test_only_the_best_candidates_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime_py.detection.CANDIDATES", 3)
    rows = [column(20 * n + 10, 50, 10, 20, 0.3 + n / 100, 0.1, 0.2) for n in range(5)]
    found = detections(np.array(rows, np.float32).T[None], HOW, LABELS, WHOLE)
    np.testing.assert_allclose(found.scores, [0.34, 0.33, 0.32], rtol=1e-6)


def test_boxes_without_a_part_of_the_image_are_dropped() -> None:
    rows = [
        column(-50, 50, 20, 20, 0.9, 0.1, 0.2),  # left of it
        column(50, 130, 20, 20, 0.9, 0.1, 0.2),  # under it
        column(50, 50, -10, 20, 0.9, 0.1, 0.2),  # inside out
        column(50, 50, 0, 20, 0.9, 0.1, 0.2),
        column(50, 50, 3e38, 3e38, 0.9, 0.1, 0.2),  # all of it, and more
    ]
    found = detections(np.array(rows, np.float32).T[None], HOW, LABELS, WHOLE)
    np.testing.assert_array_equal(found.boxes, [[0, 0, 100, 100]])


def test_an_output_of_another_shape_is_refused() -> None:
    for shape in ((1, 8, 20), (7, 20), (2, 7, 20), (1, 20, 7)):
        with pytest.raises(SdkError, match=r"expected: \(1, 7, N\)"):
            detections(np.zeros(shape, np.float32), HOW, LABELS, WHOLE)


def test_no_box_is_no_box() -> None:
    assert suppress(np.empty((0, 4), np.float32), None, 0.5, 10).size == 0
    found = detections(np.zeros((1, 7, 20), np.float32), HOW, LABELS, WHOLE)
    assert len(found) == 0
    assert str(found) == "nothing"
    assert found.to_dict() == {"image_size": [100, 100], "detections": []}


def column(x: float, y: float, w: float, h: float, *scores: float) -> list[float]:
    return [x, y, w, h, *scores]


def test_boxes_scores_and_classes_are_read_from_their_rows() -> None:
    table = np.array(
        [
            column(20, 30, 10, 20, 0.1, 0.9, 0.2),
            column(21, 30, 10, 20, 0.1, 0.8, 0.2),  # overlaps the first, of its class
            column(21, 30, 10, 20, 0.7, 0.1, 0.2),  # overlaps it, of another class
            column(80, 80, 90, 10, 0.0, 0.0, 0.26),  # reaches over the edge
            column(50, 50, 10, 10, 0.2, 0.2, 0.2),  # under the threshold
        ],
        np.float32,
    ).T[None]
    found = detections(table, HOW, LABELS, WHOLE)
    assert found.names == ("dog", "cat", "bird")
    np.testing.assert_allclose(found.boxes, [[15, 20, 25, 40], [16, 20, 26, 40], [35, 75, 100, 85]])
    first = next(iter(found))
    assert (first.name, first.class_id, first.box) == ("dog", 1, (15.0, 20.0, 25.0, 40.0))
    assert first.score == pytest.approx(0.9)
    assert found.over(0.75).names == ("dog",)


def test_multi_label_lets_one_box_be_two_things() -> None:
    from msgspec.structs import replace

    table = np.array([column(20, 30, 10, 20, 0.6, 0.9, 0.1)], np.float32).T[None]
    assert detections(table, HOW, LABELS, WHOLE).names == ("dog",)
    assert detections(table, replace(HOW, multi_label=True), LABELS, WHOLE).names == ("dog", "cat")
    assert detections(table, replace(HOW, multi_label=True, agnostic_nms=True), LABELS, WHOLE).names == ("dog",)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", range(7))
def test_values_that_are_no_numbers_are_dropped(bad: float, row: int) -> None:
    table = np.array([column(20, 30, 10, 20, 0.1, 0.9, 0.2), column(60, 60, 10, 20, 0.1, 0.8, 0.2)], np.float32).T[None]
    table[0, row, 0] = bad
    found = detections(table, HOW, LABELS, WHOLE)
    assert np.isfinite(found.boxes).all()
    assert np.isfinite(found.scores).all()
    assert pytest.approx(0.8) in found.scores.tolist()


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (333, 77), (1, 1), (5000, 3), (416, 416)])
def test_a_letterboxed_box_comes_back_to_the_image(size: tuple[int, int]) -> None:
    how = Preprocessing(input="image", width=416, height=416, resize_type="letterbox", pad_value=114)
    place = fit(size, how)
    ratio = 416 / max(size)
    left, top = ((416 - max(1, round(side * ratio))) // 2 for side in size)
    assert (place.left, place.top) == (left, top)
    inner = [max(1, round(side * ratio)) for side in size]
    corners = np.array([[left, top, left + inner[0], top + inner[1]]], np.float32)
    np.testing.assert_allclose(place.to_image(corners), [[0, 0, *size]], rtol=1e-5)
    middle = np.array([[left + inner[0] / 2, top + inner[1] / 2] * 2], np.float32)
    np.testing.assert_allclose(place.to_image(middle), [[size[0] / 2, size[1] / 2] * 2], rtol=1e-5)
    outside = np.array([[-50, -50, 999, 999]], np.float32)
    np.testing.assert_allclose(place.to_image(outside), [[0, 0, *size]], rtol=1e-5)
