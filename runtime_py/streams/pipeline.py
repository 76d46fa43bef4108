"""The threads of a stream: any of them reads, prepares, infers or answers; queues between these are bounded.

Under the policy `all` nothing is read without room for it, so that a slow program stops the source. Under `latest`
reading never waits: a frame that nobody took yet gives way to a newer one, and no more than one waits before a later
stage, so that what a stage takes is as new as can be.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runtime_py.errors import SdkError
from runtime_py.preprocess import BadImage
from runtime_py.streams.answering import Steps
from runtime_py.streams.frames import Frame, Picture, SourceStalled, Stamps, StreamFailed
from runtime_py.streams.line import Closed, Line
from runtime_py.streams.reader import Options, Reader
from runtime_py.streams.sources import Source
from runtime_py.streams.stats import Meter

STAGES = ("decode", "prepare", "infer", "answer")
GRACE_S = 1.5
"""How long `close` waits for threads. One whose source blocks is left behind, and ends when the source returns."""
TICK_S = 0.1
"""How often a program that waits for an answer looks whether the source still gives any."""


@dataclass(eq=False)
class Job:
    """A frame on its way; `stamps` grows by one a stage, `value` is what the last one made."""

    index: int
    picture: Picture
    stamps: list[float]
    value: Any = None
    place: Any = None


Item = Job | StreamFailed
"""What is in the queues: an error travels behind the frames before it."""


class Pipeline:
    """Started by `start`, emptied by `take`, ended by `close`; knows nothing of who takes."""

    def __init__(self, source: Source, steps: Steps, options: Options) -> None:
        self.meter = Meter()
        self.reader = Reader(source, options, self.meter)
        self.closed = False
        self._timeout_s = options.timeout_s
        self._skips = options.on_error == "skip"
        self._steps: dict[str, Callable[[Job], Any]] = {
            "prepare": lambda job: steps.prepare(job.picture.pixels),
            "infer": lambda job: steps.infer(job.value),
            "answer": lambda job: steps.answer(job.value, job.place),
        }
        self._queue = options.queue
        latest = options.policy == "latest"
        later = 1 if latest else options.queue
        self._line: Line[Item] = Line((options.queue, later, later, later), self._drop_oldest if latest else None)
        self._frames = self.reader.frames()
        self._threads = [
            threading.Thread(target=self._work, name=f"stream-{number}", daemon=True)
            for number in range(1, len(STAGES) + 1)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def take(self) -> tuple[Frame, Any]:
        """The next answer. Raises StopIteration at the end, StreamFailed, or SourceStalled."""
        while True:
            try:
                item = self._line.get(TICK_S)
            except (EOFError, Closed):
                raise StopIteration from None
            if isinstance(item, StreamFailed):
                raise item
            if item is not None:
                return self._finish(item)
            self._watch()

    def drain(self) -> bool:
        """Stop reading; what was read is still answered. Waits for nothing; False where the stream is over already."""
        self.reader.stopping = True
        return not self.closed

    def close(self) -> None:
        """End all threads, at the latest after GRACE_S."""
        self.closed = self.reader.stopping = True
        self._line.close()
        deadline = time.monotonic() + GRACE_S
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _finish(self, job: Job) -> tuple[Frame, Any]:
        stamps = Stamps(*job.stamps)
        self.meter.answered(stamps.latency_s)
        picture = job.picture
        return Frame(picture.pixels, job.index, picture.time_s, stamps, picture.name), job.value

    def _watch(self) -> None:
        """While no answer comes: has the source been silent for too long, or is a drain complete?"""
        with self.meter.lock:
            nothing_left = self.reader.stopping and self.meter.in_flight() == 0
        if nothing_left:
            raise StopIteration
        since, source = self.reader.waiting_since, self.reader.source
        if self._timeout_s is None or since is None:
            return
        # a network source ends its own waits: to connect, to look at the stream, to read
        patience_s = self._timeout_s * (3 if source.timed else 1)
        if time.monotonic() - since > patience_s:
            raise SourceStalled(
                f"{source.name} gave nothing for {patience_s:g} s",
                expected=f"a frame within timeout_s={self._timeout_s:g}",
                hint="is it still there? timeout_s=None waits without an end",
            )

    def _work(self) -> None:
        self._line.work(self._do)
        with suppress(ValueError):  # another thread is reading, and will come here as well
            self._frames.close()

    def _do(self, stage: int, item: Item | None) -> Item | None:
        if item is None:
            return self._read()
        return self._through(STAGES[stage], item) if isinstance(item, Job) else item

    def _read(self) -> Item | None:
        """The next frame of the source, an error, or None at the end; one thread at a time is in here."""
        try:
            found = next(self._frames, None)
        except Exception as error:  # a source may be the program's own code
            return _failed(error, self.meter.counts["read"], "decode")
        return None if found is None else Job(found[0], found[1], [found[1].captured, found[2]])

    def _drop_oldest(self, waiting: deque[Item]) -> None:
        while len(waiting) > self._queue and isinstance(waiting[-1], Job):  # an error drops no frame before it
            waiting.popleft()
            self.meter.count("dropped")

    def _through(self, name: str, job: Job) -> Item | None:
        """The job after a stage; an error; or None where an image that nothing can be done with is skipped."""
        started = time.monotonic()
        try:
            self._step(name, job)
        except Exception as error:  # whatever a runtime raises belongs to the program that waits for the answer
            if not (self._skips and isinstance(error, BadImage)):
                return _failed(error, job.index, name)
            self.reader.skipped(error)
            return None
        ended = time.monotonic()
        job.stamps.append(ended)
        self.meter.took(name, ended - started)
        return job

    def _step(self, name: str, job: Job) -> None:
        made = self._steps[name](job)
        if name == "prepare":
            job.value, job.place = made
        else:
            job.value = made


def _failed(error: Exception, index: int, stage: str) -> StreamFailed:
    where = f"frame {index}, {stage}"
    if isinstance(error, SdkError):
        given, expected, hint = error.given, error.expected, error.hint
    else:
        given, expected, hint = f"{type(error).__name__}: {error}", "", ""
    failed = StreamFailed(f"{where}: {given}", expected=expected, hint=hint, index=index, stage=stage)
    failed.__cause__ = error
    return failed
