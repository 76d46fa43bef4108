"""Stages in a row, and jobs that any free thread carries through them, in order."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Taken = tuple[int, Item | None]
"""A stage, and the job to do there; the first stage makes its jobs itself."""


class Closed(Exception):
    """The line was closed: there is nothing more to take."""


class Line(Generic[Item]):
    """The first stage makes jobs, and at most `sizes[n]` of them wait behind the stage n.

    At a stage one thread works at a time, on the oldest job, and only when there is room behind it for the result.
    A thread behind which nothing waits carries its job on into the next stage: no other thread has to be woken, which
    can take as long as a small stage, and the job's pixels are in this core's caches. Where something waits, it stays,
    and leaves the job to others. So jobs that come one by one are done soonest, and many at once overlap.
    With `trim` the first stage waits for no room: `trim` takes out of what waits behind it what is too much.
    """

    def __init__(self, sizes: Sequence[int], trim: Callable[[deque[Item]], None] | None = None) -> None:
        self._sizes, self._trim = tuple(sizes), trim
        self._behind: list[deque[Item]] = [deque() for _ in sizes]
        self._busy = [False] * len(sizes)
        self._ended = self._closed = False
        self._lock = threading.RLock()  # the collector may close a forgotten stream while its thread is in here
        self._done = threading.Condition(self._lock)
        self._idle: list[threading.Condition] = []
        """What each thread that has nothing to do waits for; the last that came is the first to go, as it is warm."""

    def work(self, do: Callable[[int, Item | None], Item | None]) -> None:
        """What each thread runs, one a stage, until the end: `do(stage, job)` gives the job again.

        None from the first stage, which is given None, is the end; from a later one, that the job goes no further.
        """
        while (taken := self._next()) is not None:
            while taken is not None:
                stage, item = taken
                taken = self._onward(stage, do(stage, item))

    def get(self, timeout_s: float | None = None) -> Item | None:
        """The oldest that is done; None where none is within `timeout_s`. Raises Closed, or EOFError after the last."""
        found = self._behind[-1]
        with self._lock:
            self._done.wait_for(lambda: self._closed or found or self._over(), timeout_s)
            if self._closed:
                raise Closed
            if found:
                item = found.popleft()
                self._wake()
                return item
            if self._over():
                raise EOFError
        return None

    def close(self) -> None:
        """Drop everything, and let nobody wait."""
        with self._lock:
            self._closed = True
            for waiting in self._behind:
                waiting.clear()
            self._dismiss()

    def _next(self) -> Taken[Item] | None:
        """Wait for something to do; None at the end."""
        own = threading.Condition(self._lock)
        with self._lock:
            while (stage := self._ready()) is None and not (self._closed or self._over()):
                self._idle.append(own)
                own.wait()
            return self._begin(stage)

    def _onward(self, stage: int, made: Item | None) -> Taken[Item] | None:
        """After a stage: what this thread does next, if anything."""
        with self._lock:
            self._busy[stage] = False
            if made is None:
                self._ended = self._ended or stage == 0
            elif not self._closed:
                self._behind[stage].append(made)
                if stage == 0 and self._trim is not None:
                    self._trim(self._behind[0])
                if stage == len(self._busy) - 1:
                    self._done.notify()
            # there is always more to make, so who makes stays only where the job cannot go on
            order = (stage, stage + 1) if stage > 0 else (1,)
            return self._begin(next(filter(self._may_begin, order), self._ready()))

    # in what follows the lock is held

    def _begin(self, stage: int | None) -> Taken[Item] | None:
        """Take the oldest job that waits for a stage, and wake another thread where there is more to do."""
        taken: Taken[Item] | None = None
        if stage is not None:
            self._busy[stage] = True
            taken = stage, self._behind[stage - 1].popleft() if stage > 0 else None
        self._wake()
        return taken

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
        return next(filter(self._may_begin, reversed(range(len(self._busy)))), None)

    def _may_begin(self, stage: int) -> bool:
        if stage == len(self._busy) or self._busy[stage] or self._closed:
            return False
        if stage == 0:
            return not self._ended and (self._trim is not None or self._has_room(0))
        return bool(self._behind[stage - 1]) and self._has_room(stage)

    def _has_room(self, stage: int) -> bool:
        return len(self._behind[stage]) < self._sizes[stage]

    def _over(self) -> bool:
        """Whether all that was made is done."""
        return self._ended and not any(self._busy) and not any(self._behind[:-1])
