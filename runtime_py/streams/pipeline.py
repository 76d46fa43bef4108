"""The threads of a stream: one reads, three carry frames through the stages; queues between them are bounded.

Under the policy `all` the reader waits for room, so that a slow program stops it. Under `latest` it never waits: a
frame that nobody took yet gives way to a newer one, and no more than one waits before a later stage, so that what a
stage takes is as new as can be.
"""

import threading
import time
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

STAGES = ("prepare", "infer", "answer")
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
        self._latest = options.policy == "latest"
        self._timeout_s = options.timeout_s
        self._skips = options.on_error == "skip"
        self._steps: dict[str, Callable[[Job], Any]] = {
            "prepare": lambda job: steps.prepare(job.picture.pixels),
            "infer": lambda job: steps.infer(job.value),
            "answer": lambda job: steps.answer(job.value, job.place),
        }
        later = 1 if self._latest else options.queue
        self._line: Line[Item] = Line((options.queue, *[later] * len(STAGES)))
        named = {"decode": self._read} | {f"{number}": self._work for number in range(1, len(STAGES) + 1)}
        self._threads = [
            threading.Thread(target=target, name=f"stream-{name}", daemon=True) for name, target in named.items()
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

    def _read(self) -> None:
        with suppress(Closed):
            try:
                self.reader.run(self._push)
            except Exception as error:  # a source may be the program's own code
                # raises Closed where this is the error
                self._line.put(_failed(error, self.meter.counts["read"], "decode"))
            self._line.end()

    def _push(self, index: int, picture: Picture, decoded: float) -> None:
        job = Job(index, picture, [picture.captured, decoded])
        if self._latest:
            self.meter.count("dropped", self._line.put_newest(job))
        else:
            self._line.put(job)

    def _work(self) -> None:
        self._line.work(lambda stage, item: self._through(STAGES[stage], item) if isinstance(item, Job) else item)

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
