"""OpenVINO's counters, read back from a real file."""

import pytest

from devices.operators import CUT_OFF_MS
from devices.operators.openvino import _later, timed
from tests.devices.operators.tiny import Made, all_layers, lowered, outputs_of


@pytest.fixture(scope="module", params=["fp32", "w8a8"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return lowered(tmp_path_factory.mktemp("openvino"), "openvino", request.param)


def test_every_layer_is_found_with_its_weights_and_output(made: Made) -> None:
    told = timed(made.bundle, made.artifact, 1, made.inputs)
    found = all_layers(made, told)
    outputs = outputs_of(made)
    for one, row in zip(told, found, strict=True):
        assert one.ms >= CUT_OFF_MS
        if row.macs:
            assert row.node is not None
            assert (one.weights, one.output) == (made.network[row.node].weights, outputs[row.module])
    convolutions = [one.integers for one in told if "Convolution" in one.kind]
    assert convolutions == [made.artifact.precision == "w8a8"] * 5


def test_the_first_runs_are_taken_out_of_a_mean_of_all() -> None:
    """Three runs of 1000, 10 and 10 ms, and seven more of 10."""
    assert _later(340.0, 3, 109.0, 10) == pytest.approx(10.0)
    assert _later(0.0, 3, 7.0, 10) == pytest.approx(10.0)
