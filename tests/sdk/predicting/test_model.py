"""Predictions against a made-up device whose times are a formula."""

from math import prod

import pytest

from runtime_py.manifest import Node
from sdk.predicting.kernels import Kernel, family, kernels_of
from sdk.predicting.model import Measured, Model
from sdk.predicting.testing import Left, errors_of, leave_one_out
from tests.sdk.predicting.nets import CALL, measured, network, row, time_of


def test_operators_that_were_measured_are_looked_up() -> None:
    one = measured(1)
    found = Model([one]).predict([kernel.node for kernel in one.kernels])
    assert found.ms == pytest.approx(one.whole_ms)
    assert found.looked_up == pytest.approx(1.0)
    assert found.outside == 0.0
    assert list(found.by_node) == [pytest.approx(kernel.ms) for kernel in one.kernels]


def test_a_module_s_name_makes_no_other_operator() -> None:
    one = measured(1)
    renamed = [kernel.node.__class__(**{**kernel.node.to_dict(), "module": "x"}) for kernel in one.kernels]
    assert Model([one]).predict(renamed).looked_up == pytest.approx(1.0)


def test_networks_that_were_left_out_are_predicted_from_the_others() -> None:
    rows = leave_one_out([measured(seed, noise=0.03) for seed in range(10)])
    assert len(rows) == 10
    assert errors_of(rows).median < 0.08
    assert errors_of(rows).within >= 0.9


def test_a_left_out_network_is_left_out_in_every_size() -> None:
    small, large, other = measured(1), measured(2), measured(3)
    twins = [
        Measured("net 3x96x96", small.kernels, small.whole_ms),
        Measured("net 3x224x224", small.kernels, small.whole_ms),
        Measured("other 3x224x224", other.kernels, other.whole_ms),
        Measured("third 3x224x224", large.kernels, large.whole_ms),
    ]
    found = {one.name: one for one in leave_one_out(twins)}
    assert found["net 3x96x96"].looked_up < 1.0


def test_what_lies_outside_of_the_measurements_is_said() -> None:
    few = [measured(seed) for seed in range(6)]
    usual = network(99)
    huge = [node.__class__(**{**node.to_dict(), "output": (1, node.output[1], 999, 999), "macs": 100 * node.macs})
            for node in usual]  # fmt: skip
    assert Model(few).predict(huge).outside > 0.9


def test_what_a_runtime_fuses_costs_nothing_and_what_it_adds_is_counted() -> None:
    nodes = network(5)
    kernels = kernels_of(nodes, row(nodes, "board"))
    assert [kernel.node for kernel in kernels] == list(nodes)
    assert {kernel.ms for kernel in kernels if kernel.node.kind == "activation"} == {0.0}
    first = row(nodes, "board")
    extra = first.operators[0].__class__(name="pad", kind="PAD", ms=1.0, node=0, own=True)
    padded = kernels_of(nodes, row(nodes, "board", operators=(extra, *first.operators)))
    assert padded[0].ms == pytest.approx(1.0 + time_of(nodes[0]))
    without = kernels_of(nodes, row(nodes, "board", operators=first.operators[1:]))
    assert nodes[0] not in [kernel.node for kernel in without]  # its time stands with another one: nothing is known


def test_points_and_windows_and_each_activation_are_families_of_their_own() -> None:
    nodes = network(1)
    assert {family(node) for node in nodes} == {"pointwise", "depthwise", "activation relu", "add add"}


def test_what_a_call_takes_is_learned_from_whole_inferences() -> None:
    one = measured(1)
    assert one.whole_ms == pytest.approx(CALL * sum(kernel.ms for kernel in one.kernels))
    slower = Measured(one.name, one.kernels, 2 * one.whole_ms)
    nodes = [kernel.node for kernel in one.kernels]
    assert Model([slower]).predict(nodes).ms == pytest.approx(2 * Model([one]).predict(nodes).ms)


def test_of_few_samples_the_costs_alone_are_fitted() -> None:
    def cost(node: Node) -> float:
        return node.macs / 5e7 + (prod(node.input) + prod(node.output)) / 1e7 + 0.01

    layers = [one.node for seed in (1, 2) for one in measured(seed).kernels if one.node.kind == "conv"]
    few = [Kernel(node, cost(node)) for node in layers[:7]]
    model = Model([Measured("few", tuple(few), sum(one.ms for one in few))])
    for node in layers[7:]:
        assert model.predict([node]).ms == pytest.approx(cost(node), rel=1e-6)


def test_errors_by_hand() -> None:
    errors = [0.02, -0.04, 0.1, -0.14, 0.3]
    rows = [Left("n", 1 + error, 1.0, 0.0, 0.0) for error in errors]
    found = errors_of(rows)
    assert (found.networks, found.within) == (5, 0.8)
    assert found.median == pytest.approx(0.1)
    assert found.p90 == found.worst == pytest.approx(0.3)
