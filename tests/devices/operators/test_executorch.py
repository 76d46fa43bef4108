"""ExecuTorch's own profile of a real file: XNNPACK's names, and no shapes."""

from types import SimpleNamespace
from typing import Any

import pytest

from devices.operators import CUT_OFF_MS, NotTimed, executorch
from devices.operators.executorch import INTEGERS, _ms, timed
from devices.steady import PULSE
from tests.devices.operators.tiny import Made, all_layers, lowered


@pytest.fixture(scope="module", params=["fp32", "w8a8"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return lowered(tmp_path_factory.mktemp("executorch"), "executorch", request.param)


@pytest.mark.slow
def test_every_layer_is_found_by_its_order_and_kind(made: Made) -> None:
    """XNNPACK runs the branch before what it is joined with."""
    told = timed(made.bundle, made.artifact, 1, made.inputs)
    found = all_layers(made, told)
    assert all((one.weights, one.output) == (None, None) for one in told)
    windows = [one for one in told if "IGEMM" in one.kind or "DWConv" in one.kind]
    assert [one.integers for one in windows] == [made.artifact.precision == "w8a8"] * 3
    kinds = {row.module: one.kind for one, row in zip(told, found, strict=True) if row.macs}
    assert "DWConv" in kinds["depth.0"]
    assert "IGEMM" in kinds["stem.0"]
    assert "IGEMM" in kinds["side"]
    assert all("IGEMM" not in kinds[name] for name in ("expand.0", "project", "head"))
    assert not any(" #" in one.kind for one in told)


def test_a_clock_of_whole_microseconds_is_not_taken_for_one_of_nanoseconds() -> None:
    def event(delegated: bool) -> Any:
        raw = [9.0, 9.0, 9.0, 0.004, 0.004, 0.004, 0.004]
        return SimpleNamespace(is_delegated_op=delegated, perf_data=SimpleNamespace(raw=raw))

    PULSE.read_us()
    pulses = [0.0] * 3 + [PULSE.least_us] * 4
    assert _ms(event(True), pulses) == pytest.approx(0.004 + CUT_OFF_MS)
    assert _ms(event(False), pulses) == pytest.approx(0.004)


@pytest.mark.parametrize(
    ("name", "integers"),
    [
        ("Convolution (NHWC, QC8) IGEMM #1", True),
        ("Fully Connected (NC, QS8, QC8W) GEMM #2", True),
        ("Fully Connected (NC, QD8, F32, QC8W) GEMM #1", True),  # rounded on the way in
        ("Fully Connected (NC, F32, QC8W) GEMM #1", False),  # weights alone
        ("Convolution (NHWC, F32) DWConv #1", False),
        ("mean.out", False),
    ],
)
def test_xnnpack_s_names_say_what_is_multiplied(name: str, integers: bool) -> None:
    assert (INTEGERS.search(name) is not None) == integers


@pytest.mark.slow
def test_a_build_without_a_profile_says_so(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def __init__(self, *given: Any, **named: Any) -> None:
            self.module = SimpleNamespace(has_etdump=lambda: False)

    monkeypatch.setattr(executorch, "ExecuTorch", Silent)
    with pytest.raises(NotTimed, match="no ETDump"):
        timed(made.bundle, made.artifact, 1, made.inputs)
