"""The cheapest pairs, against SciPy's solver and against every choice there is."""

from itertools import permutations

import numpy as np
import pytest

from runtime_py.streams.assignment import assign

LARGE = 1e9


@pytest.mark.parametrize("seed", range(20))
def test_the_sum_is_scipys(seed: int) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is the reference")
    rng = np.random.default_rng(seed)
    for _ in range(20):
        rows, columns = rng.integers(1, 15, 2)
        cost = rng.random((rows, columns)) if seed % 2 else rng.integers(0, 4, (rows, columns)).astype(float)
        pairs = assign(cost, LARGE)
        reference = optimize.linear_sum_assignment(cost)
        assert len(pairs) == min(rows, columns)
        assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
        assert sum(cost[pair] for pair in pairs) == pytest.approx(cost[reference].sum())


def best_by_trial(cost: np.ndarray, limit: float) -> tuple[int, float]:
    """The most pairs within the limit, and the least they cost."""
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    choices = []
    for columns in permutations(range(cost.shape[1]), cost.shape[0]):
        taken = [cost[row, column] for row, column in enumerate(columns) if cost[row, column] <= limit]
        choices.append((-len(taken), sum(taken)))
    count, total = min(choices)
    return -count, total


@pytest.mark.parametrize("seed", range(8))
def test_with_a_limit_it_is_the_best_of_all_choices(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    for _ in range(15):
        cost = rng.random(tuple(rng.integers(1, 6, 2)))
        cost[rng.random(cost.shape) < 0.2] = np.inf
        limit = rng.uniform(0.1, 0.9)
        pairs = assign(cost, limit)
        assert all(cost[pair] <= limit for pair in pairs)
        count, total = best_by_trial(cost, limit)
        assert len(pairs) == count
        assert sum(cost[pair] for pair in pairs) == pytest.approx(total)


def test_nothing_to_pair() -> None:
    assert assign(np.zeros((0, 3)), 1.0) == []
    assert assign(np.zeros((3, 0)), 1.0) == []
    assert assign(np.full((2, 2), np.inf), 1.0) == []
    assert assign(np.full((2, 2), 5.0), 1.0) == []
