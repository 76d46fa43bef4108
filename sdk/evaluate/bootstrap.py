"""How far a row's drop could be off by the choice of samples: paired bootstrap intervals."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from sdk.evaluate.coco import Truth, matched
from sdk.evaluate.datasets import Dataset
from sdk.evaluate.messages import Answer, Boxes, Classes, Frames

RESAMPLES = 2000
"""An end of the interval then has a standard error of 1.5 % of its width."""
RESAMPLES_OF_BOXES = 300
"""Fewer, as each takes an AP over all boxes: 4 % of the width."""
ENDS = (0.025, 0.975)
RECALLS = np.linspace(0.0, 1.0, 101)
"""Where COCO reads the precision off."""
CELLS = 400_000
"""Boxes times resamples at a time: some 30 MB, of which the most used part stays in a core's cache."""
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]
Interval = tuple[float, float]


def drop_intervals(
    dataset: Dataset,
    reference: Iterable[Answer],
    rows: Iterable[Iterable[Answer]],
    *,
    resamples: int | None = None,
    seed: int = 0,
) -> list[Interval | None]:
    """For each row the 95 % interval of its drop: the reference's main metric less the row's, in the metric's unit.

    Percentile bootstrap over samples (Efron and Tibshirani, 1993, chapter 13), paired: a resample draws the same
    samples for the reference and for the row, out of those that both answered. A row is read once, and no two are held
    at the same time. None where fewer than two samples were answered by both, or a detector's have no object. Where
    all answers agree the interval is (0, 0), however few they are: it cannot tell of samples that were not there.
    `resamples` is 2000, and 300 for detectors. Raises MissingExtra where a detector's toolkit is missing.
    """
    first = {answer.key: answer for answer in reference}
    known: dict[tuple[int, ...], Floats] = {}  # rows that lack no sample share the reference's resamples
    intervals: list[Interval | None] = []
    for row in rows:
        second = {answer.key: answer for answer in row if answer.key in first}
        keys = tuple(sorted(second))
        if keys not in known:
            known[keys] = _resampled(dataset, first, keys, resamples, seed)
        intervals.append(_interval(known[keys] - _resampled(dataset, second, keys, resamples, seed)))
    return intervals


def _interval(drops: Floats) -> Interval | None:
    drops = drops[~np.isnan(drops)]
    if not len(drops):
        return None
    low, high = np.quantile(drops, ENDS).tolist()
    return low, high


def _resampled(
    dataset: Dataset, answers: Mapping[int, Answer], keys: Sequence[int], resamples: int | None, seed: int
) -> Floats:
    """The main metric of each resample of `keys`; the same samples for the same keys and seed. NaN: there is none."""
    rng, count = np.random.default_rng(seed), len(keys)
    times = resamples or (RESAMPLES if dataset.truth is None else RESAMPLES_OF_BOXES)
    if count < 2:
        return np.full(times, np.nan)
    if dataset.truth is None:
        truths = {sample.key: sample.truth for sample in dataset.samples}
        values = np.array([_value(answers[key], truths[key]) for key in keys])
        step = max(1, 10 * CELLS // count)
        sizes = ((min(step, times - at), count) for at in range(0, times, step))
        return np.concatenate([values[rng.integers(count, size=size)].mean(axis=1) for size in sizes])
    boxes = {key: answer for key in keys if isinstance(answer := answers[key], Boxes)}
    drawn = rng.integers(count, size=(times, count)) + count * np.arange(times)[:, None]
    weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.int32)
    return weighted_ap(dataset.truth, boxes, weights)


def _value(answer: Answer, truth: int) -> float:
    if isinstance(answer, Classes):
        return float(answer.best[0] == truth)
    assert isinstance(answer, Frames)  # whose dataset has no boxes to find
    return answer.psnr_db


def weighted_ap(truth: Truth, found: Mapping[int, Boxes], weights: Integers) -> Floats:
    """COCO's AP (IoU 0.50 to 0.95, 100 boxes) of resamples: (R,), NaN where a resample holds no object.

    `weights` (R, images) is how often each image was drawn, in the order of the truth's images that have an answer. It
    is what COCO's toolkit gives where an image's copies follow it, each with an id and annotations of its own; boxes
    are matched with objects only once, as that is done image by image.
    """
    rows = [
        np.concatenate([_class_ap(row, part) for part in np.array_split(weights, _parts(row, len(weights)))])
        for row in _classes(truth, dict(found))
    ]
    table = np.array(rows).reshape(len(rows), len(weights))
    present = ~np.isnan(table)
    with np.errstate(invalid="ignore"):  # no class at all
        mean: Floats = np.where(present, table, 0.0).sum(axis=0) / present.sum(axis=0)
    return mean


