import random

import pytest

from devices.meters.alignment import NotAligned, aligned, best_offset
from devices.meters.samples import Samples

BUSY = [(130.0, 181.0)]
RUN = (100.0, 181.0)


def logged(offset_s: float, start_s: float, end_s: float, period_s: float = 0.1, noise_w: float = 0.0) -> Samples:
    """The run as a logger saw it whose own time is the run's less `offset_s`."""
    chance = random.Random(7)
    times = [start_s + at * period_s for at in range(int((end_s - start_s) / period_s))]
    watts = [(5.0 if BUSY[0][0] <= time < BUSY[0][1] else 2.0) + chance.gauss(0, noise_w) for time in times]
    return Samples(tuple(time - offset_s for time in times), period_s, watts=tuple(watts), relative=True)


@pytest.mark.parametrize("offset_s", [0.0, 37.123, -12.5, 99.9])
@pytest.mark.parametrize("noise_w", [0.0, 1.0])
def test_the_offset_is_found(offset_s: float, noise_w: float) -> None:
    found, correlation = best_offset(logged(offset_s, 90.0, 185.0, noise_w=noise_w), BUSY, RUN)
    assert found == pytest.approx(offset_s, abs=0.1)  # one period of the logger
    assert correlation > (0.99 if noise_w == 0 else 0.7)


def test_a_slow_logger_is_aligned_to_its_period() -> None:
    found, _ = best_offset(logged(20.0, 60.0, 240.0, period_s=1.0), BUSY, RUN)
    assert found == pytest.approx(20.0, abs=1.0)


def test_a_long_log_before_the_run_does_not_mislead() -> None:
    found, _ = best_offset(logged(-1000.0, -2000.0, 185.0), BUSY, RUN)
    assert found == pytest.approx(-1000.0, abs=0.1)


def test_a_counter_is_aligned_too() -> None:
    samples = logged(20.0, 90.0, 190.0)
    joules, total = [], 0.0
    for watt in samples.watts or ():
        joules.append(total)
        total += watt * 0.1
    counted = Samples(samples.times_s, 0.1, joules=tuple(joules), relative=True)
    moved = aligned(counted, BUSY, RUN)
    assert moved.times_s[0] == pytest.approx(90.0, abs=0.1)
    assert not moved.relative
    assert "correlation" in moved.notes[0]


def test_another_log_is_refused() -> None:
    chance = random.Random(1)
    times = tuple(at * 0.1 for at in range(1000))
    samples = Samples(times, 0.1, watts=tuple(2 + chance.random() for _ in times), relative=True)
    with pytest.raises(NotAligned, match="does not show when the run was busy"):
        best_offset(samples, BUSY, RUN)


def test_a_board_that_worked_when_it_should_idle_is_refused() -> None:
    samples = logged(20.0, 90.0, 185.0)
    upside_down = Samples(samples.times_s, 0.1, watts=tuple(7 - watt for watt in samples.watts or ()), relative=True)
    with pytest.raises(NotAligned):
        best_offset(upside_down, BUSY, RUN)


def test_a_log_that_is_shorter_than_the_run_is_refused() -> None:
    with pytest.raises(NotAligned, match=r"the log is 49\.9 s long, the run 81 s"):
        best_offset(logged(0.0, 110.0, 160.0), BUSY, RUN)
    flat = Samples((0.0, 200.0), 0.1, watts=(2.0, 2.0), relative=True)
    with pytest.raises(NotAligned, match=r"correlation 0\.00"):
        best_offset(flat, BUSY, RUN)
