"""The choice of float operators against trying all of them."""

import random
from collections.abc import Iterator, Sequence
from itertools import product

import pytest

from sdk.quantize.choice import FLOAT_BYTES, NoChoice, Operator, Rounding, keep_in_float


def network(seed: int, count: int = 9) -> tuple[list[Rounding], list[Operator]]:
    """Operators, some without weights; roundings of each one's weights, and of values that two or three share."""
    rng = random.Random(seed)
    operators = [
        Operator(f"layer{index}", rng.randint(10**4, 10**7), rng.randint(10**2, 10**5))
        if index % 3
        else Operator(f"add{index}", 0, 0)
        for index in range(count)
    ]
    names = [row.name for row in operators]
    sets = [frozenset({row.name}) for row in operators if row.weights]
    sets += [frozenset(rng.sample(names, rng.randint(2, 3))) for _ in range(count)]
    return [Rounding(10.0 ** -rng.uniform(1.0, 5.0), own) for own in sets], operators


def left(roundings: Sequence[Rounding], kept: frozenset[str]) -> float:
    """The noise of what is still rounded."""
    return sum(row.noise for row in roundings if not row.operators <= kept)


def cost(operators: Sequence[Operator], kept: frozenset[str]) -> float:
    """The share of multiply-accumulates in float."""
    return sum(row.macs for row in operators if row.name in kept) / sum(row.macs for row in operators)


def size(operators: Sequence[Operator], kept: frozenset[str]) -> int:
    return sum(FLOAT_BYTES * row.weights for row in operators if row.name in kept)


def subsets(operators: Sequence[Operator]) -> Iterator[frozenset[str]]:
    for taken in product((False, True), repeat=len(operators)):
        yield frozenset(row.name for row, take in zip(operators, taken, strict=True) if take)


@pytest.mark.parametrize("seed", range(12))
def test_no_subset_costs_less(seed: int) -> None:
    roundings, operators = network(seed)
    rng = random.Random(seed + 100)
    budget = left(roundings, frozenset()) * rng.choice([0.5, 0.1, 0.02])
    macs, bytes_ = rng.choice([0.3, 0.6, 1.0]), rng.choice([300_000, 10**9])
    costs = [
        cost(operators, kept)
        for kept in subsets(operators)
        if left(roundings, kept) <= budget and cost(operators, kept) <= macs and size(operators, kept) <= bytes_
    ]
    if not costs:
        with pytest.raises(NoChoice):
            keep_in_float(roundings, operators, budget, float_macs=macs, float_bytes=bytes_)
        return
    kept = keep_in_float(roundings, operators, budget, float_macs=macs, float_bytes=bytes_)
    assert left(roundings, kept) <= budget * (1 + 1e-6), "the solver's tolerance is 1e-6"
    assert cost(operators, kept) <= macs + 1e-6
    assert size(operators, kept) <= bytes_ + 1
    assert cost(operators, kept) <= min(costs) + 2e-4, "the tie-break's 1e-4, and HiGHS stops within 1e-4 of the best"


def test_nothing_is_kept_where_all_is_good_enough() -> None:
    roundings, operators = network(0)
    assert keep_in_float(roundings, operators, 2 * left(roundings, frozenset())) == frozenset()


def test_a_value_needs_all_that_read_it() -> None:
    operators = [Operator(name, 100, 100) for name in "abcd"]
    roundings = [Rounding(1.0, frozenset("ab")), Rounding(1e-3, frozenset("c")), Rounding(1e-3, frozenset("d"))]
    assert keep_in_float(roundings, operators, 0.1) == frozenset("ab")


def test_what_cannot_be_had_names_both_limits() -> None:
    with pytest.raises(NoChoice) as caught:
        keep_in_float(*network(0), 1e-9, float_macs=0.125, float_bytes=4321)
    assert "0.125" in caught.value.expected
    assert "4321" in caught.value.expected


@pytest.mark.parametrize("seed", range(8))
def test_no_subset_within_the_limits_leaves_less_noise(seed: int) -> None:
    roundings, operators = network(seed)
    limits = {"float_macs": 0.3, "float_bytes": 300_000}
    kept = keep_in_float(roundings, operators, None, float_macs=0.3, float_bytes=300_000)
    allowed = [
        left(roundings, each)
        for each in subsets(operators)
        if cost(operators, each) <= limits["float_macs"] and size(operators, each) <= limits["float_bytes"]
    ]
    assert cost(operators, kept) <= 0.3 + 1e-6
    assert size(operators, kept) <= 300_001
    assert left(roundings, kept) <= min(allowed) + 3e-4 * left(roundings, frozenset()), "TIE, and the solver's 1e-4"
