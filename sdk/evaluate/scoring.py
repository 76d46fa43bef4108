"""From answers to a task's metrics."""

from collections.abc import Iterable, Sequence

from sdk.evaluate.coco import score_boxes
from sdk.evaluate.datasets import Dataset
from sdk.evaluate.messages import Answer, Boxes, Classes, Frames
from sdk.evaluate.results import Score


def score(dataset: Dataset, answers: Iterable[Answer]) -> Score:
    """The metrics of one row's answers, which are all of one kind and at least one."""
    if dataset.truth is not None:
        return score_boxes(dataset.truth, (answer for answer in answers if isinstance(answer, Boxes)))
    rows = list(answers)
    classes = [row for row in rows if isinstance(row, Classes)]
    if classes:
        return _score_classes({sample.key: sample.truth for sample in dataset.samples}, classes)
    clips = [row for row in rows if isinstance(row, Frames)]
    return Score({"psnr_db": _mean([row.psnr_db for row in clips]), "ssim": _mean([row.ssim for row in clips])})


def _score_classes(truths: dict[int, int], rows: Sequence[Classes]) -> Score:
    first = [row.best[0] == truths[row.key] for row in rows]
    five = [truths[row.key] in row.best for row in rows]
    return Score({"top1": _mean(first), "top5": _mean(five)})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
