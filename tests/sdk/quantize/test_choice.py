"""The choice of float layers against trying all of them."""

import random
from collections.abc import Sequence
from itertools import product

import pytest

from runtime_py.manifest import LayerError
from sdk.quantize.choice import FLOAT_BYTES, NoChoice, keep_in_float, noise


def layers(seed: int, count: int = 10, quality: tuple[float, float] = (10.0, 50.0)) -> list[LayerError]:
    rng = random.Random(seed)
    return [
        LayerError(
            name=f"layer{index}", module="", macs=rng.randint(10**4, 10**7), weights=rng.randint(10**2, 10**5),
            quality_db=rng.uniform(*quality), content=0.0,
        )
        for index in range(count)
    ]  # fmt: skip


def allowed(rows: Sequence[LayerError], kept: frozenset[str], budget: float, macs: float, size: int) -> bool:
    floats = [row for row in rows if row.name in kept]
    rest = sum(10 ** (-row.quality_db / 10) for row in rows if row.name not in kept)
    share = sum(row.macs for row in floats) / sum(row.macs for row in rows)
    return rest <= budget and share <= macs and sum(FLOAT_BYTES * row.weights for row in floats) <= size


def cost(rows: Sequence[LayerError], kept: frozenset[str]) -> float:
    """The share of multiply-accumulates in float."""
    return sum(row.macs for row in rows if row.name in kept) / sum(row.macs for row in rows)


def least(rows: Sequence[LayerError], budget: float, macs: float, size: int) -> float | None:
    """The least cost of all subsets; None where none is allowed."""
    subsets = (
        frozenset(row.name for row, take in zip(rows, taken, strict=True) if take)
        for taken in product((False, True), repeat=len(rows))
    )
    return min((cost(rows, kept) for kept in subsets if allowed(rows, kept, budget, macs, size)), default=None)


@pytest.mark.parametrize("quality", [(10.0, 50.0), (40.0, 80.0)], ids=["coarse", "fine"])
@pytest.mark.parametrize("seed", range(8))
def test_no_subset_costs_less(seed: int, quality: tuple[float, float]) -> None:
    rows = layers(seed, quality=quality)
    rng = random.Random(seed + 100)
    budget = sum(noise(row) for row in rows) * rng.choice([0.5, 0.1, 0.02])
    macs, size = rng.choice([0.3, 0.6, 1.0]), rng.choice([300_000, 10**9])
    best = least(rows, budget, macs, size)
    if best is None:
        with pytest.raises(NoChoice):
            keep_in_float(rows, budget, float_macs=macs, float_bytes=size)
        return
    kept = keep_in_float(rows, budget, float_macs=macs, float_bytes=size)
    assert allowed(rows, kept, budget * (1 + 1e-6), macs + 1e-6, size + 1), "the solver's tolerance is 1e-6"
    assert cost(rows, kept) <= best + 2e-4, "the tie-break's 1e-4, and HiGHS stops within 1e-4 of the best"


def test_nothing_is_kept_where_all_is_good_enough() -> None:
    rows = layers(0)
    assert keep_in_float(rows, 2 * sum(noise(row) for row in rows)) == frozenset()


def test_what_cannot_be_had_names_both_limits() -> None:
    with pytest.raises(NoChoice) as caught:
        keep_in_float(layers(0), 1e-9, float_macs=0.125, float_bytes=4321)
    assert "0.125" in caught.value.expected
    assert "4321" in caught.value.expected
