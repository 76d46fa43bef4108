"""The bank's networks: all of them run, differ, and show what compact networks are made of."""

import pytest
import torch

from sdk.nodes import nodes_of
from sdk.predicting import bank
from sdk.predicting.kernels import family, operators_of
from sdk.predicting.testing import leave_one_out
from tests.sdk.predicting.nets import measured


@pytest.mark.parametrize("seed", [0, 3, 4, 9, 16])
def test_a_bank_gives_a_thousand_scores_and_is_the_same_each_time(seed: int) -> None:
    side = bank.SIZES[seed]
    made, again = getattr(bank, f"bank_{seed}")().eval(), getattr(bank, f"bank_{seed}")().eval()
    image = torch.zeros(1, 3, side, side)
    with torch.no_grad():
        assert made(image).shape == (1, 1000)
    assert [(name, value.shape) for name, value in made.state_dict().items()] == [
        (name, value.shape) for name, value in again.state_dict().items()
    ]
    nodes = nodes_of(torch.export.export(made, (image,)))
    assert {node.kind for node in nodes} >= {
        "conv",
        "depthwise",
        "linear",
        "pool",
        "resize",
        "join",
        "add",
        "activation",
    }
    assert {family(one) for one in operators_of(nodes)} >= {"pointwise", "conv", "depthwise"}
    assert len({(node.kernel, node.stride) for node in nodes if node.kind == "depthwise"}) > 2


def test_there_is_no_twenty_first() -> None:
    with pytest.raises(AttributeError):
        _ = bank.bank_20


def test_banks_are_learned_from_and_never_counted() -> None:
    nets = [measured(seed) for seed in range(6)]
    banks = [one.__class__(one.name, one.kernels, one.whole_ms, of_bank=True) for one in nets[:3]]
    assert [row.name for row in leave_one_out([*banks, *nets[3:]])] == [one.name for one in nets[3:]]
    told: list[tuple[int, int]] = []
    assert len(leave_one_out(banks, lambda *so_far: told.append(so_far))) == 3
    assert told == [(1, 3), (2, 3), (3, 3)]
