"""Bootstrap intervals, against COCO's toolkit on copied images, against SciPy, and against what is known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from sdk.evaluate.bootstrap import drop_intervals, weighted_ap
from sdk.evaluate.coco import Truth, _Annotation, score_boxes
from sdk.evaluate.datasets import Dataset, Sample
from sdk.evaluate.messages import Boxes, Classes, Frames

SPACE = 100
"""Between the ids of images, so that a copy follows its original."""
CLASSES = 4


def scene(seed: int, images: int = 12, levels: int = 0) -> tuple[Truth, dict[int, Boxes]]:
    """Random objects, some of them crowds, some images without any, and boxes near them and elsewhere.

    With `levels` scores are rounded to so many values: boxes of one image and class tie, and those of others.
    """
    rng = np.random.default_rng(seed)
    objects, found = list[_Annotation](), dict[int, Boxes]()
    for key in range(SPACE, SPACE * (images + 1), SPACE):
        boxes, labels = list[tuple[float, ...]](), list[int]()
        for _ in range(int(rng.integers(0, 7))):
            x, y, width, height = rng.uniform(0, 60, 2).tolist() + rng.uniform(8, 40, 2).tolist()
            label, crowd = int(rng.integers(CLASSES - 1)), bool(rng.random() < 0.15)  # of the last there is none
            objects.append(_Annotation(key, label + 1, (x, y, width, height), None, int(crowd)))
            for _ in range(int(rng.integers(0, 4))):
                near = np.array([x, y, x + width, y + height]) + rng.normal(0, 2, 4)
                boxes.append(tuple(near.tolist()))
                labels.append(label if rng.random() < 0.8 else int(rng.integers(CLASSES)))
        for _ in range(int(rng.integers(0, 6))):
            x, y = rng.uniform(0, 60, 2).tolist()
            boxes.append((x, y, x + 20.0, y + 20.0))
            labels.append(int(rng.integers(CLASSES)))
        scores = rng.random(len(boxes))
        scores = np.ceil(scores * levels) / levels if levels else scores
        found[key] = Boxes(key, tuple(labels), tuple(scores.tolist()), tuple(boxes))  # type: ignore[arg-type]
    names = {label + 1: f"class {label}" for label in range(CLASSES)}
    truth = Truth(tuple(found), tuple(objects), names, {label: label + 1 for label in range(CLASSES)})
    return truth, found


def copied(truth: Truth, found: dict[int, Boxes], weights: Sequence[int]) -> float:
    """What COCO's toolkit gives where each image is there as often as its weight says."""
    answers, objects = list[Boxes](), list[_Annotation]()
    for (key, answer), weight in zip(found.items(), weights, strict=True):
        for copy in range(weight):
            answers.append(Boxes(key + copy, answer.labels, answer.scores, answer.boxes))
            objects += [
                _Annotation(key + copy, row.category_id, row.bbox, row.area, row.iscrowd)
                for row in truth.annotations
                if row.image_id == key
            ]
    images = tuple(answer.key for answer in answers)
    return score_boxes(replace(truth, images=images, annotations=tuple(objects)), answers).metrics["map50_95"]


@pytest.mark.parametrize("levels", [0, 3, 12], ids=["untied", "three scores", "twelve scores"])
@pytest.mark.parametrize("seed", range(4))
def test_a_weight_is_so_many_copies_of_an_image(seed: int, levels: int) -> None:
    """Once each, one image twice, and as a bootstrap draws them. 1e-12: sums in another order."""
    pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")
    truth, found = scene(seed, levels=levels)
    count, rng = len(found), np.random.default_rng(seed)
    drawn = [np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(6)]
    weights = np.stack([np.ones(count, int), 1 + (np.arange(count) == 3), *drawn]).astype(np.int32)
    expected = [copied(truth, found, row.tolist()) for row in weights]
    assert 0 < min(expected) < max(expected) < 1
    assert weighted_ap(truth, found, weights) == pytest.approx(expected, abs=1e-12)


def test_many_resamples_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")
    truth, found = scene(0, levels=5)
    weights = np.random.default_rng(0).integers(0, 4, (7, len(found)), np.int32)
    whole = weighted_ap(truth, found, weights)
    monkeypatch.setattr("sdk.evaluate.bootstrap.CELLS", 50)
    assert weighted_ap(truth, found, weights) == pytest.approx(whole, abs=1e-12)


def photos(truths: Sequence[int]) -> Dataset:
    return Dataset(tuple(Sample(key, f"{key}.png", "", truth) for key, truth in enumerate(truths)))


def answers(right: Sequence[bool]) -> list[Classes]:
    """Of images whose class is 1."""
    return [Classes(key, (int(one), 2), (0.6, 0.3)) for key, one in enumerate(right)]


