"""How far a quantised network's answer is from the float one's, by what the answer means."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from runtime_py.manifest import Detect, Manifest

CEILING_DB = 200.0
LEAST = 1e-12
"""Of a signal's energy: one of nothing has no noise in units of its own."""
SEEN = 0.05
"""A detector's cells with a score over this say something; thousands of others say nothing, exactly enough."""
SAME_BOX = 0.5
"""The IoU from which two boxes are the same object's (COCO's most lenient threshold)."""


@dataclass(frozen=True)
class Error:
    """`quality_db`: signal to error of the answer. `content`: the share of answers that became others, 0..1."""

    quality_db: float
    content: float

    @property
    def noise(self) -> float:
        """The error's energy in units of the signal's."""
        return float(10.0 ** (-self.quality_db / 10.0))

    @classmethod
    def of_noise(cls, noise: float, content: float) -> "Error":
        """With the quality of a noise."""
        return cls(decibels(noise), content)


def answer_error(expected: Sequence[Tensor], found: Sequence[Tensor], manifest: Manifest) -> Error:
    """Of several samples' first outputs.

    Classifier: SQNR of the logits, and the share of rows with another best class. Detector: SQNR of the scores or of
    the boxes (in units of their own size, and weighted by their score), whichever is worse, and the share of cells
    with an object that lost it, or its class or place. Others: SQNR of the output, and no content.
    """
    a, b = (torch.cat([part.reshape(1, -1) if part.dim() < 2 else part for part in side]) for side in (expected, found))
    worst = torch.stack(noises(a.double(), b.double(), manifest)).max()  # NaN where any is
    if isinstance(manifest.postprocessing, Detect):
        return Error.of_noise(float(worst), _lost_objects(a, b))
    changed = float((a.flatten(1).argmax(1) != b.flatten(1).argmax(1)).float().mean())
    return Error.of_noise(float(worst), changed if manifest.task == "classify" else 0.0)


def noises(expected: Tensor, found: Tensor, manifest: Manifest) -> list[Tensor]:
    """Error energies of a first output in units of its signal's, with gradients: of a detector (n, 4 + classes, cells)
    those of the scores and of the boxes (in units of their own size, and weighted by their score), of others that of
    the whole."""
    if not isinstance(manifest.postprocessing, Detect):
        return [_noise(expected, found)]
    best = expected[:, 4:].amax(1, keepdim=True)
    size = expected[:, 2:4].prod(1, keepdim=True).clamp(min=1.0).sqrt()
    moved = ((found[:, :4] - expected[:, :4]) / size * best).square().sum()
    return [_noise(expected[:, 4:], found[:, 4:]), moved / (4.0 * best.square().sum()).clamp(min=LEAST)]


def _noise(expected: Tensor, found: Tensor) -> Tensor:
    return (found - expected).square().sum() / expected.square().sum().clamp(min=LEAST)


def decibels(noise: float) -> float:
    """Of an error's energy in units of its signal's, within CEILING_DB."""
    if not math.isfinite(noise):
        return -CEILING_DB
    return min(CEILING_DB, -10.0 * math.log10(noise)) if noise > 0.0 else CEILING_DB


def _lost_objects(expected: Tensor, found: Tensor) -> float:
    """The share of cells with an object that lost it, its class or its place."""
    best, label = expected[:, 4:].max(1)
    seen = best > SEEN
    again, other = found[:, 4:].max(1)
    kept = (other == label) & (again > SEEN / 2) & (_iou(expected[:, :4], found[:, :4]) > SAME_BOX)
    return float((seen & ~kept).sum() / seen.sum().clamp(min=1))


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """Of boxes (n, 4, cells), centre and size, cell by cell."""
    low = torch.maximum(a[:, :2] - a[:, 2:] / 2, b[:, :2] - b[:, 2:] / 2)
    high = torch.minimum(a[:, :2] + a[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2)
    shared = (high - low).clamp(min=0).prod(1)
    return shared / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - shared).clamp(min=1e-9)
