"""Ids against scenes whose objects are known, the filter against its textbook form."""

import numpy as np
import pytest

from runtime_py.detection import Detections
from runtime_py.streams.motion import STEP_S, Motion, measured
from runtime_py.streams.tracker import BadTracker, Tracker, overlaps

LABELS = ("person", "car")


def found(*objects: tuple[float, float, float, int], side: float = 20.0, score: float = 0.9) -> Detections:
    """Boxes by centre x, centre y, score (0 for `score`) and class."""
    boxes = [(x - side / 2, y - side / 2, x + side / 2, y + side / 2) for x, y, _, _ in objects]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([one[2] or score for one in objects], np.float32),
        np.array([one[3] for one in objects], np.intp),
        LABELS,
        (640, 480),
    )


def ids(tracked: Detections) -> list[int]:
    assert tracked.ids is not None
    return tracked.ids.tolist()


def test_two_that_walk_keep_their_ids() -> None:
    tracker = Tracker(confirm=1)
    for step in range(40):
        tracked = tracker(found((50 + 4 * step, 100, 0, 0), (300 - 4 * step, 300, 0, 0)), step * STEP_S)
        assert ids(tracked) == [1, 2]
        assert tracked.boxes[0, 0] == 40 + 4 * step
    assert tracker.counts == {"person": 2}


def test_two_that_pass_each_other_keep_their_ids() -> None:
    """They meet at the same place: only their speeds tell them apart."""
    tracker = Tracker(confirm=1)
    for step in range(60):
        left, right = (100 + 5 * step, 200.0, 0.0, 0), (400 - 5 * step, 206.0, 0.0, 0)
        tracked = tracker(found(left, right), step * STEP_S)
        assert ids(tracked) == [1, 2]


def test_the_order_of_boxes_means_nothing() -> None:
    rng = np.random.default_rng(0)
    tracker = Tracker(confirm=1)
    objects = [(60.0 * n + 30, 100.0, 0.9 - n / 100, 0) for n in range(8)]
    first = dict(zip((x for x, *_ in objects), ids(tracker(found(*objects), 0.0)), strict=True))
    for step in range(1, 20):
        order = rng.permutation(8)
        tracked = tracker(found(*(objects[n] for n in order)), step * STEP_S)
        assert ids(tracked) == [first[objects[n][0]] for n in order]


def test_an_object_needs_two_frames_for_an_id_and_a_flash_gets_none() -> None:
    tracker = Tracker()
    assert ids(tracker(found((100, 100, 0, 0)), 0.0)) == []
    assert ids(tracker(found((102, 100, 0, 0), (500, 400, 0, 1)), STEP_S)) == [1]
    assert ids(tracker(found((104, 100, 0, 0)), 2 * STEP_S)) == [1]
    assert tracker.counts == {"person": 1}


def test_an_unsure_box_continues_a_track_and_begins_none() -> None:
    tracker = Tracker(confirm=1)
    assert ids(tracker(found((100, 100, 0.9, 0)), 0.0)) == [1]
    for step in range(1, 10):
        tracked = tracker(found((100 + step, 100, 0.2, 0), (400, 400, 0.2, 0)), step * STEP_S)
        assert ids(tracked) == [1]
    assert tracker.counts.total() == 1


def test_an_object_that_was_hidden_has_its_id_again_for_a_while() -> None:
    for hidden, expected in ((20, 1), (40, 2)):
        tracker = Tracker(confirm=1, keep_s=1.0)
        for step in range(30):
            tracker(found((50 + 3 * step, 100, 0, 0)), step * STEP_S)
        for step in range(30, 30 + hidden):
            assert ids(tracker(found(), step * STEP_S)) == []
        step = 30 + hidden
        assert ids(tracker(found((50 + 3 * step, 100, 0, 0)), step * STEP_S)) == [expected]


def test_dropped_frames_change_nothing() -> None:
    """At a tenth of the frames an object moves by more than its size: time says where it should be."""
    tracker = Tracker(confirm=1)
    for step in [*range(20), *range(20, 200, 10)]:
        assert ids(tracker(found((50 + 3 * step, 100, 0, 0)), step * STEP_S)) == [1]


def test_a_person_never_becomes_a_car() -> None:
    tracker = Tracker(confirm=1)
    assert ids(tracker(found((100, 100, 0, 0)), 0.0)) == [1]
    assert ids(tracker(found((100, 100, 0, 1)), STEP_S)) == [2]
    assert tracker.counts == {"person": 1, "car": 1}


