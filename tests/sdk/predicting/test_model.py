"""Predictions against a made-up device whose times are a formula."""

from math import prod

import pytest

from runtime_py.manifest import Node
from sdk.predicting.kernels import Kernel, Operator, family, kernels_of, operators_of
from sdk.predicting.model import Measured, Model
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
    assert padded[0].ms == pytest.approx(1.0 + time_of(nodes[0]))
    without = kernels_of(nodes, row(nodes, "board", operators=first.operators[1:]))
    known = [kernel.operator.node for kernel in without]
    assert nodes[0] not in known  # its time stands with another one: nothing is known


def test_points_and_windows_and_each_activation_are_families_of_their_own() -> None:
    nodes = network(1)
    assert {family(one) for one in operators_of(nodes)} == {
        "pointwise", "depthwise", "activation relu behind a layer", "add add",
    }  # fmt: skip


def test_what_a_call_takes_is_learned_from_whole_inferences() -> None:
    one = measured(1)
    assert one.whole_ms == pytest.approx(CALL * sum(kernel.ms for kernel in one.kernels))
    slower = Measured(one.name, one.kernels, 2 * one.whole_ms)
    operators = [kernel.operator for kernel in one.kernels]
    assert Model([slower]).predict(operators).ms == pytest.approx(2 * Model([one]).predict(operators).ms)


def test_what_each_operator_adds_is_learned_apart_from_a_share_of_their_time() -> None:
    nets = [measured(seed) for seed in range(6)]
    sums = [sum(kernel.ms for kernel in one.kernels) for one in nets]
    runs = [sum(kernel.ms > 0 for kernel in one.kernels) for one in nets]
    dear = [Measured(one.name, one.kernels, 1.1 * ms + 0.02 * count)
            for one, ms, count in zip(nets, sums, runs, strict=True)]  # fmt: skip
    few = nets[0].kernels[:8]
    found = Model(dear).predict([kernel.operator for kernel in few])
    assert found.ms == pytest.approx(1.1 * sum(one.ms for one in few) + 0.02 * sum(one.ms > 0 for one in few), rel=1e-3)


def test_an_inference_never_takes_less_than_half_of_its_operators() -> None:
    nets = [measured(seed) for seed in range(6)]
    sums = [sum(kernel.ms for kernel in one.kernels) for one in nets]
    cheap = [Measured(one.name, one.kernels, max(ms - 0.05 * len(one.kernels), 0.6 * ms))
             for one, ms in zip(nets, sums, strict=True)]  # fmt: skip
    small = min((kernel for kernel in nets[0].kernels if kernel.ms > 0), key=lambda kernel: kernel.ms)
    assert Model(cheap).predict([small.operator]).ms == pytest.approx(0.5 * small.ms)


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
