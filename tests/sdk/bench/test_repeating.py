"""Starts of the agent, put together into one row."""

from collections.abc import Iterator
from itertools import count

import msgspec
import pytest

from devices.agent import Job, timing
from runtime_py.manifest import ProfileRow, Second
from sdk.bench.repeating import MOST, merged, repeating
from tests.sdk.bench.rows import answering, row_of, steady

JOB = Job("x.bundle", "onnx", 1, samples=1024, seconds=60.0, sustain_s=30.0, meter="auto")


def test_a_job_is_shared_out() -> None:
    seen: list[Job] = []
    lines = [msgspec.json.decode(line) for line in repeating(answering(steady, seen), 8)(JOB)]
    assert [(job.repeats, job.samples, job.seconds, job.keep_samples) for job in seen] == [(1, 128, 7.5, True)] * 8
    assert [(job.sustain_s, job.meter) for job in seen] == [(0.0, "")] * 7 + [(30.0, "auto")]
    shares = [line["progress"] for line in lines if "progress" in line]
    assert shares == [(at + 0.5) / 8 for at in range(8)]
    row = msgspec.convert(lines[-1]["row"], ProfileRow)
    assert row.repeats_p50_ms == (1.0,) * 8
    assert row.valid


def test_the_row_is_of_all_starts() -> None:
    given = [
        row_of([1.0 + 0.001 * at], load_ms=100.0 + at, first_ms=None, peak_rss_mb=50.0 + at,
               conditions={"celsius_start": f"{at}", "celsius_end": f"{at + 1}"})
        for at in range(3)
    ]  # fmt: skip
    last = msgspec.structs.replace(given[2], sustained=(Second(at_s=0.0, runs=1, p50_ms=1.0),), energy_mj=3.0)
    row = merged([*given[:2], last], 3)
    every = [value for one in given for part in one.samples_ms for value in part]
    assert row.infer == timing(every)
    assert row.repeats_p50_ms == (1.0, 1.001, 1.002)
    assert (row.load_ms, row.first_ms, row.peak_rss_mb) == (101.0, None, 52.0)
    assert row.conditions == {"celsius_start": "0", "celsius_end": "3"}
    assert (len(row.sustained), row.energy_mj, row.valid) == (1, 3.0, True)


def test_starts_that_differ_are_no_valid_row() -> None:
    """Each is sound by itself, and 6 % lie between them."""
    row = merged([row_of([1.0]), row_of([1.06]), row_of([1.01])], 3)
    assert not row.valid
    assert row.why == "the repeats' medians are 6% apart, over 5%"
    assert merged([row_of([1.0]), row_of([1.04])], 2).valid


def test_one_disturbed_start_is_a_disturbed_row() -> None:
    row = merged([row_of([1.0]), row_of([1.0], valid=False, why="other processes used 1.2 cores meanwhile")], 2)
    assert (row.valid, row.why) == (
        False, "1 of 2 starts were disturbed; the first: other processes used 1.2 cores meanwhile"
    )  # fmt: skip


def test_starts_while_the_processor_was_slow_are_made_again() -> None:
    """As the pulse says: not the times, which are equal here but for the one of full speed that was disturbed."""
    seen: list[Job] = []
    pulses = iter([20.0, 28.0, 19.0, 21.5, 20.5, 20.0])
    medians = iter([1.0, 1.0, 1.04, 1.0, 1.01, 1.02])
    launch = answering(lambda job: row_of([next(medians)], repeats_pulse_us=(next(pulses),)), seen)
    *_, line = repeating(launch, 4)(JOB)
    row = msgspec.convert(msgspec.json.decode(line)["row"], ProfileRow)
    assert row.repeats_pulse_us == (20.0, 19.0, 20.5, 20.0)
    assert row.repeats_p50_ms == (1.0, 1.04, 1.01, 1.02)
    assert row.conditions["starts_slowed"] == "2"
    assert row.valid
    assert len(seen) == 6


def test_a_processor_that_never_keeps_its_speed_is_not_waited_for() -> None:
    seen: list[Job] = []
    pulses = iter(20.0 * 1.15 ** (at % 4) for at in range(100))
    launch = answering(lambda job: row_of([1.0 + 0.1 * len(seen)], repeats_pulse_us=(next(pulses),)), seen)
    *_, line = repeating(launch, 8)(JOB)
    row = msgspec.convert(msgspec.json.decode(line)["row"], ProfileRow)
    assert len(seen) == len(row.repeats_p50_ms) == MOST * 8
    assert not row.valid
    assert row.conditions["starts_slowed"] == f"{MOST * 8 * 3 // 4}"


def test_a_sustained_run_is_made_once_whatever_becomes_of_its_start() -> None:
    pulses = iter([20.0, 28.0, 20.0])
    seconds = (Second(at_s=0.0, runs=1, p50_ms=1.0),)
    seen: list[Job] = []

    def told(job: Job) -> ProfileRow:
        return row_of([1.0], repeats_pulse_us=(next(pulses),), sustained=seconds if job.sustain_s else ())

    *_, line = repeating(answering(told, seen), 2)(JOB)
    assert [job.sustain_s for job in seen] == [0.0, 30.0, 0.0]
    row = msgspec.convert(msgspec.json.decode(line)["row"], ProfileRow)
    assert (row.sustained, row.repeats_pulse_us) == (seconds, (20.0, 20.0))


@pytest.mark.parametrize("said", [{"error": {"given": "no"}}, {"ended": -9, "said": "killed"}])
def test_the_first_start_that_fails_ends_it(said: dict[str, object]) -> None:
    seen: list[Job] = []
    number = count()
    launch = answering(lambda job: steady(job) if next(number) < 2 else said, seen)
    lines = list(repeating(launch, 8)(JOB))
    assert len(seen) == 3
    assert msgspec.json.decode(lines[-1]) == said


def test_an_agent_that_says_nothing() -> None:
    def silent(job: Job) -> Iterator[bytes]:
        return iter(())

    assert list(repeating(silent, 8)(JOB)) == []


def test_closing_it_closes_the_agent() -> None:
    closed: list[bool] = []

    def launch(job: Job) -> Iterator[bytes]:
        try:
            while True:
                yield msgspec.json.encode({"progress": 0.0})
        finally:
            closed.append(True)

    running = repeating(launch, 8)(JOB)
    next(running)
    running.close()  # type: ignore[attr-defined]
    assert closed == [True]
