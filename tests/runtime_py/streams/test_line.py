"""Jobs in a line of three stages: in order, one at a time at each stage, on one thread where none waits."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from runtime_py.streams.line import Closed, Line

STAGES, PATIENCE_S = 3, 30


@contextmanager
def working(line: Line[int], do: Callable[[int, int], int | None]) -> Iterator[None]:
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


def test_a_job_behind_which_none_waits_stays_on_its_thread() -> None:
    seen: list[tuple[int, int, int]] = []

    def do(stage: int, job: int) -> int:
        seen.append((job, stage, threading.get_ident()))
        return job

    line: Line[int] = Line([2] * 4)
    with working(line, do):
        for job in range(50):
            line.put(job)
            assert line.get(PATIENCE_S) == job
    assert [(job, stage) for job, stage, _ in seen] == [(job, stage) for job in range(50) for stage in range(STAGES)]
    assert all(len({thread for job, _, thread in seen if job == one}) == 1 for one in range(50))


def test_jobs_that_wait_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(STAGES)

    def do(stage: int, job: int) -> int:
        if stage + job == STAGES - 1:  # job 0 at the last stage, 1 at the middle one, 2 at the first
            together.wait(PATIENCE_S)
        return job

    line: Line[int] = Line([STAGES] * 4)
    with working(line, do):
        for job in range(STAGES):
            line.put(job)
        assert [line.get(PATIENCE_S) for _ in range(STAGES)] == list(range(STAGES))
    assert not together.broken


@pytest.mark.parametrize("size", [1, 2, 5])
def test_all_come_out_in_order_and_none_meets_another_at_a_stage(size: int) -> None:
    at_stage = [threading.Lock() for _ in range(STAGES)]
    rng = random.Random(0)

    def do(stage: int, job: int) -> int | None:
        assert at_stage[stage].acquire(blocking=False)
        if rng.random() < 0.3:
            time.sleep(rng.random() * 1e-3)
        at_stage[stage].release()
        return None if stage == 1 and job % 10 == 7 else job

    line: Line[int] = Line([size] * 4)

    def give() -> None:
        for job in range(1000):
            line.put(job)
        line.end()

    with working(line, do):
        giver = threading.Thread(target=give, daemon=True)
        giver.start()
        wanted = [job for job in range(1000) if job % 10 != 7]
        assert [line.get(PATIENCE_S) for _ in wanted] == wanted
        with pytest.raises(EOFError):
            line.get(PATIENCE_S)
        giver.join(PATIENCE_S)


def test_no_more_wait_than_there_is_room_for() -> None:
    free = threading.Event()
    begun: list[int] = []

    def do(stage: int, job: int) -> int:
        begun.append(job)
        assert free.wait(PATIENCE_S)
        return job

    line: Line[int] = Line([2] * 4)
    with working(line, do):
        line.put(0)
        while not begun:
            time.sleep(0.001)
        dropped = [line.put_newest(job) for job in range(1, 6)]
        assert dropped == [0, 0, 1, 1, 1]
        free.set()
        assert [line.get(PATIENCE_S) for _ in range(3)] == [0, 4, 5]
        assert line.get(0.01) is None


def test_every_wait_ends_when_it_is_closed() -> None:
    line: Line[int] = Line([1] * 4)
    ended: list[str] = []

    def waiting(name: str, call: Callable[[], object]) -> threading.Thread:
        def wait() -> None:
            with pytest.raises(Closed):
                call()
            ended.append(name)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread

    line.put(0)  # nobody works: there is no more room
    threads = [waiting("put", lambda: line.put(1)), waiting("get", line.get)]
    line.close()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(ended) == ["get", "put"]
    with pytest.raises(Closed):
        line.put_newest(2)
