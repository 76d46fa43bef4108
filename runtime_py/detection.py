"""From a detector's output to boxes: threshold, class-aware non-maximum suppression, the image's own pixels."""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime_py.errors import SdkError, unknown_name
from runtime_py.manifest import Detect
from runtime_py.preprocess import Fit

Floats = npt.NDArray[np.float32]
CANDIDATES = 30_000
"""More than this many boxes never reach the suppression: the best are taken."""
BLOCK = 256
"""Boxes that are compared with each other at a time: large enough for numpy, small enough for a processor's cache."""


@dataclass(frozen=True)
class Detection:
    """One object: `box` is x0, y0, x1, y1 in the image's pixels; `id` is a tracker's, None without one."""

    name: str
    score: float
    class_id: int
    box: tuple[float, float, float, float]
    id: int | None = None


@dataclass(frozen=True, eq=False)
class Detections:
    """The objects of one image, best first.

    `boxes` (n, 4) float32: x0, y0, x1, y1 in pixels of the image, whose width and height are `image_size`;
    `scores` (n,) float32; `class_ids` (n,) integers into `labels`; `ids` (n,) of a tracker, None without one.
    """

    boxes: Floats
    scores: Floats
    class_ids: npt.NDArray[np.intp]
    labels: tuple[str, ...]
    image_size: tuple[int, int]
    ids: npt.NDArray[np.intp] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Each object's class, in order."""
        return tuple(self.labels[index] for index in self.class_ids)

    def over(self, confidence: float) -> "Detections":
        """Those whose score is over `confidence`."""
        return self._where(self.scores > confidence)

    def of(self, names: Collection[str]) -> "Detections":
        """Those of some classes. Raises UnknownName for what is no class of the network."""
        for name in names:
            if name not in self.labels:
                raise unknown_name("class", name, list(self.labels))
        return self._where(np.array([self.labels[index] in names for index in self.class_ids], np.bool_))

    def _where(self, kept: npt.NDArray[np.bool_]) -> "Detections":
        ids = None if self.ids is None else self.ids[kept]
        return Detections(self.boxes[kept], self.scores[kept], self.class_ids[kept], self.labels, self.image_size, ids)

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        ids = [None] * len(self) if self.ids is None else self.ids.tolist()
        for box, score, index, number in zip(self.boxes, self.scores, self.class_ids, ids, strict=True):
            x0, y0, x1, y1 = (float(value) for value in box)
            yield Detection(self.labels[index], float(score), int(index), (x0, y0, x1, y1), number)

    def __str__(self) -> str:
        counts = Counter(self.names)
        return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """The objects as plain data, with `id` where they are tracked, and the width and height of their image."""
        rows: list[dict[str, Any]] = [
            {"label": o.name, "score": o.score, "index": o.class_id, "box": list(o.box)}
            | ({} if o.id is None else {"id": o.id})
            for o in self
        ]
        return {"image_size": list(self.image_size), "detections": rows}


def detections(output: npt.NDArray[Any], how: Detect, labels: tuple[str, ...], place: Fit) -> Detections:
    """Boxes of a network's output (1, 4 + classes, N) for the image that lies in the input at `place`.

    Values that are not finite are dropped, and boxes of which nothing is on the image.
    """
    if output.ndim != 3 or output.shape[:2] != (1, 4 + len(labels)):
        raise SdkError(f"a detector's output of shape {output.shape}", expected=f"(1, {4 + len(labels)}, N)")
    table = output[0]
    cells, classes, scores = _candidates(table[4:], how)
    with np.errstate(invalid="ignore", over="ignore"):
        boxes = _corners(table[:4, cells].T.astype(np.float32, copy=False))
        on_image = place.to_image(boxes)
    sound = np.isfinite(boxes).all(1) & np.isfinite(scores) & (on_image[:, 2:] > on_image[:, :2]).all(1)
    chosen = np.flatnonzero(sound)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")[:CANDIDATES]]
    rivals = None if how.agnostic_nms else classes[chosen]
    kept = chosen[suppress(boxes[chosen], rivals, how.iou_threshold, how.max_detections)]
    return Detections(on_image[kept], scores[kept], classes[kept], labels, place.image)


def suppress(
    boxes: Floats, classes: npt.NDArray[np.intp] | None, iou_threshold: float, most: int
) -> npt.NDArray[np.intp]:
    """Indices of the boxes (n, 4) that stay, of boxes sorted best first; at most `most`.

    Greedy: each box that stays drops those after it that overlap it by more than `iou_threshold`, of its own class
    unless `classes` is None.
    """
    kept: list[int] = []
    for start in range(0, len(boxes), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        if kept:
            block = block[~_rivals(boxes, classes, block, np.array(kept), iou_threshold).any(1)]
        rivals = _rivals(boxes, classes, block, block, iou_threshold)
        alive = np.ones(len(block), np.bool_)
        for index, box in enumerate(block):
            if alive[index]:
                kept.append(int(box))
                if len(kept) >= most:
                    return np.array(kept[:most], np.intp)
                alive &= ~rivals[index]
    return np.array(kept, np.intp)


def _rivals(
    boxes: Floats,
    classes: npt.NDArray[np.intp] | None,
    ones: npt.NDArray[np.intp],
    others: npt.NDArray[np.intp],
    iou_threshold: float,
) -> npt.NDArray[np.bool_]:
    """Which boxes of `ones` and of `others` overlap by more than the threshold and may not both stay, (n, m)."""
    left, top, right, bottom = boxes[ones].T[..., None]
    left2, top2, right2, bottom2 = boxes[others].T
    with np.errstate(over="ignore", invalid="ignore"):
        shared = np.maximum(np.minimum(right, right2) - np.maximum(left, left2), 0)
        shared *= np.maximum(np.minimum(bottom, bottom2) - np.maximum(top, top2), 0)
        union = (right - left) * (bottom - top) + (right2 - left2) * (bottom2 - top2) - shared
        # without a division: boxes without area overlap nothing
        found: npt.NDArray[np.bool_] = shared > iou_threshold * union
    if classes is not None:
        found &= classes[ones][:, None] == classes[others]
    return found


def _candidates(scores: Floats, how: Detect) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """Cell, class and score of all that is over the threshold, of scores (classes, N)."""
    best = scores.max(0)
    cells = np.flatnonzero(best > how.confidence_threshold)
    if how.multi_label:
        some = scores[:, cells]
        classes, columns = np.nonzero(some > how.confidence_threshold)
        return cells[columns], classes, some[classes, columns].astype(np.float32, copy=False)
    return cells, scores[:, cells].argmax(0), best[cells].astype(np.float32, copy=False)


def _corners(boxes: Floats) -> Floats:
    """Centre, width and height (n, 4) as x0, y0, x1, y1."""
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), 1)