@dataclass(frozen=True)
class _Class:
    """D boxes of one class, surest first, and how many objects of it each image has.

    `images` is each box's place among the images, `right` and `wrong` are (IoU thresholds, D): a box that fits a crowd
    is neither. `block` numbers the boxes of the same image and score.
    """

    images: npt.NDArray[np.intp]
    right: Flags
    wrong: Flags
    block: npt.NDArray[np.intp]
    objects: Integers


def _classes(truth: Truth, found: dict[int, Boxes]) -> Iterator[_Class]:
    """The classes that have an object, as COCO's toolkit matches them."""
    evaluation, count = matched(truth, found, sizes=False), len(found)
    for start in range(0, len(evaluation.evalImgs), count):
        rows = [(at, row) for at, row in enumerate(evaluation.evalImgs[start : start + count]) if row is not None]
        objects = np.zeros(count, np.int32)
        for at, row in rows:
            objects[at] = np.count_nonzero(row["gtIgnore"] == 0)
        if not objects.any():
            continue
        scores = np.array(list(chain.from_iterable(row["dtScores"] for _, row in rows)))
        order = np.argsort(-scores, kind="mergesort")  # the toolkit's, which keeps the order of images and boxes
        images = np.array([at for at, row in rows for _ in row["dtScores"]], np.intp)[order]
        hit, ignored = (
            np.concatenate([row[name] for _, row in rows], axis=1)[:, order] != 0 for name in ("dtMatches", "dtIgnore")
        )
        differs = (np.diff(scores[order]) != 0) | (np.diff(images) != 0)
        block = np.concatenate(([0], np.cumsum(differs)))[: len(scores)]
        yield _Class(images, hit & ~ignored, ~hit & ~ignored, block, objects)


def _parts(row: _Class, times: int) -> int:
    return min(times, 1 + len(row.images) * times // CELLS)


def _class_ap(row: _Class, weights: Integers) -> Floats:
    """AP of each resample, NaN where it has no object of the class.

    Precision falls, and recall rises, between right boxes only: the envelope of precision needs no other. A box drawn
    twice is two boxes at one place, of which the second has the higher precision and so tells for both.
    """
    order, copy = _copies(row, int(weights.max()))
    drawn = np.ascontiguousarray(weights.T)[row.images[order]]
    split = copy > 0
    drawn[split] = drawn[split] >= copy[split, None]
    right, wrong, objects = row.right[:, order], row.wrong[:, order], weights @ row.objects
    everything, total = np.cumsum(drawn, axis=0, dtype=np.int32), np.zeros(len(weights))
    for hits, misses in zip(right, wrong, strict=True):
        counted = hits | misses
        seen = everything if counted.all() else np.cumsum(drawn * counted[:, None], axis=0, dtype=np.int32)
        found = np.cumsum(drawn[hits], axis=0, dtype=np.int32)
        precision = found / (seen[hits] + np.spacing(1))  # the toolkit's guard of 0 / 0
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        passed = np.searchsorted(RECALLS, found / np.maximum(objects, 1), side="right")
        total += (envelope * np.diff(passed, axis=0, prepend=0)).sum(axis=0)
    total[objects == 0] = np.nan
    return total / (len(right) * len(RECALLS))


def _copies(row: _Class, most: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Boxes in the order that copied images give, and which copy each is of; 0 for all of an image's copies at once.

    Only where an image has right and wrong boxes of one score do copies take turns: a b, a b and not a a, b b.
    """
    head = np.searchsorted(row.block, row.block)
    mixed = np.zeros(len(head), np.bool_)
    mixed[head[(row.right != row.right[:, head]).any(axis=0)]] = True
    mixed = mixed[head]
    times = np.where(mixed, most, 1)
    order = np.repeat(np.arange(len(head)), times)
    copy = np.arange(len(order)) - np.repeat(np.cumsum(times) - times, times)
    turns = np.lexsort((order, copy, row.block[order]))
    order, copy = order[turns], copy[turns]
    return order, np.where(mixed[order], copy + 1, 0)