def test_classes_agree_with_scipy() -> None:
    """Within 0.2 of the drop's standard error: 20,000 resamples leave each end 0.02 of it, two such ends are compared,
    and resampled drops are multiples of 1/300, which is 0.15 of it. Unpaired it would be much wider."""
    bootstrap = pytest.importorskip("scipy.stats", reason="SciPy's bootstrap is the reference").bootstrap
    rng = np.random.default_rng(0)
    first = rng.random(300) < 0.7
    second = first ^ (rng.random(300) < 0.15)
    expected = bootstrap(
        (first.astype(float), second.astype(float)), lambda a, b, axis: a.mean(axis) - b.mean(axis), paired=True,
        vectorized=True, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1),
    )  # fmt: skip
    found = drop_intervals(photos([1] * 300), answers(first), [answers(second)], resamples=20_000)[0]
    near = 0.2 * expected.standard_error
    assert found == pytest.approx(tuple(expected.confidence_interval), abs=near)
    unpaired = 1.96 * np.sqrt(first.var() / 300 + second.var() / 300)
    assert (expected.confidence_interval.high - expected.confidence_interval.low) / 2 < 0.8 * unpaired


def test_nineteen_of_twenty_intervals_hold_the_true_drop() -> None:
    """150 of 1,000 answers get lost and 50 are won, a drop of 0.1. Of 200 sets, 180 to 198 are three standard
    errors about 190."""
    rng, held = np.random.default_rng(0), 0
    for seed in range(200):
        kind = rng.random(150)
        first, second = kind < 0.7, (kind >= 0.15) & (kind < 0.75)
        found = drop_intervals(photos([1] * 150), answers(first), [answers(second)], resamples=500, seed=seed)[0]
        assert found is not None
        held += found[0] <= 0.1 <= found[1]
    assert 180 <= held <= 198


def test_clips_are_compared_in_db() -> None:
    """A loss of 0.5 dB in every clip has no spread at all, whatever the clips themselves."""
    quality = np.random.default_rng(0).uniform(20, 40, 30).tolist()
    first = [Frames(key, db, 0.9) for key, db in enumerate(quality)]
    second = [Frames(key, db - 0.5, 0.9) for key, db in enumerate(quality)]
    assert drop_intervals(photos([-1] * 30), first, [second]) == [pytest.approx((0.5, 0.5))]


def test_the_same_answers_have_no_drop_in_any_resample() -> None:
    pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")
    truth, found = scene(1)
    dataset = Dataset(tuple(Sample(key, str(key), "") for key in found), truth)
    worse = [replace_scores(answer) for answer in found.values()]
    same, other = drop_intervals(dataset, found.values(), [found.values(), worse], resamples=50)
    assert same == (0.0, 0.0)
    assert other is not None
    assert other[0] < other[1]
    half = [index % 2 == 0 for index in range(20)]
    assert drop_intervals(photos([1] * 20), answers(half), [answers(half)]) == [(0.0, 0.0)]


def replace_scores(answer: Boxes) -> Boxes:
    """The same boxes, surest last."""
    return Boxes(answer.key, answer.labels, tuple(1 - score for score in answer.scores), answer.boxes)


def test_the_interval_surrounds_a_detectors_drop() -> None:
    """The drop of the samples as they are, by COCO's own toolkit, lies inside."""
    pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")
    truth, found = scene(2, images=40)
    worse = [replace_scores(answer) for answer in found.values()]
    dataset = Dataset(tuple(Sample(key, str(key), "") for key in found), truth)
    drop = [score_boxes(truth, rows).metrics["map50_95"] for rows in (found.values(), worse)]
    (interval,) = drop_intervals(dataset, found.values(), [worse])
    assert interval is not None
    assert interval[0] < drop[0] - drop[1] < interval[1]


def test_only_what_both_answered_is_drawn() -> None:
    """The row lacks what the reference has wrong; another row lacks nothing."""
    first = answers([True] * 10 + [False] * 10)
    found = drop_intervals(photos([1] * 20), first, [answers([True] * 10), answers([True] * 20)])
    assert found[0] == (0.0, 0.0)
    assert found[1] is not None
    assert found[1][0] < -0.5 < found[1][1] < 0


def test_what_no_resample_tells_is_unknown() -> None:
    pytest.importorskip("pycocotools", reason="pip install 'edge-sdk[eval]'")
    assert drop_intervals(photos([1]), answers([True]), [answers([False]), []]) == [None, None]
    truth, found = scene(0, images=4)
    crowds = tuple(_Annotation(row.image_id, row.category_id, row.bbox, None, 1) for row in truth.annotations)
    dataset = Dataset(tuple(Sample(key, str(key), "") for key in found), replace(truth, annotations=crowds))
    assert drop_intervals(dataset, found.values(), [found.values()], resamples=10) == [None]