def test_time_that_runs_backwards_starts_afresh() -> None:
    tracker = Tracker(confirm=1)
    assert ids(tracker(found((100, 100, 0, 0)), 5.0)) == [1]
    assert ids(tracker(found((100, 100, 0, 0)), 1.0)) == [2]


def test_no_objects_and_many_objects() -> None:
    tracker = Tracker(confirm=1)
    assert ids(tracker(found(), 0.0)) == []
    rng = np.random.default_rng(1)
    grid = [(30.0 * x + 15, 30.0 * y + 15, 0.0, 0) for x in range(20) for y in range(15)]
    assert sorted(ids(tracker(found(*grid), 1.0))) == list(range(1, 301))
    for step in range(2, 6):
        moved = [(x + rng.normal(0, 1), y + rng.normal(0, 1), s, c) for x, y, s, c in grid]
        assert ids(tracker(found(*moved), 1 + step * STEP_S)) == list(range(1, 301))
    assert tracker.counts.total() == 300


def test_boxes_without_area_and_over_the_edge_are_survived() -> None:
    tracker = Tracker(confirm=1)
    for step in range(5):
        tracked = tracker(found((0, 0, 0, 0), side=0.0), step * STEP_S)
        assert np.isfinite(tracked.boxes).all()
    for step in range(5, 8):
        tracker(found((1e6, 1e6, 0, 0), side=1e5), step * STEP_S)


def test_settings_that_make_no_sense() -> None:
    for settings in ({"sure": 1.5}, {"confirm": 0}, {"keep_s": -1.0}, {"keep_s": float("inf")}, {"start": -0.1}):
        with pytest.raises(BadTracker):
            Tracker(**settings)  # type: ignore[arg-type]


def test_overlaps_against_pixels() -> None:
    rng = np.random.default_rng(2)
    corner = rng.integers(0, 20, (2, 6, 2))
    boxes = np.concatenate((corner, corner + rng.integers(0, 15, (2, 6, 2))), 2)

    def pixels(box: np.ndarray) -> np.ndarray:
        canvas = np.zeros((40, 40), np.bool_)
        canvas[box[1] : box[3], box[0] : box[2]] = True
        return canvas

    for row, one in enumerate(boxes[0]):
        for column, other in enumerate(boxes[1]):
            union = (pixels(one) | pixels(other)).sum()
            share = (pixels(one) & pixels(other)).sum() / union if union else 0.0
            assert overlaps(boxes[0], boxes[1])[row, column] == pytest.approx(share)


def test_the_filter_is_the_textbooks() -> None:
    """Kalman's equations with full matrices, for the centre's x of one box of constant height."""
    rng = np.random.default_rng(4)
    height = 40.0
    place_noise, speed_noise = height / 20, height / 160
    motion = Motion()
    box = np.array([[100.0, 50.0, 120.0, 50.0 + height]])
    motion.add(box)
    state, covariance = np.array([110.0, 0.0]), np.diag([(2 * place_noise) ** 2, (10 * speed_noise) ** 2])
    for _ in range(12):
        step = np.array([[1.0, 1.0], [0.0, 1.0]])
        state = step @ state
        covariance = step @ covariance @ step.T + np.diag([place_noise**2, speed_noise**2])
        box = box + np.array([[1.0, 0.0, 1.0, 0.0]]) * rng.uniform(0, 6)
        seen = np.array([[1.0, 0.0]])
        gain = covariance @ seen.T / (seen @ covariance @ seen.T + place_noise**2)
        state = state + (gain * ((box[0, 0] + box[0, 2]) / 2 - state[0]))[:, 0]
        covariance = (np.eye(2) - gain @ seen) @ covariance
        motion.advance(STEP_S, np.array([False]))
        motion.correct(np.array([0]), box)
        x0, y0, x1, y1 = motion.boxes()[0]
        assert (x0 + x1) / 2 == pytest.approx(state[0])
        assert y1 - y0 == pytest.approx(height)
        assert (y0 + y1) / 2 == pytest.approx(50 + height / 2)


def test_measured_boxes_are_their_own_inverse() -> None:
    motion, boxes = Motion(), np.array([[1.0, 2.0, 31.0, 62.0], [5.0, 5.0, 105.0, 30.0]])
    motion.add(boxes)
    assert motion.boxes() == pytest.approx(boxes)
    assert measured(boxes)[0].tolist() == [16.0, 32.0, 0.5, 60.0]
