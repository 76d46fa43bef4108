"""Stages in a row, and jobs that any free thread carries through them, in order."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Closed(Exception):  # it ends a thread, and is no error
    """The line is gone: who meets this ends."""


class Line(Generic[Item]):
    """At most `sizes[n]` jobs wait before the stage n, and as many as the last of `sizes` behind them all.

    At a stage one thread works at a time, on the oldest job, and only when the next stage has room for the result.
    A thread behind which nothing waits carries its job on into the next stage: no other thread has to be woken, which
    can take as long as a small stage, and the job's pixels are in this core's caches. Where something waits, it stays,
    and hands the job over. So frames that come one by one are answered soonest, and many at once overlap.
    Every wait ends when `close` is called.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._sizes = tuple(sizes)
        self._queues: list[deque[Item]] = [deque() for _ in sizes]
        self._busy = [False] * (len(sizes) - 1)
        self._ended = self._closed = False
        self._lock = threading.Lock()
        self._room, self._done = threading.Condition(self._lock), threading.Condition(self._lock)
        self._idle: list[threading.Condition] = []
        """What each thread that has nothing to do waits for; the last that came is the first to go, as it is warm."""

    def put(self, item: Item) -> None:
        """Wait for room, then add. Raises Closed."""
        with self._lock:
            self._room.wait_for(lambda: self._closed or self._has_room(0))
            self._add(item)

    def put_newest(self, item: Item) -> int:
        """Add at once; the oldest that wait before the first stage make room. Returns how many. Raises Closed."""
        with self._lock:
            waiting, dropped = self._queues[0], 0
            while len(waiting) >= self._sizes[0]:
                waiting.popleft()
                dropped += 1
            self._add(item)
        return dropped

    def work(self, do: Callable[[int, Item], Item | None]) -> None:
        """What each thread runs, one a stage: `do(stage, job)` gives the job again, or None where it goes no further.

        Returns at the end.
        """
        while (taken := self._next()) is not None:
            while taken is not None:
                stage, item = taken
                taken = self._onward(stage, do(stage, item))

    def get(self, timeout_s: float | None = None) -> Item | None:
        """The oldest answer; None where none came within `timeout_s`. Raises Closed, or EOFError after the last."""
        answers = self._queues[-1]
        with self._lock:
            self._done.wait_for(lambda: self._closed or answers or self._over(), timeout_s)
            if self._closed:
                raise Closed
            if answers:
                item = answers.popleft()
                self._wake()
                return item
            if self._over():
                raise EOFError
        return None

    def end(self) -> None:
        """No more will be put; what is inside is still done and can be taken."""
        with self._lock:
            self._ended = True
            self._wake()

    def close(self) -> None:
        """Drop everything, and let nobody wait."""
        with self._lock:
            self._closed = True
            for queue in self._queues:
                queue.clear()
            self._room.notify_all()
            self._dismiss()

    # below, the lock is held, but by _next and _onward, which take it

    def _next(self) -> tuple[int, Item] | None:
        """Wait for something to do; None at the end."""
        own = threading.Condition(self._lock)
        with self._lock:
            while (stage := self._ready()) is None and not (self._closed or self._over()):
                self._idle.append(own)
                own.wait()
            return self._begin(stage)

    def _onward(self, stage: int, made: Item | None) -> tuple[int, Item] | None:
        """After a stage: what this thread does next, if anything."""
        with self._lock:
            if self._closed:
                return None
            self._busy[stage] = False
            ahead = stage + 1
            if made is not None:
                self._queues[ahead].append(made)
            if ahead == len(self._busy):
                self._done.notify()
            if self._may_begin(stage):  # something waits behind: it stays
                return self._begin(stage)
            return self._begin(ahead if self._may_begin(ahead) else self._ready())

    def _begin(self, stage: int | None) -> tuple[int, Item] | None:
        """Take the oldest job that waits before a stage, and tell whom that concerns."""
        taken = None
        if stage is not None:
            self._busy[stage] = True
            taken = stage, self._queues[stage].popleft()
            if stage == 0:
                self._room.notify()
        self._wake()
        return taken

    def _add(self, item: Item) -> None:
        if self._closed:
            raise Closed
        self._queues[0].append(item)
        self._wake()

    def _wake(self) -> None:
        """One more thread where there is work for it; it wakes the next. Everybody at the end."""
        if self._over():
            self._dismiss()
        elif self._idle and self._ready() is not None:
            self._idle.pop().notify()

    def _dismiss(self) -> None:
        self._done.notify_all()
        while self._idle:
            self._idle.pop().notify()

    def _ready(self) -> int | None:
        """The last stage that can begin: what is nearest to its end goes first."""
        return next((stage for stage in reversed(range(len(self._busy))) if self._may_begin(stage)), None)

    def _may_begin(self, stage: int) -> bool:
        if stage == len(self._busy):
            return False
        return bool(self._queues[stage]) and not self._busy[stage] and self._has_room(stage + 1)

    def _has_room(self, stage: int) -> bool:
        return len(self._queues[stage]) < self._sizes[stage]

    def _over(self) -> bool:
        """Whether all that was put has been done."""
        return self._ended and not any(self._busy) and not any(self._queues[:-1])
