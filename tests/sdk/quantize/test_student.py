"""The student rounds as the program's own integers do, and what it learns goes back into them."""

import copy

import pytest
import torch
from torch.fx import GraphModule

from sdk.quantize.recipes import Prepared, Recipe, prepared, quantised
from sdk.quantize.student import DEQUANTIZE_WEIGHT, QUANTIZE, Batched, Student, same_alone, take_over
from tests.sdk.quantize.small import firsts, program, samples


@pytest.fixture(scope="module")
def ready() -> Prepared:
    return prepared(program(), samples, equalised=False)


@pytest.fixture(scope="module")
def whole(ready: Prepared) -> GraphModule:
    return quantised(ready, Recipe(searched=True), samples, 16)


def test_a_student_answers_as_the_integers_do(ready: Prepared, whole: GraphModule) -> None:
    student = Student(copy.deepcopy(whole), ready.weights())
    given = samples(4, seed=2)
    exact = firsts(ready.network, given)
    for sample, answer, real in zip(given, firsts(whole, given), exact, strict=True):
        with torch.no_grad():
            (own,) = student.answers(*sample)
        assert (own - answer).abs().max() < 0.02 * (real - answer).abs().max(), "the order of float sums alone"


def test_with_nothing_rounded_it_is_the_float_network(ready: Prepared, whole: GraphModule) -> None:
    student = Student(copy.deepcopy(whole), ready.weights())
    student.only = ()
    (sample,) = samples(1, seed=2)
    torch.testing.assert_close(student.answers(*sample)[0], ready.network(*sample), rtol=1e-4, atol=1e-4)


def test_what_was_not_changed_is_written_as_it_was(ready: Prepared, whole: GraphModule) -> None:
    network = copy.deepcopy(whole)
    Student(network, ready.weights()).write()
    (sample,) = samples(1, seed=2)
    torch.testing.assert_close(network(*sample), whole(*sample), rtol=1e-5, atol=1e-6)


def test_what_was_learned_answers_the_same_in_integers(ready: Prepared, whole: GraphModule) -> None:
    network = copy.deepcopy(whole)
    student = Student(network, ready.weights())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for leaf in student.leaves.values():
            leaf.add_(torch.randn(leaf.shape, generator=generator) * 0.3)
        (sample,) = samples(1, seed=2)
        (learned,) = student.answers(*sample)
        student.write()
        off, moved = (network(*sample) - learned).norm(), (learned - whole(*sample)).norm()
        assert off < 0.05 * moved, "steps here and there, where sums in float end on the other side of a half"


def test_values_around_a_concatenation_keep_one_range(ready: Prepared, whole: GraphModule) -> None:
    network = copy.deepcopy(whole)
    student = Student(network, ready.weights())
    with torch.no_grad():
        for index, leaf in enumerate(student.leaves.values()):
            leaf.add_(0.01 * index)
    student.write()
    before, after = (
        [node.args[1:3] for node in net.graph.nodes if node.target is QUANTIZE] for net in (whole, network)
    )
    moved = [node for node in network.graph.nodes if node.target is QUANTIZE and "max_pool" in str(node.args[0])]
    assert len(set(before)) == len(set(after))
    assert moved, "the network has a value that is moved"


def test_a_mixed_network_takes_over_what_it_shares(ready: Prepared, whole: GraphModule) -> None:
    student = Student(copy.deepcopy(whole), ready.weights())
    with torch.no_grad():
        for (kind, _), leaf in student.leaves.items():
            leaf.fill_(0.5 if kind == "high" else 0.0)
    mixed = quantised(ready, Recipe(searched=True), samples, 16, frozenset({"conv2d_2"}))
    take_over(mixed, student)
    layers = [next(iter(node.users)).name for node in mixed.graph.nodes if node.target is DEQUANTIZE_WEIGHT]
    assert "conv2d_2" not in layers
    assert layers
    ranges = {str(node.args[0]): node.args[1] for node in whole.graph.nodes if node.target is QUANTIZE}
    shared = [node for node in mixed.graph.nodes if node.target is QUANTIZE and str(node.args[0]) in ranges]
    assert shared
    assert all(node.args[1] > ranges[str(node.args[0])] for node in shared), "all ranges were made wider"


def test_gradients_reach_all_that_may_change(ready: Prepared, whole: GraphModule) -> None:
    student = Student(copy.deepcopy(whole), ready.weights())
    (sample,) = samples(1, seed=2)
    student.answers(*sample)[0].square().sum().backward()  # type: ignore[no-untyped-call]  # torch's
    kinds = {kind for (kind, _), leaf in student.leaves.items() if leaf.grad is not None and bool(leaf.grad.any())}
    assert kinds == {"low", "high", "weight", "bias"}


def test_a_batch_answers_each_sample_as_it_would_alone(ready: Prepared, whole: GraphModule) -> None:
    """The graph was captured for one sample, and a view in it says so."""
    assert same_alone(Batched(ready.network, ()), list(samples(3)))
    assert same_alone(Student(copy.deepcopy(whole), ready.weights()), list(samples(3)))


def test_a_network_whose_samples_meet_cannot_be_batched() -> None:
    class Meeting(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x - x.mean(0, keepdim=True).mean()

    exported = torch.export.export(Meeting(), samples(1)[0])
    assert not same_alone(Batched(exported.module(check_guards=False), ()), list(samples(2)))
