"""What is drawn, by looking at pixels."""

import numpy as np
import pytest
from PIL import Image

from runtime_py.detection import Detections
from runtime_py.draw import class_colour, draw_answer, draw_classification, draw_detections, draw_line, draw_note
from runtime_py.results import Classification

BLACK = np.zeros((240, 320, 3), np.uint8)


def boxes(ids: list[int] | None = None) -> Detections:
    corners = np.array([[20, 60, 80, 120], [150, 100, 250, 200]], np.float32)
    numbers = None if ids is None else np.array(ids, np.intp)
    scores, classes = np.array([0.9, 0.5], np.float32), np.array([0, 0])
    return Detections(corners, scores, classes, ("cat",), (320, 240), numbers)


def test_boxes_are_where_they_are_and_the_image_stays_as_it_was() -> None:
    for image in (BLACK, Image.fromarray(BLACK)):
        drawn = draw_detections(image, boxes())
        assert drawn.getpixel((20, 90)) == drawn.getpixel((250, 150)) == class_colour(0)
        assert drawn.getpixel((50, 90)) == (0, 0, 0)
        assert not np.asarray(image).any()


def test_tracked_objects_have_colours_and_labels_of_their_own() -> None:
    one, other = (draw_detections(BLACK, boxes(ids)) for ids in ([1, 2], [1, 12]))
    assert one.getpixel((20, 90)) == class_colour(1)
    assert one.getpixel((250, 150)) == class_colour(2)
    plain = np.asarray(draw_detections(BLACK, boxes()))
    labels = [np.asarray(image)[75:100, 150:320] for image in (one, other)]
    assert np.count_nonzero(labels[1].any(2)) > np.count_nonzero(labels[0].any(2))  # "#12" is wider than "#2"
    assert np.count_nonzero(labels[0].any(2)) > np.count_nonzero(plain[75:100, 150:320].any(2))


def test_a_note_is_in_the_lower_left_corner() -> None:
    drawn = np.asarray(draw_note(BLACK, "24 fps"))
    assert drawn[225:, :60].any()
    assert not drawn[:200].any()
    assert not drawn[:, 200:].any()


def test_a_line_leads_from_its_start_to_its_end() -> None:
    drawn = draw_line(BLACK, (10, 20), (200, 20))
    assert drawn.getpixel((10, 20)) == drawn.getpixel((100, 20)) == drawn.getpixel((200, 20)) != (0, 0, 0)
    assert drawn.getpixel((100, 40)) == (0, 0, 0)


@pytest.mark.parametrize("note", ["", "12 fps"])
def test_an_answer_is_drawn_by_its_kind(note: str) -> None:
    found = Classification(("cat", "dog"), np.array([0.75, 0.25], np.float32))
    for answer, drawn in ((boxes(), draw_detections(BLACK, boxes())), (found, draw_classification(BLACK, found))):
        wanted = draw_note(drawn, note) if note else drawn
        assert np.array_equal(np.asarray(draw_answer(BLACK, answer, note)), np.asarray(wanted))
    assert np.asarray(draw_answer(BLACK, None, note)).any() == bool(note)
