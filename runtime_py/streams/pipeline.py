"""The threads of a stream: one reads, one prepares, one infers, one answers; queues between them are bounded.

Under the policy `all` each waits for room, so that a slow program stops the reader. Under `latest` the reader never
waits: a frame that nobody took yet gives way to a newer one, and a stage takes a frame only when there is room for its
result, so that what it takes is as new as can be.
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
from runtime_py.streams.channel import Channel, Closed
from runtime_py.streams.frames import Frame, Picture, SourceStalled, Stamps, StreamFailed
from runtime_py.streams.reader import Options, Reader
from runtime_py.streams.sources import Source
from runtime_py.streams.stats import Meter

GROUPS = (("prepare",), ("infer",), ("answer",))
"""Stages that share a thread; tests/benchmarks/stream.py measures other ways to share."""
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

    def __init__(
        self, source: Source, steps: Steps, options: Options, groups: tuple[tuple[str, ...], ...] = GROUPS
    ) -> None:
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
        sizes = [options.queue] + [1 if self._latest else options.queue] * len(groups)
        self._channels: list[Channel[Item]] = [Channel(size) for size in sizes]
        self._threads = [threading.Thread(target=self._read, name="stream-decode", daemon=True)]
        for names, inbox, outbox in zip(groups, self._channels, self._channels[1:], strict=False):
            self._threads.append(
                threading.Thread(
                    target=self._work, args=(names, inbox, outbox), name=f"stream-{'-'.join(names)}", daemon=True
                )
            )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def take(self) -> tuple[Frame, Any]:
        """The next answer. Raises StopIteration at the end, StreamFailed, or SourceStalled."""
        while True:
            try:
                item = self._channels[-1].get(TICK_S)
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
        for channel in self._channels:
            channel.close()
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
        first = self._channels[0]
        with suppress(Closed):
            try:
                self.reader.run(self._push)
            except Exception as error:  # a source may be the program's own code
                first.put(_failed(error, self.meter.counts["read"], "decode"))  # raises Closed where this is the error
            first.end()

    def _push(self, index: int, picture: Picture, decoded: float) -> None:
        job = Job(index, picture, [picture.captured, decoded])
        if self._latest:
            self.meter.count("dropped", self._channels[0].put_newest(job))
        else:
            self._channels[0].put(job)

    def _work(self, names: tuple[str, ...], inbox: Channel[Item], outbox: Channel[Item]) -> None:
        try:
            while True:
                if self._latest:
                    outbox.await_room()
                item = inbox.get()
                done = self._through(names, item) if isinstance(item, Job) else item
                if done is not None:
                    outbox.put(done)
        except EOFError:
            outbox.end()
        except Closed:
            return

    def _through(self, names: tuple[str, ...], job: Job) -> Item | None:
        """The job after these stages; an error; or None where an image that nothing can be done with is skipped."""
        for name in names:
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
