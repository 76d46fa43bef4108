"""ONNX Runtime's profile: a list of events written by hand, and a real file's."""

from typing import Any

import numpy as np
import pytest

from devices.operators import CUT_OFF_MS
from devices.operators.onnx import LINKS, WARM_UP, chain, read, timed, written_ms
from devices.steady import PULSE
from tests.devices.operators.tiny import Made, all_layers, lowered


def event(
    name: str,
    kind: str,
    index: str,
    us: int,
    given: list[Any],
    made: list[Any],
) -> dict[str, Any]:
    args = {"op_name": kind, "node_index": index, "input_type_shape": given, "output_type_shape": made}
    return {"cat": "Node", "name": f"{name}_kernel_time", "dur": us, "ts": 0, "args": args}


@pytest.fixture(autouse=True)
def a_pulse() -> None:
    PULSE.read_us()


IMAGE, SMALL = {"float": [1, 3, 8, 8]}, {"float": [1, 16, 4, 4]}
WEIGHT, BIAS = {"float": [16, 3, 3, 3]}, {"float": [16]}


def test_events_are_grouped_by_operator_in_the_order_of_the_first_run() -> None:
    events: list[dict[str, Any]] = [{"cat": "Session", "name": "model_loading", "dur": 9, "args": {}}]
    for run in range(WARM_UP + 4):
        slow = 1000 if run < WARM_UP else 0  # the first runs are left out
        events.append(event("conv", "Conv", "7", 40 + 2 * run + slow, [IMAGE, WEIGHT, BIAS], [SMALL]))
        events.append(event("conv", "Conv", "7", 1, [], []) | {"name": "conv_fence_before"})
        events.append(event("add", "Add", "2", 5, [SMALL, SMALL], [SMALL]))
    conv, add = read(events, [0.0] * WARM_UP + [PULSE.least_us] * 4, 0.0)
    assert (conv.name, conv.kind, conv.weights, conv.output) == ("conv", "Conv", 16 * 27, 256)
    assert conv.ms == pytest.approx((48 + 50) / 2 / 1000 + CUT_OFF_MS)  # the middle two of 46, 48, 50, 52
    assert (add.name, add.kind, add.weights, add.output) == ("add", "Add", None, 256)
    assert add.ms == pytest.approx(0.005 + CUT_OFF_MS)
    assert not conv.integers


def test_a_single_run_pulses() -> None:
    (one,) = read([event("conv", "Conv", "0", 8, [IMAGE, WEIGHT], [SMALL])], [PULSE.least_us], 0.0)
    assert one.ms == pytest.approx(0.008 + CUT_OFF_MS)


BYTE, SCALE, WHOLE = {"uint8": [1, 16, 4, 4]}, {"float": []}, {"int8": [16, 16, 1, 1]}


@pytest.mark.parametrize(
    ("kind", "given", "weights", "integers"),
    [
        ("QLinearConv", [BYTE, SCALE, BYTE, WHOLE, BIAS, SCALE, SCALE, SCALE, BIAS], 256, True),
        ("QLinearConv", [BYTE, SCALE, BYTE, BIAS, SCALE, SCALE, SCALE, BIAS], None, True),  # packed, so not listed
        ("Gemm", [{"float": [1, 16]}, {"float": [16, 10]}, {"float": [10]}], 160, False),
        ("Gemm", [{"float": [1, 16]}, {"float": [10]}], None, False),  # packed: the second is the bias
        ("MatMul", [{"float": [1, 16]}], None, False),
        ("MatMulIntegerToFloat", [{"uint8": [1, 16]}, {"int8": [16, 10]}, SCALE, SCALE], 160, True),
        ("DynamicQuantizeMatMul", [{"float": [1, 16]}, {"int8": [16, 10]}, SCALE], 160, True),
        ("Relu", [IMAGE], None, False),
    ],
)
def test_weights_are_told_where_they_are_listed(
    kind: str, given: list[Any], weights: int | None, integers: bool
) -> None:
    (one,) = read([event("x", kind, "0", 8, given, [SMALL])], [PULSE.least_us], 0.0)
    assert (one.weights, one.integers) == (weights, integers)


def test_without_shapes_nothing_is_made_up() -> None:
    event = {"cat": "Node", "name": "x_kernel_time", "dur": 3, "args": {"op_name": "Conv", "node_index": "0"}}
    (one,) = read([event], [PULSE.least_us], 0.0)
    assert (one.weights, one.output) == (None, None)


def test_what_writing_the_profile_takes_is_no_part_of_an_operator() -> None:
    events = [event("conv", "Conv", "0", 8, [IMAGE, WEIGHT], [SMALL]), event("add", "Add", "1", 2, [SMALL], [SMALL])]
    conv, add = read(events, [PULSE.least_us], 0.003)
    assert conv.ms == pytest.approx(0.005 + CUT_OFF_MS)
    assert add.ms == CUT_OFF_MS


def test_the_chain_is_what_onnx_s_own_package_reads() -> None:
    onnx = pytest.importorskip("onnx", reason="ONNX is not installed here")
    model = onnx.load_from_string(chain())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Add"] * LINKS
    from onnx.reference import ReferenceEvaluator

    (made,) = ReferenceEvaluator(model).run(None, {"x0": np.zeros(1, np.float32), "one": np.ones(1, np.float32)})
    assert made == [LINKS]


def test_writing_a_profile_takes_microseconds() -> None:
    assert 0.0 < written_ms(1) < 0.2


@pytest.fixture(scope="module", params=["fp32", "w8a8"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return lowered(tmp_path_factory.mktemp("onnx"), "onnx", request.param)


def test_every_layer_of_a_real_file_is_found(made: Made) -> None:
    found = timed(made.bundle, made.artifact, 1, made.inputs)
    all_layers(made, found)
    assert len({one.name for one in found}) == len(found)  # a run more is no operator more
    layers = [one for one in found if "Conv" in one.kind]
    assert {one.integers for one in layers} == {made.artifact.precision == "w8a8"}
