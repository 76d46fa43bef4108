"""Tuning brings answers nearer on samples that it has not seen, and loses nothing where it fails."""

import copy

import pytest
import torch
from torch import Tensor

from sdk.quantize.errors import answer_error
from sdk.quantize.network import network_of
from sdk.quantize.recipes import Recipe, prepared, quantised
from sdk.quantize.student import Student
from sdk.quantize.tuning import AFFORDED, BATCH, LEAST, Lesson, affordable, tune
from tests.sdk.quantize.small import MANIFEST, firsts, program, samples

FIT = samples(32)


def lesson(given: list[tuple[Tensor]] = FIT) -> Lesson:
    return Lesson(lambda places: [given[at] for at in places], len(given), MANIFEST)


@pytest.mark.parametrize("outlier", [0.3, 30.0])
def test_unseen_answers_come_nearer(outlier: float) -> None:
    ready = prepared(program(outlier), samples, equalised=False)
    network = quantised(ready, Recipe(), samples, 16)
    unseen = samples(16, seed=9)
    exact = firsts(ready.network, unseen)
    before = answer_error(exact, firsts(network, unseen), MANIFEST).quality_db
    student, told = Student(network, ready.weights()), []
    assert tune(student, ready.network, lesson(), 640, lambda *at: told.append(at))
    assert told == [(step, 80) for step in range(1, 81)]
    student.write()
    after = answer_error(exact, firsts(network, unseen), MANIFEST).quality_db
    assert after > before + 1.0
    integers = [value for name, value in network.state_dict().items() if value.dtype == torch.int8]
    assert integers
    assert all(int(value.abs().max()) <= 127 for value in integers)


def test_two_runs_learn_the_same() -> None:
    ready = prepared(program(), samples, equalised=False)
    network = quantised(ready, Recipe(), samples, 16)
    codes = []
    for _ in range(2):
        student = Student(copy.deepcopy(network), ready.weights())
        tune(student, ready.network, lesson(), 64, lambda *_: None)
        student.write()
        codes.append((student.network.code, [value for _, value in sorted(student.network.state_dict().items())]))
    assert codes[0][0] == codes[1][0]
    for a, b in zip(codes[0][1], codes[1][1], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_what_is_no_number_is_said_and_not_written() -> None:
    ready = prepared(program(), samples, equalised=False)
    network = quantised(ready, Recipe(), samples, 16)
    before = network.code
    student = Student(network, ready.weights())
    broken = [(torch.full_like(sample[0], float("nan")),) for sample in FIT]
    assert not tune(student, ready.network, lesson(broken), 2 * BATCH, lambda *_: None)
    assert network.code == before


def test_large_networks_are_tuned_on_less_or_not_at_all() -> None:
    network = network_of(program())
    assert affordable(network, 800) == 800
    macs = next(node for node in network.graph.nodes if node.name == "conv2d")
    side = 12 * (AFFORDED / LEAST / (16 * 27 * 144)) ** 0.5
    macs.meta["val"] = torch.empty(1, 16, int(side), int(side), device="meta")
    assert affordable(network, 800) in range(LEAST // 2, 2 * LEAST) or affordable(network, 800) == 0
    macs.meta["val"] = torch.empty(1, 16, int(4 * side), int(4 * side), device="meta")
    assert affordable(network, 800) == 0
