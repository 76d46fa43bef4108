from collections.abc import Sequence

import pytest

from devices.meters import open_meter
from devices.meters.access import Access
from devices.meters.samples import MeterFailed
from tests.devices.meters.simulated import Board, text


def mac(board: Board, said: str, root: bool = True) -> Access:
    def run(command: Sequence[str]) -> str:
        assert list(command) == ["sudo", "-n", "true"]
        if not root:
            raise MeterFailed("sudo: a password is required")
        return ""

    return board.access(run=run, has=lambda program: True, follow=board.stream(1.0, said.splitlines))


def test_values_are_means_of_the_time_before_them() -> None:
    meter = open_meter("powermetrics", mac(Board(), text("powermetrics.txt")))
    assert meter.available() is None
    assert (meter.kind, meter.rail) == ("estimated", "CPU + GPU + ANE")  # by its own manual page
    meter.start()
    samples = meter.stop()
    assert samples.joules == (pytest.approx(1.172 * 1.00451), pytest.approx(1.172 * 1.00451 + 2.0))
    assert samples.times_s[1] - samples.times_s[0] == pytest.approx(1.0)


def test_a_missing_power_is_named_and_ends_the_count() -> None:
    board = Board()
    whole = text("powermetrics.txt")
    cut = "\n".join(line for line in whole.splitlines() if "Combined" not in line)
    access = mac(board, "")
    follow = board.stream(1.0, lambda: (whole if board.now_s < 503 else cut).splitlines())
    meter = open_meter("powermetrics", Access(access.root, access.run, None, follow, clock=board.clock, has=access.has))
    meter.start()
    board.advance(6.0)
    samples = meter.stop()
    assert max(samples.times_s) < 503
    assert "missing rails: Combined Power" in samples.notes[0]


def test_root_is_needed() -> None:
    meter = open_meter("powermetrics", mac(Board(), "", root=False))
    assert meter.available() == "powermetrics needs root: run `sudo -v` first"
    with pytest.raises(MeterFailed, match="needs root"):
        meter.start()
    assert open_meter("powermetrics", Board().access(has=lambda program: False)).available()
