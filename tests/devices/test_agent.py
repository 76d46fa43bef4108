"""The numbers of a run against numpy's, and what makes one invalid."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from devices import agent
from devices.agent import Moment, invalid, percentile, sampled, timing
from devices.meters.samples import Samples

QUIET = Moment(0.0, 0.0, 100.0, 0.0), Moment(60.0, 60.0, 160.0, 60.0)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100, 101, 1024])
def test_percentiles_are_the_nearest_rank(count: int) -> None:
    values = np.random.default_rng(count).exponential(5.0, count)
    found = timing(values.tolist())
    for name, rank in (("p50_ms", 50), ("p90_ms", 90), ("p99_ms", 99)):
        assert getattr(found, name) == np.percentile(values, rank, method="inverted_cdf")
    assert (found.min_ms, found.max_ms, found.samples) == (values.min(), values.max(), count)
    away = np.abs(values - found.p50_ms)
    assert found.mad_ms == np.percentile(away, 50, method="inverted_cdf")


def test_sampling_reaches_both_its_count_and_its_time() -> None:
    assert len(sampled(lambda: None, 50, 0.0, lambda share: None)) == 50
    assert sum(sampled(lambda: None, 5, 0.05, lambda share: None)) <= 1000
    assert len(sampled(lambda: None, 5, 0.05, lambda share: None)) > 50


def test_every_sample_is_kept() -> None:
    waits = iter([0.0, 0.02, 0.0, 0.0])
    found = sampled(lambda: agent.time.sleep(next(waits)), 4, 0.0, lambda share: None)
    assert max(found) >= 20.0


def test_a_quiet_run_is_valid() -> None:
    assert invalid([[1.0, 1.0], [1.02, 1.02], [1.04, 1.04]], *QUIET, {}, [20.0] * 3) == []


@pytest.mark.parametrize(
    ("parts", "after", "seen", "words"),
    [
        ([[1.0], [1.2]], QUIET[1], {}, "20% apart"),
        ([[1.0], [1.0]], Moment(60.0, 60.0, 220.0, 60.0), {}, "other processes used 1.0 cores"),
        ([[1.0], [1.0]], Moment(3660.0, 60.0, 160.0, 60.0), {}, "set by +3600.0 s"),
        ([[1.0], [1.0]], QUIET[1], {"throttled_end": "throttled"}, "the board says: throttled"),
    ],
)
def test_what_disturbs_a_run_is_named(
    parts: list[list[float]], after: Moment, seen: dict[str, str], words: str
) -> None:
    (why,) = invalid(parts, QUIET[0], after, seen, [20.0, 20.5])
    assert words in why


def test_a_processor_that_slowed_down_is_named_where_the_repeats_differ() -> None:
    (why,) = invalid([[1.0], [1.4]], *QUIET, {}, [20.0, 28.0])
    assert why.endswith("over 5% (the processor itself was up to 1.40 times slower meanwhile)")
    assert invalid([[1.0], [1.04]], *QUIET, {}, [20.0, 28.0]) == []


def test_a_raspberry_pi_s_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\necho throttled=0x50005\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert agent.throttling() == "under-voltage, throttled"
    program.write_text("#!/bin/sh\necho throttled=0x50000\n")
    assert agent.throttling() == ""  # it was, and is not now


def test_temperature_and_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "THERMAL", tmp_path / "thermal")
    monkeypatch.setattr(agent, "CPU", tmp_path / "cpu")
    assert "celsius_start" not in agent.conditions("start")
    for name, text in {
        "thermal/thermal_zone0/temp": "48550", "thermal/thermal_zone1/temp": "61200",
        "cpu/cpu0/cpufreq/scaling_cur_freq": "1500000", "cpu/cpu3/cpufreq/scaling_cur_freq": "2400000",
        "cpu/cpu0/cpufreq/scaling_governor": "ondemand",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    found = agent.conditions("start")
    assert (found["celsius_start"], found["mhz_start"], found["governor"]) == ("61.2", "2400", "ondemand")


def test_percentile_of_one() -> None:
    assert percentile([3.0], 99) == 3.0


class Rising:
    """A meter of ten values a second, whose power rises by one watt a second from two on."""

    began = 0.0

    def start(self) -> None:
        self.began = agent.time.monotonic()

    def stop(self) -> Samples:
        steps = int(10 * (agent.time.monotonic() - self.began)) + 20
        times = [self.began + step / 10 for step in range(steps)]
        return Samples(tuple(times), 0.1, watts=tuple(2 + time - self.began for time in times))


def test_a_sustained_run_has_its_power_second_by_second() -> None:
    found = agent.sustained(lambda: agent.time.sleep(0.01), 4.0, Rising())
    assert len(found) == 4
    for second in found:
        end_s = second.at_s + 1
        start_s = max(0.0, end_s - agent.WATTS_S)
        assert second.watts == pytest.approx(2 + (start_s + end_s) / 2, rel=0.01)


def test_a_logger_whose_clock_is_its_own_gives_a_sustained_run_no_power() -> None:
    class Logger(Rising):
        def stop(self) -> Samples:
            return replace(super().stop(), relative=True)

    assert [second.watts for second in agent.sustained(lambda: None, 1.0, Logger())] == [None]
