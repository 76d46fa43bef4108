"""Jobs in a line of four stages: in order, one at a time at each stage, on one thread where none waits."""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from runtime_py.streams.line import Closed, Line

STAGES, PATIENCE_S = 4, 30
Do = Callable[[int, int | None], int | None]


@contextmanager
def working(line: Line[int], do: Do) -> Iterator[None]:
    """A thread a stage, which have all ended afterwards."""
    threads = [threading.Thread(target=line.work, args=(do,), daemon=True) for _ in range(STAGES)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        line.close()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads)


def making(jobs: Iterator[int], later: Callable[[int, int], int | None] = lambda stage, job: job) -> Do:
    """The first stage takes jobs from an iterator; the others do `later`."""
    return lambda stage, job: next(jobs, None) if job is None else later(stage, job)


def test_a_job_behind_which_none_waits_stays_on_its_thread() -> None:
    seen: list[tuple[int, int, int]] = []
    free = threading.Semaphore(1)

    def one_at_a_time() -> Iterator[int]:
        for job in range(50):
            assert free.acquire(timeout=PATIENCE_S)
            seen.append((job, 0, threading.get_ident()))
            yield job

    def later(stage: int, job: int) -> int:
        seen.append((job, stage, threading.get_ident()))
        return job

    line: Line[int] = Line([2] * STAGES)
    with working(line, making(one_at_a_time(), later)):
        for job in range(50):
            assert line.get(PATIENCE_S) == job
            free.release()
    assert [(job, stage) for job, stage, _ in seen] == [(job, stage) for job in range(50) for stage in range(STAGES)]
    assert all(len({thread for job, _, thread in seen if job == one}) == 1 for one in range(50))


def test_jobs_that_wait_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(STAGES)

    def made() -> Iterator[int]:
        for job in range(STAGES):
            if job == STAGES - 1:
                together.wait(PATIENCE_S)
            yield job

    def later(stage: int, job: int) -> int:
        if stage + job == STAGES - 1:  # job 0 at the last stage, 1 at the one before, ... while the last is made
            together.wait(PATIENCE_S)
        return job

    line: Line[int] = Line([STAGES] * STAGES)
    with working(line, making(made(), later)):
        assert [line.get(PATIENCE_S) for _ in range(STAGES)] == list(range(STAGES))
    assert not together.broken


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_come_out_in_order_and_none_meets_another_at_a_stage(size: int) -> None:
    at_stage = [threading.Lock() for _ in range(STAGES)]
    rng, jobs = random.Random(0), iter(range(1000))

    def do(stage: int, job: int | None) -> int | None:
        assert at_stage[stage].acquire(blocking=False)
        made = next(jobs, None) if job is None else job
        if rng.random() < 0.3:
            time.sleep(rng.random() * 1e-3)
        at_stage[stage].release()
        return None if stage == 1 and job is not None and job % 10 == 7 else made

    line: Line[int] = Line([size] * STAGES)
    with working(line, do):
        wanted = [job for job in range(1000) if job % 10 != 7]
        assert [line.get(PATIENCE_S) for _ in wanted] == wanted
        with pytest.raises(EOFError):
            line.get(PATIENCE_S)


def test_nothing_is_made_without_room_for_it() -> None:
    made: list[int] = []

    def jobs() -> Iterator[int]:
        for job in range(1000):
            made.append(job)
            yield job

    line: Line[int] = Line([2] * STAGES)
    with working(line, making(jobs())):
        settled = -1
        while settled != len(made):
            settled = len(made)
            time.sleep(0.2)
        assert settled == 2 * STAGES  # nobody takes: all places are full
        assert [line.get(PATIENCE_S) for _ in range(100)] == list(range(100))


def test_what_is_too_much_is_trimmed_where_making_must_not_wait() -> None:
    free, all_made = threading.Event(), threading.Event()
    dropped: list[int] = []

    def trim(waiting: deque[int]) -> None:
        while len(waiting) > 2:
            dropped.append(waiting.popleft())

    def jobs() -> Iterator[int]:
        yield from range(10)
        all_made.set()

    def later(stage: int, job: int) -> int:
        assert free.wait(PATIENCE_S)
        return job

    line: Line[int] = Line([2, 1, 1, 1], trim)
    with working(line, making(jobs(), later)):
        assert all_made.wait(PATIENCE_S)
        assert line.get(0.01) is None
        free.set()
        kept = [line.get(PATIENCE_S) for _ in range(10 - len(dropped))]
        with pytest.raises(EOFError):
            line.get(PATIENCE_S)
    assert kept == [0, 8, 9]
    assert dropped == list(range(1, 8))


def test_every_wait_ends_when_it_is_closed() -> None:
    line: Line[int] = Line([1] * STAGES)
    ended = threading.Event()

    def wait() -> None:
        with pytest.raises(Closed):
            line.get()
        ended.set()

    taker = threading.Thread(target=wait, daemon=True)
    taker.start()
    stop = threading.Event()
    with working(line, lambda stage, job: None if not stop.wait(0.1) else job):
        line.close()
        stop.set()
        assert ended.wait(PATIENCE_S)
    taker.join(PATIENCE_S)
