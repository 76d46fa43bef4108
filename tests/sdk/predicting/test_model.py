"""Predictions against a made-up device whose times are a formula."""

from math import prod

import pytest

from runtime_py.manifest import Node
from sdk.predicting.kernels import Kernel, Operator, family, kernels_of, operators_of
from sdk.predicting.model import CACHED, Measured, Model
from sdk.predicting.testing import Left, errors_of, leave_one_out
from tests.sdk.predicting.nets import CALL, measured, network, row, time_of


def test_operators_that_were_measured_are_looked_up() -> None:
    one = measured(1)
    found = Model([one]).predict([kernel.operator for kernel in one.kernels])
    assert found.ms == pytest.approx(one.whole_ms)
    assert found.looked_up == pytest.approx(1.0)
    assert found.outside == 0.0
    assert list(found.by_node) == [pytest.approx(kernel.ms) for kernel in one.kernels]


def test_a_module_s_name_makes_no_other_operator() -> None:
    one = measured(1)
    renamed = [
        kernel.operator.node.__class__(**{**kernel.operator.node.to_dict(), "module": "x"}) for kernel in one.kernels
    ]
    assert Model([one]).predict(operators_of(renamed)).looked_up == pytest.approx(1.0)


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
    assert Model(few).predict(operators_of(huge)).outside > 0.9


def test_what_a_runtime_fuses_costs_nothing_and_what_it_adds_is_counted() -> None:
    nodes = network(5)
    kernels = kernels_of(nodes, row(nodes, "board"))
    assert [kernel.operator.node for kernel in kernels] == list(nodes)
    assert {kernel.ms for kernel in kernels if kernel.operator.node.kind == "activation"} == {0.0}
    first = row(nodes, "board")
    extra = first.operators[0].__class__(name="pad", kind="PAD", ms=1.0, node=0, own=True)
    padded = kernels_of(nodes, row(nodes, "board", operators=(extra, *first.operators)))
    total = sum(map(time_of, nodes))  # of which the whole is CALL times as much
    assert padded[0].ms == pytest.approx(CALL * total * (1.0 + time_of(nodes[0])) / (1.0 + total))
    without = kernels_of(nodes, row(nodes, "board", operators=first.operators[1:]))
    known = [kernel.operator.node for kernel in without]
    assert nodes[0] not in known  # its time stands with another one: nothing is known


def test_points_and_windows_and_each_activation_are_families_of_their_own() -> None:
    nodes = network(1)
    assert {family(one) for one in operators_of(nodes)} == {
        "pointwise", "depthwise", "activation relu behind a layer", "add add",
    }  # fmt: skip


def test_the_whole_inference_is_shared_out_to_its_operators() -> None:
    """As LiteRT's, each timed alone, and ONNX Runtime's, with what its profile adds, are more than it."""
    nodes = network(5)
    for whole_ms in (0.8, 2.0):
        kernels = kernels_of(nodes, row(nodes, "board", whole_ms=whole_ms))
        assert sum(kernel.ms for kernel in kernels) == pytest.approx(whole_ms)
        part = whole_ms / sum(map(time_of, nodes))
        assert [kernel.ms for kernel in kernels] == [pytest.approx(part * time_of(node)) for node in nodes]


def test_an_operator_takes_longer_in_a_network_that_no_cache_keeps() -> None:
    """Measured in a small one and predicted in a large one, it is not just looked up: how it differs from others is."""
    odd = 1.3

    def cost(node: Node, touched: int) -> float:
        return node.macs / 5e7 + node.weights * touched / (touched + CACHED) / 1e4 + 0.01

    layers = [one for one in network(1) if one.kind == "conv"][:7]
    places = [Operator(node, touched=10**power) for power, node in enumerate(layers, start=3)]
    kernels = [Kernel(one, cost(one.node, one.touched)) for one in places]
    ordinary = Model([Measured("few", tuple(kernels), 1.0)])
    small, large = kernels[0], Operator(layers[0], touched=10**9)
    assert ordinary.predict([large]).ms == pytest.approx(cost(layers[0], 10**9), rel=1e-6)
    assert ordinary.predict([large]).ms > 1.5 * small.ms
    again = Kernel(small.operator, odd * small.ms)
    model = Model([Measured("few", (*kernels, again, again), 1.0)])
    found = [model.predict([one]) for one in (small.operator, large)]
    assert found[0].ms == pytest.approx(odd * small.ms)
    assert found[0].looked_up == found[1].looked_up == 1.0
    assert found[1].ms > 1.5 * found[0].ms


def test_what_comes_right_behind_a_layer_is_of_another_family_than_what_does_not() -> None:
    layer, norm, add, cat = (
        Node(module=name, kind=kind, operator=name, input=(1, 8, 4, 4), output=(1, 8, 4, 4))
        for name, kind in (("conv2d", "depthwise"), ("batch_norm", "norm"), ("add", "add"), ("cat", "join"))
    )
    found = operators_of([layer, norm, add, cat, add, norm, add])
    assert [one.behind for one in found] == [False, True, True, False, False, False, False]
    assert family(found[2]) == "add add behind a layer"
    assert family(found[4]) == family(found[6]) == "add add"


def test_of_few_samples_the_costs_alone_are_fitted() -> None:
    def cost(node: Node) -> float:
        return node.macs / 5e7 + (prod(node.input) + prod(node.output)) / 1e7 + 0.01

    layers = [one for seed in (1, 2) for one in network(seed) if one.kind == "conv"]
    few = [Kernel(Operator(node), cost(node)) for node in layers[:7]]
    model = Model([Measured("few", tuple(few), sum(one.ms for one in few))])
    for node in layers[7:]:
        assert model.predict([Operator(node)]).ms == pytest.approx(cost(node), rel=1e-6)


def test_errors_by_hand() -> None:
    errors = [0.02, -0.04, 0.1, -0.14, 0.3]
    rows = [Left("n", 1 + error, 1.0, 0.0, 0.0) for error in errors]
    found = errors_of(rows)
    assert (found.networks, found.within) == (5, 0.8)
    assert found.median == pytest.approx(0.1)
    assert found.p90 == found.worst == pytest.approx(0.3)
