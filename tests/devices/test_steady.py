"""Which runs count, by a pulse and a clock that are made up."""

from collections.abc import Iterator

import pytest

from devices import steady as module
from devices.steady import LEAST_RUNS, PATIENCE, Pulse, middle, steady


class Told(Pulse):
    """Reads what it is told, and then 10 us for good."""

    def __init__(self, pulses: list[float]) -> None:
        super().__init__()
        self.told: Iterator[float] = iter(pulses)

    def read_us(self) -> float:
        found = next(self.told, 10.0)
        self.least_us = min(self.least_us, found)
        return found


def pulses_of(
    monkeypatch: pytest.MonkeyPatch, told: list[float], most: int, seconds: float, run_s: float = 0.1
) -> tuple[list[float], Pulse]:
    """Of runs of `run_s` each."""
    now = [0.0]

    def call() -> None:
        now[0] += run_s

    monkeypatch.setattr(module, "PULSE", Told(told))
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return steady(call, most, seconds), module.PULSE


def test_on_a_quiet_machine_all_runs_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pulses_of(monkeypatch, [], 25, 1e9)[0] == [10.0] * 25
    assert pulses_of(monkeypatch, [], 1000, 2.05)[0] == [10.0] * 21
    found, pulse = pulses_of(monkeypatch, [], 1000, 0.0)
    assert found == [10.0] * LEAST_RUNS
    assert pulse.sound


def test_a_run_between_two_speeds_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    found, pulse = pulses_of(monkeypatch, [10.4, 10.0, 14.0, 14.0, 10.0, 10.0, 12.0], 13, 1e9)
    assert found == [10.2, 0.0, 14.0, 0.0, 10.0, 0.0, 0.0, *[10.0] * 10]
    assert pulse.sound


def test_a_steady_speed_is_waited_for_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """It changes at every run: those with the most alike pulses count, and it is known that they should not."""
    told = [10.0, 10.0, 10.0, *[14.0, 20.0, 10.0] * 100]
    found, pulse = pulses_of(monkeypatch, told, 1000, 1.0)
    assert len(found) == PATIENCE * 10
    assert found[:5] == [10.0, 10.0, 12.0, 0.0, 0.0]  # from 10 to 14, but not from 14 to 20
    assert sum(map(bool, found)) >= LEAST_RUNS
    assert not pulse.sound
    assert len(pulses_of(monkeypatch, told, 20, 1e9)[0]) == PATIENCE * 20


def test_a_real_pulse_is_short() -> None:
    pulse = Pulse()
    found = sorted(pulse.read_us() for _ in range(50))
    assert pulse.least_us == found[0]
    assert 0.5 < found[0] < 5000


def test_the_middle_half_is_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PULSE", Told([]))
    steadily = [module.PULSE.read_us()] * 8
    assert middle([5.0], steadily[:1]) == 5.0
    assert middle([1.0, 2.0, 3.0, 1000.0], steadily[:4]) == 2.5
    assert middle([900.0, 4.0, 1.0, 3.0, 2.0, 5.0, 0.0, 6.0], steadily) == 3.5


def test_runs_are_put_at_the_least_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PULSE", Told([]))
    assert module.PULSE.read_us() == 10.0
    assert middle([7.0, 3.0, 900.0, 2.0], [0.0, 15.0, 0.0, 10.0]) == pytest.approx(2.0)


def test_a_call_is_put_at_the_least_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second each, and as long again while the processor is half as fast."""
    now, told = [0.0], [10.0] * 6 + [20.0] * 6
    pulse = Told(list(told))
    monkeypatch.setattr(module, "PULSE", pulse)
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        now[0] += 0.5 if len(calls) < 6 else 1.0

    assert module.undisturbed_ms(call, seconds=5.0) == pytest.approx(500.0)
