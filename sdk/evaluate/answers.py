"""From one sample to one line: the bundle's own preprocessing, the network, the bundle's own postprocessing."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from runtime_py.detection import detections
from runtime_py.engines import EngineFailed
from runtime_py.manifest import Classify, DecodeVideo, Detect, Preprocessing
from runtime_py.preprocess import decode_image
from runtime_py.results import classification
from runtime_py.session import Session
from sdk.evaluate.clips import compare_clip
from sdk.evaluate.datasets import BadData, Sample
from sdk.evaluate.messages import Answer, Boxes, Classes, Frames

BEST = 5
COCO_THRESHOLDS = {"confidence_threshold": 0.001, "iou_threshold": 0.7, "max_detections": 300, "multi_label": True}
"""COCO's curve wants every box that could be right, and every class of it; an application wants fewer."""


def answer_of(session: Session) -> Callable[[Sample], Answer]:
    """What answers a sample by the bundle's task. It raises BadImage, BadData, BadLatent, EngineFailed."""
    before, after = session.spec.preprocessing, session.spec.postprocessing
    if isinstance(after, DecodeVideo):
        return lambda sample: _frames(session, after, sample)
    if before is None or after is None:
        raise BadData(f"the bundle of {session.spec.model} does not say what its inputs and outputs mean")
    if isinstance(after, Classify):
        return lambda sample: _classes(session, before, after, sample)
    how: Detect = msgspec.structs.replace(after, **COCO_THRESHOLDS)
    return lambda sample: _boxes(session, before, how, sample)


def _classes(session: Session, before: Preprocessing, after: Classify, sample: Sample) -> Classes:
    array, _ = session.prepare(sample.file)
    logits = _finite(session.run_real({before.input: array})[after.output], session, sample)
    scores = classification(logits, session.spec.labels, after.softmax).scores
    best = np.argsort(-logits.ravel(), kind="stable")[:BEST]
    return Classes(sample.key, tuple(best.tolist()), tuple(scores[best].tolist()))


def _boxes(session: Session, before: Preprocessing, how: Detect, sample: Sample) -> Boxes:
    image = decode_image(sample.file)
    if sample.size not in (None, image.size):
        raise BadData("{} has {} x {} pixels, the json says {} x {}".format(sample.file, *image.size, *sample.size))
    array, place = session.prepare(image)
    output = _finite(session.run_real({before.input: array})[how.output], session, sample)
    found = detections(output, how, session.spec.labels, place)
    rows = tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in found.boxes.tolist())
    return Boxes(sample.key, tuple(found.class_ids.tolist()), tuple(found.scores.tolist()), rows)


def _frames(session: Session, how: DecodeVideo, sample: Sample) -> Frames:
    return Frames(sample.key, *compare_clip(sample.file, how, session.decode_chunks))


def _finite(output: npt.NDArray[Any], session: Session, sample: Sample) -> npt.NDArray[Any]:
    """The output; one that is not finite would be scored as a wrong answer instead of as a broken artifact."""
    if not np.isfinite(output).all():
        raise EngineFailed(
            f"{session.target} answers {sample.name} with values that are not finite",
            hint="export with --precision fp32 and compare",
        )
    return output
