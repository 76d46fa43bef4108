"""How far a quantised network's answer is from the float one's, by what the answer means."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime_py.manifest import Detect, Manifest

CEILING_DB = 200.0
SEEN = 0.05
"""A detector's cells with a score over this say something; thousands of others say nothing, exactly enough."""
SAME_BOX = 0.5
"""The IoU from which two boxes are the same object's (COCO's most lenient threshold)."""


@dataclass(frozen=True)
class Error:
    """`quality_db`: signal to error of the answer. `content`: the share of answers that became others, 0..1."""

    quality_db: float
    content: float


def answer_error(expected: Sequence[Tensor], found: Sequence[Tensor], manifest: Manifest) -> Error:
    """Of several samples' first outputs.

    Classifier: SQNR of the logits, and the share of rows with another best class. Detector: SQNR of the scores or of
    the boxes (in units of their own size, and weighted by their score), whichever is worse, and the share of cells
    with an object that lost it, or its class or place. Others: SQNR of the output, and no content.
    """
    if isinstance(manifest.postprocessing, Detect):
        return _detector(torch.cat(list(expected)), torch.cat(list(found)))
    a, b = (torch.cat([part.reshape(1, -1) for part in side]) for side in (expected, found))
    if manifest.task != "classify":
        return Error(sqnr_db(a, b), 0.0)
    changed = (a.argmax(1) != b.argmax(1)).float().mean()
    return Error(sqnr_db(a, b), float(changed))


def sqnr_db(expected: Tensor, found: Tensor) -> float:
    """10 log10 of signal energy over error energy, at most 200."""
    signal = float(expected.double().square().sum())
    noise = float((expected.double() - found.double()).square().sum())
    if not math.isfinite(noise):
        return -CEILING_DB
    if noise == 0.0:
        return CEILING_DB
    return min(CEILING_DB, 10.0 * math.log10(signal / noise)) if signal > 0.0 else 0.0


def _detector(expected: Tensor, found: Tensor) -> Error:
    """Of (n, 4 + classes, cells)."""
    scores, guessed = expected[:, 4:], found[:, 4:]
    best, label = scores.max(1)
    size = expected[:, 2:4].prod(1, keepdim=True).clamp(min=1.0).sqrt()
    weight = best[:, None].expand(-1, 4, -1)
    placed, moved = expected[:, :4] / size * weight, found[:, :4] / size * weight
    reach = (size * 0 + 1.0) * weight  # a box's own size is the unit
    noise = float((placed - moved).double().square().sum())
    boxes = 10.0 * math.log10(float(reach.double().square().sum()) / noise) if noise > 0 else CEILING_DB
    seen = best > SEEN
    if not bool(seen.any()):
        return Error(min(sqnr_db(scores, guessed), boxes), 0.0)
    again, other = guessed.max(1)
    kept = (other == label) & (again > SEEN / 2) & (_iou(expected[:, :4], found[:, :4]) > SAME_BOX)
    return Error(min(sqnr_db(scores, guessed), boxes), float((seen & ~kept).sum() / seen.sum()))


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """Of boxes (n, 4, cells), centre and size, cell by cell."""
    low = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    shared = (high - low).clamp(min=0).prod(1)
    return shared / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - shared).clamp(min=1e-9)
