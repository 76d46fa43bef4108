"""What `mixed` tries, in which order."""

from itertools import pairwise

import pytest

from sdk.quantize.choice import keep_in_float
from sdk.quantize.pipeline import STEPS, Limits, choices_of
from sdk.quantize.sensitivity import Sensitivity
from tests.sdk.quantize.test_choice import cost, left, network, size


@pytest.mark.parametrize("seed", range(4))
def test_each_choice_leaves_less_noise_than_the_one_before(seed: int) -> None:
    roundings, operators = network(seed)
    choices = choices_of(Sensitivity([], roundings, operators), Limits())
    assert 1 < len(choices) <= len(STEPS)
    noises = [left(roundings, kept) for kept in choices]
    assert all(after < before for before, after in pairwise(noises))
    assert noises[0] <= STEPS[0] * left(roundings, frozenset()) * (1 + 1e-6)


def test_the_last_choice_is_the_least_noise_that_the_limits_allow() -> None:
    roundings, operators = network(1)
    limits = Limits(float_macs=0.3, float_bytes=300_000)
    choices = choices_of(Sensitivity([], roundings, operators), limits)
    assert all(cost(operators, kept) <= 0.3 + 1e-6 and size(operators, kept) <= 300_001 for kept in choices)
    assert choices[-1] == keep_in_float(roundings, operators, None, float_macs=0.3, float_bytes=300_000)


def test_there_is_none_where_nothing_may_be_in_float() -> None:
    roundings, operators = network(2)
    kept = choices_of(Sensitivity([], roundings, operators), Limits(float_macs=0.0))
    assert all(cost(operators, each) == 0.0 for each in kept)
