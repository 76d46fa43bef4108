"""Crossings that one can see on the image."""

import numpy as np
import pytest

from runtime_py.detection import Detections
from runtime_py.errors import SdkError
from runtime_py.streams import counting
from runtime_py.streams.counting import BadLine, LineCounter


def at(*places: tuple[int, float, float], labels: tuple[str, ...] = ("person",)) -> Detections:
    """Tracked boxes by id and centre."""
    boxes = np.array([(x - 5, y - 5, x + 5, y + 5) for _, x, y in places], np.float32).reshape(-1, 4)
    count = len(places)
    ids = np.array([number for number, _, _ in places], np.intp)
    return Detections(boxes, np.ones(count, np.float32), np.zeros(count, np.intp), labels, (200, 200), ids)


def walk(counter: LineCounter, *places: tuple[float, float], number: int = 1) -> tuple[int, int]:
    for x, y in places:
        counter(at((number, x, y)))
    return counter.to_right["person"], counter.to_left["person"]


def test_left_to_right_and_back_over_a_line_that_leads_up() -> None:
    up = LineCounter((100, 200), (100, 0))  # who walks up the image has its right side on the right hand
    assert walk(up, (50, 100), (80, 100), (120, 100), (150, 100)) == (1, 0)
    assert walk(up, (90, 100)) == (1, 1)
    assert walk(up, (110, 100)) == (2, 1)


def test_past_the_ends_of_the_line_nothing_counts() -> None:
    short = LineCounter((100, 120), (100, 80))
    assert walk(short, (50, 20), (150, 20), (50, 20)) == (0, 0)
    assert walk(short, (50, 110), (150, 110)) == (1, 0)


def test_a_stop_on_the_line_counts_once() -> None:
    up = LineCounter((100, 200), (100, 0))
    assert walk(up, (50, 100), (100, 100), (100, 90), (150, 90)) == (1, 0)
    assert walk(up, (100, 90), (50, 90)) == (1, 1)


def test_a_touch_from_the_left_is_no_crossing_in_the_end() -> None:
    up = LineCounter((100, 200), (100, 0))
    right, left = walk(up, (50, 100), (100, 100), (50, 100))
    assert right == left


def test_each_object_has_its_own_way() -> None:
    up = LineCounter((100, 200), (100, 0))
    up(at((1, 50, 50), (2, 150, 150)))
    up(at((2, 50, 150), (1, 150, 50)))
    assert (up.to_right["person"], up.to_left["person"]) == (1, 1)
    up(at())
    up(at((3, 150, 50)))
    assert (up.to_right.total(), up.to_left.total()) == (1, 1)


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "REMEMBERED", 3)
    up = LineCounter((100, 200), (100, 0))
    for number in range(10):
        up(at((number, 50, 50)))
    assert len(up._last) == 3
    up(at((9, 150, 50)))
    assert up.to_right["person"] == 1


def test_a_line_without_a_length_and_boxes_without_ids() -> None:
    with pytest.raises(BadLine):
        LineCounter((1, 1), (1, 1))
    boxes = np.zeros((0, 4), np.float32)
    with pytest.raises(SdkError, match="without ids"):
        LineCounter((0, 0), (1, 1))(
            Detections(boxes, np.zeros(0, np.float32), np.zeros(0, np.intp), ("person",), (10, 10))
        )
