"""The process that answers all samples with one artifact: `python -m sdk.evaluate.worker JOB.json ANSWERS.jsonl`."""

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import msgspec
import numpy as np

from runtime_py.errors import SdkError
from runtime_py.manifest import Classify, DecodeVideo, Detect
from sdk.evaluate.datasets import BadData

if TYPE_CHECKING:
    from runtime_py.session import Session

EVALUATION_CONFIDENCE = 0.001
"""COCO's curve wants every box that could be right."""


class EvalJob(msgspec.Struct, frozen=True):
    """One target (or `pytorch`) of a bundle, and (key, file) of each sample."""

    bundle: str
    target: str
    threads: int
    samples: list[tuple[int, str]]
    model: str = ""
    weights: str = ""


def main() -> None:
    """Write a line a sample: its key with the prediction, or with the error that left it out; `fatal` at last."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=EvalJob)
    with open(sys.argv[2], "w", encoding="utf-8", buffering=1) as out:
        try:
            _answer_all(job, out)
        except SdkError as error:
            _line(out, {"fatal": error.to_dict()})
        except Exception as error:  # whatever a runtime raises is this target's failure
            traceback.print_exc()
            _line(out, {"fatal": SdkError(f"{type(error).__name__}: {error}").to_dict()})
    os._exit(0)  # some runtimes hang or crash in their exit handlers, after the answers are safe


def _answer_all(job: EvalJob, out: TextIO) -> None:
    from runtime_py.preprocess import BadImage

    with _session(job) as session:
        for key, file in job.samples:
            try:
                _line(out, {"key": key, **_predict(session, file)})
            except (BadImage, BadData) as error:
                _line(out, {"key": key, "error": error.given})


def _session(job: EvalJob) -> "Session":
    if job.target == "pytorch":
        from sdk.evaluate.reference import torch_session

        return torch_session(job.bundle, job.model, job.weights, job.threads)
    from sdk.interpreted import load_anywhere

    if job.target == "coreml":
        import torch

        torch.set_num_threads(job.threads)
    return load_anywhere(job.bundle, job.target, job.threads)


def _predict(session: "Session", file: str) -> dict[str, Any]:
    from runtime_py.detection import detections
    from runtime_py.preprocess import decode_image, placed

    before, after = session.spec.preprocessing, session.spec.postprocessing
    if isinstance(after, DecodeVideo):
        return _compare_clip(session, file)
    assert before is not None  # the bundle's own check
    array, place = placed(decode_image(file), before)
    assert isinstance(after, Classify | Detect)  # a raw bundle was refused before
    output = session.run({before.input: array})[after.output]
    if isinstance(after, Classify):
        return {"top5": np.argsort(-output.ravel(), kind="stable")[:5].tolist()}
    how = msgspec.structs.replace(after, confidence_threshold=EVALUATION_CONFIDENCE, multi_label=True)
    rows = detections(output, how, session.spec.labels, place)
    sides = np.concatenate((rows.boxes[:, :2], rows.boxes[:, 2:] - rows.boxes[:, :2]), 1)
    found = zip(rows.class_ids.tolist(), rows.scores.tolist(), sides.tolist(), strict=True)
    return {"boxes": [list(row) for row in found]}


def _compare_clip(session: "Session", file: str) -> dict[str, Any]:
    from sdk.evaluate.metrics import psnr_db, ssim

    try:
        with np.load(file, allow_pickle=False) as arrays:
            latent, truth = arrays["latent"].astype(np.float32), arrays["video"]
    except (OSError, ValueError, KeyError) as error:
        raise BadData(f"{file}: {error}", expected="arrays `latent` and `video`") from error
    frames = session.decode(latent).frames
    if frames.shape != truth.shape or truth.dtype != np.uint8:
        raise BadData(f"{file}: a video {truth.dtype} {truth.shape} of a latent that gives {frames.shape}")
    return {"psnr_db": psnr_db(frames, truth), "ssim": ssim(frames, truth)}


def _line(out: TextIO, row: dict[str, Any]) -> None:
    out.write(msgspec.json.encode(row).decode() + "\n")


if __name__ == "__main__":
    main()
