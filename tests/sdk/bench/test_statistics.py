"""Intervals, the rank test and Holm's correction, against closed forms, scipy, and simulations of known truth."""

from itertools import permutations
from math import comb, exp, log, sqrt

import numpy as np
import pytest

stats = pytest.importorskip("scipy.stats", reason="scipy has the distributions")

from devices.agent import percentile  # noqa: E402
from sdk.bench.statistics import LEVEL, Repeats, holm, rank_test, ratio_of  # noqa: E402
from tests.sdk.bench.rows import times  # noqa: E402


def repeats(*medians: float) -> Repeats:
    return Repeats.of([[value] for value in medians])


def test_the_medians_are_the_agents() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.random(count).tolist() for count in (1, 2, 7, 100)]
    assert Repeats.of(parts).medians_ms.tolist() == [percentile(sorted(part), 50) for part in parts]
    assert repeats(1.0, 4.0).centre_ms == pytest.approx(2.0)
    assert repeats(1.0, 1.02, 1.04).spread == pytest.approx(0.04)


def test_runs_that_do_not_overlap_have_the_least_p_value_there_is() -> None:
    low, high = repeats(*np.linspace(1.0, 1.1, 8)), repeats(*np.linspace(1.2, 1.3, 8))
    assert rank_test(low, high) == pytest.approx(2 / comb(16, 8))
    assert rank_test(high, low) == pytest.approx(2 / comb(16, 8))
    assert rank_test(repeats(1, 2, 3, 4, 5), repeats(6, 7, 8, 9, 10)) == pytest.approx(2 / comb(10, 5))


def test_the_exact_p_value_by_counting_every_arrangement() -> None:
    a, b = (1.0, 2.5, 3.0), (2.0, 4.0, 5.0)

    def u(values: tuple[float, ...]) -> int:
        return sum(x < y for x in values[:3] for y in values[3:])

    away = abs(u((*a, *b)) - 4.5)  # from the mean of U, 3 x 3 / 2
    every = [abs(u(values) - 4.5) >= away for values in permutations((*a, *b))]
    assert rank_test(repeats(*a), repeats(*b)) == pytest.approx(sum(every) / len(every))


def test_equal_medians_are_no_error() -> None:
    assert rank_test(repeats(1.0, 1.0, 1.0), repeats(1.0, 1.0, 1.0)) == 1.0
    same = ratio_of(repeats(2.0, 2.0), repeats(2.0, 2.0))
    assert (same.value, same.low, same.high) == pytest.approx((1.0, 1.0, 1.0))


def test_holm_by_hand() -> None:
    """Holm, 1979: 4 x 0.01, 3 x 0.02 and so on, and never less than the one before."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_holm_holds_its_level_for_all_tests_together() -> None:
    """Share of families of 20 true hypotheses with any rejection: at most LEVEL, but for the noise of 2000 families."""
    rng = np.random.default_rng(0)
    wrong = np.mean([min(holm(rng.random(20).tolist())) < LEVEL for _ in range(2000)])
    assert wrong <= LEVEL + 3 * sqrt(LEVEL * (1 - LEVEL) / 2000)


def test_the_interval_of_many_repeats_is_the_normal_one() -> None:
    """With 200 repeats of one time each it must come to what a two-sample t interval of the logarithms says."""
    rng = np.random.default_rng(1)
    old, new = (Repeats.of(np.exp(rng.normal(shift, 0.02, (200, 1)))) for shift in (0.0, 0.01))
    found = ratio_of(old, new)
    logs = [np.log(one.medians_ms) for one in (new, old)]
    wanted = stats.ttest_ind(*logs, equal_var=False).confidence_interval(0.95)
    assert found.value == pytest.approx(exp(logs[0].mean() - logs[1].mean()))
    width = wanted.high - wanted.low
    # an end of a percentile interval of 4000 resamples has a standard error of 1 % of the width
    assert abs(log(found.low) - wanted.low) < 0.04 * width
    assert abs(log(found.high) - wanted.high) < 0.04 * width


def test_drawing_ranks_is_drawing_times() -> None:
    """The spread of the centre of one repeat's resamples, against resampling its times one by one."""
    rng = np.random.default_rng(2)
    part = np.sort(rng.lognormal(0.0, 0.1, 101))
    from sdk.bench.statistics import _centres

    drawn = _centres(np.random.default_rng(3), Repeats((part,)), 20_000)
    plain = np.log([np.median(rng.choice(part, 101)) for _ in range(20_000)])
    assert drawn.mean() == pytest.approx(plain.mean(), abs=4 * plain.std() / sqrt(10_000))
    assert drawn.std() == pytest.approx(plain.std(), rel=0.03)  # 4 standard errors of a deviation of 20,000


TRIALS = 400


def test_two_runs_of_the_same_are_told_apart_no_more_often_than_they_should() -> None:
    """Times share a state within each repeat. Over simulated pairs without a difference the interval holds 1 in 95 %,
    and the rank test rejects in 5 %; a test of all times as if they were independent is wrong most of the time."""
    rng, held, rejected, naive = np.random.default_rng(4), 0, 0, 0
    for trial in range(TRIALS):
        old, new = Repeats.of(times(rng)), Repeats.of(times(rng))
        ratio = ratio_of(old, new, resamples=1000, seed=trial)
        held += ratio.low <= 1.0 <= ratio.high
        rejected += rank_test(old, new) < LEVEL
        naive += stats.mannwhitneyu(np.concatenate(old.times_ms), np.concatenate(new.times_ms)).pvalue < LEVEL
    error = 3 * sqrt(LEVEL * (1 - LEVEL) / TRIALS)
    assert abs(held / TRIALS - 0.95) < error
    assert rejected / TRIALS < LEVEL + error
    assert naive / TRIALS > 0.5, "which is why repeats are compared"


def test_the_interval_holds_a_true_ratio() -> None:
    rng, held = np.random.default_rng(5), 0
    for trial in range(TRIALS):
        ratio = ratio_of(Repeats.of(times(rng)), Repeats.of(times(rng, mean=1.1)), resamples=1000, seed=trial)
        held += ratio.low <= 1.1 <= ratio.high
    assert abs(held / TRIALS - 0.95) < 3 * sqrt(LEVEL * (1 - LEVEL) / TRIALS)
