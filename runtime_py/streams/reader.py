"""What reads a source: once or in a loop, again after it was lost, thinned out, and never past a drain."""

import logging
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Literal

from runtime_py.errors import SdkError
from runtime_py.streams.frames import BadSource, Picture, SourceEnded, SourceLost
from runtime_py.streams.sources import Source
from runtime_py.streams.stats import Meter

log = logging.getLogger("runtime_py.streams")
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
"""Pauses before a lost source is opened again: each twice the one before."""
LONE_FRAME_S = 0.04
"""How long the only frame of a looped source lasts."""


@dataclass(frozen=True)
class Options:
    """What `stream` was asked for; `runtime_py.streams.stream` explains each."""

    policy: Literal["all", "latest"]
    queue: int = 2
    loop: bool = False
    reconnect: bool = True
    timeout_s: float | None = None
    max_frames: int | None = None
    fps: float | None = None
    on_error: Literal["raise", "skip"] = "raise"


class Reader:
    """Counts what it reads. `stopping` is a plain attribute: a signal handler sets it, and must wait for nothing."""

    def __init__(self, source: Source, options: Options, meter: Meter) -> None:
        self.source = source
        self.stopping = False
        self.waiting_since: float | None = None
        """Since when the source has been asked for a picture; None while it is not."""
        self._options = options
        self._meter = meter
        self._index = 0
        self._warned = False

    def frames(self) -> Generator[tuple[int, Picture, float], None, None]:
        """Index, picture and when it was read, until the end, a stop or an error, which is raised."""
        slot, kept = -1, 0
        with closing(self._connections() if self.source.live else self._loops()) as pictures:
            while kept != self._options.max_frames:
                self.waiting_since = time.monotonic()
                picture = next(pictures, None)
                self.waiting_since = None
                decoded = time.monotonic()
                if picture is None or not self._count():
                    return
                self._meter.took("decode", decoded - picture.captured)
                due = self._slot(picture, slot)
                if due is None:
                    self._meter.count("thinned")
                else:
                    slot, kept = due, kept + 1
                    yield self._index, picture, decoded
                self._index += 1

    def broken(self, error: SdkError) -> None:
        """A picture that could not be read: an error, or one more on the counts."""
        if self._options.on_error == "raise":
            raise error
        self._index += 1
        self._meter.count("read")
        self.skipped(error)

    def skipped(self, error: SdkError) -> None:
        """A frame that was read and will have no answer."""
        self._warn_once(error.given)
        self._meter.count("skipped")

    def damaged(self, what: str) -> None:
        """A packet of a video that goes on without it."""
        self._warn_once(what)
        self._meter.count("damaged")

    def truncated(self, what: str) -> None:
        """A video that ends early."""
        log.warning("%s: it was cut", what)
        self._meter.truncated = True

    def _warn_once(self, what: str) -> None:
        if not self._warned:
            log.warning("%s; passed over, and only counted from here on", what)
        self._warned = True

    def _count(self) -> bool:
        """One more frame was read; False where reading has been stopped meanwhile, and it does not count."""
        with self._meter.lock:
            if not self.stopping:
                self._meter.counts["read"] += 1
            return not self.stopping

    def _slot(self, picture: Picture, last: int) -> int | None:
        """The picture's place on a grid of `fps`; None where that place is taken."""
        if self._options.fps is None:
            return last
        slot = int(picture.time_s * self._options.fps + 1e-6)
        return slot if slot != last else None  # not `>`: a camera's clock may be set back

    def _loops(self) -> Generator[Picture, None, None]:
        """A finite source, again and again with `loop`; time goes on where the round before ended."""
        offset = 0.0
        while not self.stopping:
            count, time_s, step = 0, 0.0, 0.0
            with closing(self.source.pictures(self)) as pictures:
                for count, picture in enumerate(pictures, 1):  # noqa: B007  # the last count is looked at
                    step, time_s = picture.time_s - time_s, picture.time_s
                    yield replace(picture, time_s=time_s + offset)
            if not (self._options.loop and count):
                return
            offset += time_s + (step if step > 0 else LONE_FRAME_S)

    def _connections(self) -> Generator[Picture, None, None]:
        """A live source, opened again whenever it is lost; time goes on as the clock does."""
        begun: float | None = None
        wait_s, time_s = FIRST_WAIT_S, 0.0
        while not self.stopping:
            offset: float | None = None
            try:
                with closing(self.source.pictures(self)) as pictures:
                    for picture in pictures:
                        wait_s = FIRST_WAIT_S
                        begun = picture.captured if begun is None else begun
                        # a server that sent more than time had passed must not set the time back
                        offset = max(picture.captured - begun, time_s) if offset is None else offset
                        time_s = picture.time_s + offset
                        yield replace(picture, time_s=time_s)
                return
            except (SourceLost, BadSource) as error:
                if self.stopping or (isinstance(error, SourceEnded) and not self._options.reconnect):
                    return
                if begun is None or not self._options.reconnect:
                    raise  # what never worked is more likely a mistake than an accident
                self._pause(wait_s, error)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            self._meter.count("reconnects")

    def _pause(self, wait_s: float, error: SdkError) -> None:
        """Before the source is opened again; short sleeps, so that a stop is seen."""
        log.warning("%s; opening it again in %.1f s", error.given, wait_s)
        self.waiting_since = None
        end = time.monotonic() + wait_s
        while not self.stopping and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        self.waiting_since = time.monotonic()
