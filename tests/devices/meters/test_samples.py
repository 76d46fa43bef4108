from itertools import accumulate, pairwise
from math import cos, pi, sin

import pytest

from devices.meters.samples import FEWEST, MeterFailed, Samples, WindowRefused, energy_j, trapezoid


def irregular(start_s: float, end_s: float, period_s: float = 0.1) -> tuple[float, ...]:
    count = round((end_s - start_s) / period_s)
    return tuple(start_s + period_s * (at + (0.0, 0.3, -0.3, 0.1)[at % 4]) for at in range(1, count))


def test_the_trapezoid_is_exact_under_straight_lines() -> None:
    assert trapezoid((0.0, 1.0, 4.0), (0.0, 2.0, 8.0)) == pytest.approx(16.0)  # ∫ 2t dt from 0 to 4


def test_energy_of_irregular_samples_of_a_sine_is_its_closed_form() -> None:
    times = irregular(0.0, 12.0)
    samples = Samples(times, 0.1, watts=tuple(3 + sin(2 * pi * 0.3 * time) for time in times))
    exact = 3 * 10 + (cos(2 * pi * 0.3) - cos(2 * pi * 0.3 * 11)) / (2 * pi * 0.3)
    assert energy_j(samples, 1.0, 11.0) == pytest.approx(exact, rel=1e-3)  # the trapezoid's error at a tenth second


def test_what_lies_outside_a_window_does_not_leak_into_it() -> None:
    times = tuple(at / 10 for at in range(300))
    samples = Samples(times, 0.1, watts=tuple(5.0 if 10 <= time <= 20 else 1.0 for time in times))
    assert energy_j(samples, 9.98, 20.03) == pytest.approx(5 * 10.05)
    assert energy_j(samples, 10.0, 20.0) == pytest.approx(50.0)


def test_a_gap_is_refused_and_named() -> None:
    times = tuple(at / 10 for at in range(200) if not 42 <= at < 65)
    samples = Samples(times, 0.1, watts=(2.0,) * len(times))
    with pytest.raises(WindowRefused, match=r"no sample for 2\.4 s, 3\.1 s into the window"):
        energy_j(samples, 1.0, 11.0)
    assert energy_j(samples, 7.0, 17.0) == pytest.approx(20.0)


@pytest.mark.parametrize(("start_s", "end_s"), [(-5.0, 5.0), (15.0, 25.0), (30.0, 40.0)])
def test_a_window_that_the_samples_do_not_cover_is_refused(start_s: float, end_s: float) -> None:
    times = tuple(at / 10 for at in range(200))
    with pytest.raises(WindowRefused, match="no sample for"):
        energy_j(Samples(times, 0.1, watts=(2.0,) * 200), start_s, end_s)


def test_too_few_samples_are_refused() -> None:
    times = tuple(float(at) for at in range(FEWEST - 1))
    with pytest.raises(WindowRefused, match="9 samples"):
        energy_j(Samples(times, 1.0, watts=(2.0,) * len(times)), 0.0, 8.0)


def test_a_change_of_sign_is_refused_and_noise_around_zero_is_not() -> None:
    times = tuple(at / 10 for at in range(100))
    with pytest.raises(WindowRefused, match=r"the sign changes: power goes from -1 to 2 W"):
        energy_j(Samples(times, 0.1, watts=(2.0,) * 50 + (-1.0,) * 50), 0.0, 9.9)
    with pytest.raises(WindowRefused, match="negative") as caught:
        energy_j(Samples(times, 0.1, watts=(-2.0,) * 100), 0.0, 9.9)
    assert "wires" in caught.value.hint
    assert energy_j(Samples(times, 0.1, watts=(2.0,) * 99 + (-0.01,)), 0.0, 9.9) == pytest.approx(19.8, rel=0.01)


def test_a_counter_that_moves_now_and_then_gives_its_mean_power() -> None:
    times = tuple(at / 10 for at in range(400))
    seen = tuple(3.0 * (at // 7 * 7) / 10 for at in range(400))  # renewed each 0.7 s, read each 0.1 s
    assert energy_j(Samples(times, 0.1, joules=seen), 10.05, 20.05) == pytest.approx(30.0, rel=1e-9)


def test_a_counter_that_moves_too_seldom_or_goes_back_is_refused() -> None:
    times = tuple(at / 10 for at in range(200))
    slow = tuple(3.0 * (at // 20 * 20) / 10 for at in range(200))
    with pytest.raises(WindowRefused, match="the counter moved 5 times in 10 s"):
        energy_j(Samples(times, 0.1, joules=slow), 1.0, 11.0)
    reset = tuple(float(at if at < 50 else at - 50) for at in range(200))
    with pytest.raises(WindowRefused, match="went back by 49 J"):
        energy_j(Samples(times, 0.1, joules=reset), 1.0, 11.0)


def test_watts_and_their_counter_agree() -> None:
    times = tuple(at / 10 for at in range(200))
    watts = tuple(2 + sin(time) for time in times)
    steps = ((p0 + p1) / 2 * (t1 - t0) for (t0, t1), (p0, p1) in zip(pairwise(times), pairwise(watts), strict=True))
    joules = tuple(accumulate(steps, initial=0.0))
    by_watts = energy_j(Samples(times, 0.1, watts=watts), 2.0, 12.0)
    assert energy_j(Samples(times, 0.1, joules=joules), 2.0, 12.0) == pytest.approx(by_watts, rel=1e-2)


def test_faults_refuse_every_window() -> None:
    times = tuple(at / 10 for at in range(200))
    samples = Samples(times, 0.1, watts=(2.0,) * 200, faults=("tegrastats ended by itself, with 1",))
    with pytest.raises(WindowRefused, match="ended by itself"):
        energy_j(samples, 1.0, 11.0)
    with pytest.raises(WindowRefused, match="not aligned"):
        energy_j(Samples(times, 0.1, watts=(2.0,) * 200, relative=True), 1.0, 11.0)


def test_samples_are_one_thing_and_complete() -> None:
    with pytest.raises(MeterFailed, match="neither"):
        Samples((0.0,), 0.1)
    with pytest.raises(MeterFailed, match="both"):
        Samples((0.0,), 0.1, watts=(1.0,), joules=(1.0,))
    with pytest.raises(MeterFailed, match="2 values for 1 times"):
        Samples((0.0,), 0.1, watts=(1.0, 2.0))
