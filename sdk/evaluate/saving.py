"""predictions.json: every row's answers, a row at a time, so that no two are held at once."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sdk.evaluate.coco import coco_rows
from sdk.evaluate.datasets import Dataset, Sample
from sdk.evaluate.messages import Answer, Boxes, Classes
from sdk.evaluate.results import EvalRow


def save_predictions(path: Path, dataset: Dataset, rows: Sequence[tuple[EvalRow, Iterable[Answer]]]) -> None:
    """Write a list of `target`, `precision`, `metrics` and `predictions`, beside the final name and renamed.

    A detector's predictions are COCO's result format; a classifier's are `image`, `truth`, `best` and `scores`; a
    decoder's `clip`, `psnr_db` and `ssim`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = {sample.key: sample for sample in dataset.samples}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            for index, (row, answers) in enumerate(rows):
                found = [plain for answer in answers for plain in _plain(dataset, samples[answer.key], answer)]
                whole = {
                    "target": row.target,
                    "precision": row.precision,
                    "metrics": row.metrics,
                    "predictions": found,
                }
                file.write((b",\n" if index else b"[") + msgspec.json.encode(whole))
            file.write(b"]\n" if rows else b"[]\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _plain(dataset: Dataset, sample: Sample, answer: Answer) -> Iterator[dict[str, Any]]:
    if isinstance(answer, Boxes):
        if dataset.truth is not None:
            yield from coco_rows(dataset.truth, answer)
    elif isinstance(answer, Classes):
        yield {"image": sample.name, "truth": sample.truth, "best": answer.best, "scores": answer.scores}
    else:
        yield {"clip": sample.name, "psnr_db": answer.psnr_db, "ssim": answer.ssim}
