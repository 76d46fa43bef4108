"""A session's work in the three steps that a stream overlaps; together they are `session(image)`, to the last bit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy.typing as npt

from runtime_py.detection import detections
from runtime_py.manifest import Classify, Detect
from runtime_py.preprocess import Fit
from runtime_py.results import classification
from runtime_py.session import BadInput, Session, WrongTask
from runtime_py.streams.frames import Pixels

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Steps:
    """`prepare` an image, `infer` the outputs, `answer` in the image's pixels."""

    prepare: Callable[[Pixels], tuple[Array, Fit]]
    infer: Callable[[Array], Array]
    answer: Callable[[Array, Fit], Any]


def steps_of(session: Session, confidence: float | None, agnostic_nms: bool | None) -> Steps:
    """The steps of a classifier or a detector. Raises WrongTask, or BadInput for options that do not fit."""
    before, after = session.spec.preprocessing, session.spec.postprocessing
    if before is None or not isinstance(after, Classify | Detect):
        raise WrongTask(
            f"the bundle of {session.spec.model} is for the task {session.spec.task!r}",
            expected="classify or detect",
            hint="session.decode_chunks(latent) yields frames that VideoFile.write takes"
            if session.spec.task == "decode_video"
            else "session.run({name: array}) gives the outputs as they are",
        )
    if isinstance(after, Detect):
        after = _thresholds(after, confidence, agnostic_nms)
    elif confidence is not None or agnostic_nms is not None:
        raise BadInput("confidence or agnostic_nms for a classifier", expected="a detector", hint="leave them out")
    return Steps(
        session.prepare,
        lambda array: session.run_real({before.input: array})[after.output],
        _answer(after, session.spec.labels),
    )


def _answer(after: Classify | Detect, labels: tuple[str, ...]) -> Callable[[Array, Fit], Any]:
    if isinstance(after, Detect):
        return lambda output, place: detections(output, after, labels, place)
    return lambda output, place: classification(output, labels, after.softmax)


def _thresholds(after: Detect, confidence: float | None, agnostic_nms: bool | None) -> Detect:
    if confidence is not None and not 0 <= confidence <= 1:
        raise BadInput(f"a confidence of {confidence}", expected="0 to 1")
    return msgspec.structs.replace(
        after,
        confidence_threshold=after.confidence_threshold if confidence is None else confidence,
        agnostic_nms=after.agnostic_nms if agnostic_nms is None else agnostic_nms,
    )
