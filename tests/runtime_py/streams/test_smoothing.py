"""The moving average against its closed form."""

import numpy as np
import pytest

from runtime_py.results import Classification
from runtime_py.streams.smoothing import BadHalfLife, Smoothing

LABELS = ("cat", "dog")


def answer(cat: float, labels: tuple[str, ...] = LABELS) -> Classification:
    return Classification(labels, np.array([cat, 1 - cat], np.float32))


def test_after_one_half_life_old_and_new_weigh_the_same() -> None:
    smooth = Smoothing(half_life_s=2.0)
    assert smooth(answer(1.0), 0.0).scores.tolist() == [1.0, 0.0]
    assert smooth(answer(0.0), 2.0).scores.tolist() == [0.5, 0.5]
    assert smooth(answer(0.0), 6.0).scores.tolist() == [0.125, 0.875]


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_is_the_closed_form_at_irregular_times(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times, values = np.cumsum(rng.uniform(0, 1, 30)), rng.random(30)
    smooth, found = Smoothing(0.7), 0.0
    for time_s, value in zip(times, values, strict=True):
        found = float(smooth(answer(value), time_s).scores[0])
    decay = 0.5 ** (
        (times[-1] - times) / 0.7
    )  # each answer's weight: what its own step gave it, and what is left of it
    steps = np.concatenate(([1.0], 1 - 0.5 ** (np.diff(times) / 0.7)))
    assert found == pytest.approx(float((decay * steps * values).sum()), abs=1e-6)


def test_one_rate_of_frames_gives_what_another_gives() -> None:
    slow, fast = Smoothing(1.0), Smoothing(1.0)
    slow(answer(1.0), 0.0)
    fast(answer(1.0), 0.0)
    for step in range(1, 101):
        found = fast(answer(0.0), step / 50)
    assert found.scores == pytest.approx(slow(answer(0.0), 2.0).scores, abs=1e-6)


def test_it_starts_afresh_with_other_labels_and_where_time_runs_backwards() -> None:
    smooth = Smoothing()
    smooth(answer(1.0), 5.0)
    assert smooth(answer(0.0), 4.0).scores.tolist() == [0.0, 1.0]
    assert smooth(answer(1.0, ("a", "b")), 4.1).scores.tolist() == [1.0, 0.0]
    found = smooth(answer(0.5, ("a", "b")), 4.2)
    assert found.labels == ("a", "b")
    assert found.scores.dtype == np.float32
    assert found.scores.sum() == pytest.approx(1)


@pytest.mark.parametrize("half_life", [0, -1, float("inf"), float("nan")])
def test_half_lives_that_are_none(half_life: float) -> None:
    with pytest.raises(BadHalfLife):
        Smoothing(half_life)
