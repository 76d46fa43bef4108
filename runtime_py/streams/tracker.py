"""Which box is which object from frame to frame: ids that stay, with ByteTrack's association in two stages.

Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", ECCV 2022, section 3: sure boxes
look for a track first; the unsure ones, which are often objects half hidden, then continue tracks that found none.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from runtime_py.detection import Detections
from runtime_py.errors import SdkError
from runtime_py.streams.assignment import Pairs, assign
from runtime_py.streams.motion import Motion

Indices = npt.NDArray[np.intp]
FIRST_IOU, SECOND_IOU, YOUNG_IOU = 0.2, 0.5, 0.3
"""The least overlap of a box with where its track should be: sure boxes, unsure ones (both the paper's, section 4.1 and
its code), and boxes with tracks that were seen once."""


class BadTracker(SdkError):
    """Settings of a tracker that make no sense."""

    id = "bad-tracker"


@dataclass(eq=False)
class Track:
    """One object: `id` is 0 until it was seen often enough; `seen_s` is when it was seen last."""

    class_id: int
    seen_s: float
    hits: int = 1
    id: int = 0
    lost: bool = False


class Tracker:
    """Called with each frame's Detections and `time_s`, it gives those that belong to a track, with `ids`.

    Ids count from 1 in the order in which objects were first sure; `counts` says how many different objects of each
    class there were. Give it unsure boxes as well: `stream(..., confidence=0.1)`.
    `sure`: a box with this score looks for a track first. `start`: one that may begin a track. `confirm`: how many
    frames in a row an object must be seen before it has an id. `keep_s`: how long an object may be hidden.
    Raises BadTracker.
    """

    def __init__(self, *, sure: float = 0.5, start: float | None = None, confirm: int = 2, keep_s: float = 1.0) -> None:
        start = sure if start is None else start
        if not (0 <= sure <= 1 and 0 <= start <= 1 and confirm >= 1 and 0 <= keep_s < math.inf):
            raise BadTracker(
                f"sure={sure}, start={start}, confirm={confirm}, keep_s={keep_s}",
                expected="scores from 0 to 1, confirm from 1, keep_s from 0",
            )
        self.counts: Counter[str] = Counter()
        self._sure, self._start, self._confirm, self._keep_s = sure, start, confirm, keep_s
        self._tracks: list[Track] = []
        self._motion = Motion()
        self._time_s = -math.inf

    def __call__(self, found: Detections, time_s: float) -> Detections:
        """Those of `found` that are tracked, in their order. Time that runs backwards starts afresh, with new ids."""
        if time_s < self._time_s:
            self._forget(np.zeros(len(self._tracks), np.bool_))
        if self._tracks:
            self._motion.advance(time_s - self._time_s, np.array([track.lost for track in self._tracks]))
        self._time_s = time_s
        pairs = self._associate(found)
        owners = self._update(found, pairs)
        owners |= self._begin(found, set(owners))
        self._forget(np.array([self._lives(track) for track in self._tracks], np.bool_))
        return self._tracked(found, owners)

    def _associate(self, found: Detections) -> Pairs:
        """Pairs of track and box, in three rounds."""
        sure, unsure = (np.flatnonzero(mask) for mask in (found.scores >= self._sure, found.scores < self._sure))
        young = np.array([track.id == 0 for track in self._tracks], np.bool_)
        lost = np.array([track.lost for track in self._tracks], np.bool_)
        pairs = self._round(found, np.flatnonzero(~young), sure, FIRST_IOU)
        left = np.setdiff1d(np.flatnonzero(~young & ~lost), [track for track, _ in pairs])
        second = self._round(found, left, unsure, SECOND_IOU)
        free = np.setdiff1d(sure, [box for _, box in pairs])
        return pairs + second + self._round(found, np.flatnonzero(young), free, YOUNG_IOU)

    def _round(self, found: Detections, tracks: Indices, boxes: Indices, least: float) -> Pairs:
        cost = 1 - overlaps(self._motion.boxes()[tracks], found.boxes[boxes])
        classes = np.array([self._tracks[index].class_id for index in tracks], np.intp)
        cost[classes[:, None] != found.class_ids[boxes]] = np.inf  # a bus never becomes a person
        return [(int(tracks[row]), int(boxes[column])) for row, column in assign(cost, 1 - least)]

    def _update(self, found: Detections, pairs: Pairs) -> dict[int, Track]:
        """The tracks of the boxes that were matched, by the box's index; all others are lost."""
        for track in self._tracks:
            track.lost = True
        if pairs:
            which, boxes = (np.array(side, np.intp) for side in zip(*pairs, strict=True))
            self._motion.correct(which, found.boxes[boxes].astype(np.float64))
        owners = {box: self._tracks[track] for track, box in pairs}
        for _, track in sorted(owners.items()):
            track.lost, track.seen_s, track.hits = False, self._time_s, track.hits + 1
            self._name(track, found)
        return owners

    def _begin(self, found: Detections, taken: set[int]) -> dict[int, Track]:
        fresh = [int(box) for box in np.flatnonzero(found.scores >= max(self._start, self._sure)) if box not in taken]
        begun = {box: Track(int(found.class_ids[box]), self._time_s) for box in fresh}
        for track in begun.values():
            self._name(track, found)
        self._motion.add(found.boxes[fresh].astype(np.float64))
        self._tracks += begun.values()
        return begun

    def _name(self, track: Track, found: Detections) -> None:
        if not track.id and track.hits >= self._confirm:
            self.counts[found.labels[track.class_id]] += 1
            track.id = self.counts.total()

    def _lives(self, track: Track) -> bool:
        return not track.lost or (track.id > 0 and self._time_s - track.seen_s <= self._keep_s)

    def _forget(self, kept: npt.NDArray[np.bool_]) -> None:
        self._tracks = [track for track, stays in zip(self._tracks, kept, strict=True) if stays]
        self._motion.keep(kept)

    def _tracked(self, found: Detections, owners: dict[int, Track]) -> Detections:
        kept = np.array(sorted(box for box, track in owners.items() if track.id), np.intp)
        ids = np.array([owners[box].id for box in kept], np.intp)
        return Detections(
            found.boxes[kept], found.scores[kept], found.class_ids[kept], found.labels, found.image_size, ids
        )


def overlaps(ones: npt.NDArray[np.floating], others: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Intersection over union (n, m) of boxes (n, 4) and (m, 4): x0, y0, x1, y1."""
    left, top, right, bottom = ones.astype(np.float64).T[..., None]
    left2, top2, right2, bottom2 = others.astype(np.float64).T
    shared = np.maximum(np.minimum(right, right2) - np.maximum(left, left2), 0)
    shared *= np.maximum(np.minimum(bottom, bottom2) - np.maximum(top, top2), 0)
    union = (right - left) * (bottom - top) + (right2 - left2) * (bottom2 - top2) - shared
    found: npt.NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found
