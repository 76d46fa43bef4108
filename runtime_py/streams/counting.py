"""How many tracked objects cross a line, and which way."""

from collections import Counter

from runtime_py.detection import Detection, Detections
from runtime_py.errors import SdkError

Point = tuple[float, float]
REMEMBERED = 1000
"""Objects whose last place is known: more than are ever on one image, and few enough for days."""


class BadLine(SdkError):
    """A line without a length."""

    id = "bad-line"


class LineCounter:
    """Called with each frame's tracked Detections, counts by class whose centre crosses from one side to the other.

    For someone who walks the line from `start` to `end`, pixels of the image, `to_right` counts objects that cross
    from the left hand to the right hand as the image shows it, and `to_left` the others. Going back and forth counts
    each time. Raises BadLine; a call raises SdkError for boxes without ids.
    """

    def __init__(self, start: Point, end: Point) -> None:
        if start == end:
            raise BadLine(f"a line from {start} to {end}", expected="two different points")
        self.start, self.end = start, end
        self.to_right: Counter[str] = Counter()
        self.to_left: Counter[str] = Counter()
        self._last: dict[int, Point] = {}

    def __call__(self, found: Detections) -> None:
        """Take in one frame."""
        if found.ids is None:
            raise SdkError("boxes without ids", expected="what a Tracker gave", hint="tracker(found, frame.time_s)")
        for one, number in zip(found, found.ids.tolist(), strict=True):
            self._move(one, number)
        while len(self._last) > REMEMBERED:
            del self._last[next(iter(self._last))]  # the one that was not seen for longest

    def _move(self, one: Detection, number: int) -> None:
        x0, y0, x1, y1 = one.box
        now = ((x0 + x1) / 2, (y0 + y1) / 2)
        before = self._last.pop(number, now)
        here, there = _side(self.start, self.end, before), _side(self.start, self.end, now)
        # on the line is on its right: each crossing counts once, also with a stop on the line
        if (here >= 0) != (there >= 0) and _between(before, now, self.start, self.end):
            (self.to_right if there >= 0 else self.to_left)[one.name] += 1
        self._last[number] = now


def _side(start: Point, end: Point, point: Point) -> float:
    """Over 0 on the right of the walk from start to end, in an image whose y grows downwards."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def _between(before: Point, now: Point, start: Point, end: Point) -> bool:
    """Whether the way from `before` to `now` passes between the line's ends."""
    one, other = _side(before, now, start), _side(before, now, end)
    return one * other <= 0
