"""Video in, answers out: decode, prepare, infer and answer overlap, in bounded memory.

    with runtime_py.load("leyolo_nano.bundle") as session:
        for frame, found in runtime_py.stream("clip.mp4", session):
            print(f"{frame.time_s:.2f} s: {found}")

docs/streams.md shows what sources, sinks and trackers there are.
"""

import threading
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

from runtime_py.errors import SdkError
from runtime_py.session import Session
from runtime_py.streams.answering import steps_of
from runtime_py.streams.drain import DrainOnSigterm
from runtime_py.streams.frames import BadSource, Frame, SourceLost, SourceStalled, Stamps, StreamFailed
from runtime_py.streams.pipeline import Pipeline
from runtime_py.streams.reader import Options
from runtime_py.streams.sinks import Sink
from runtime_py.streams.sources import How, open_source
from runtime_py.streams.stats import Milliseconds, Stats

__all__ = [
    "BadOption",
    "BadSource",
    "Frame",
    "Milliseconds",
    "SourceLost",
    "SourceStalled",
    "Stamps",
    "Stats",
    "Stream",
    "StreamFailed",
    "stream",
]
CAMERA_PATIENCE_S = 10.0
"""How long a camera or a network source may be silent unless the caller says otherwise."""


class BadOption(SdkError):
    """An option of a stream that makes no sense."""

    id = "bad-option"


class Stream:
    """Yields `(frame, result)`; a context manager. Its threads start with the first frame that is asked for.

    They end with the stream, with an error, with `close()`, or when nobody holds the stream any more.
    """

    def __init__(self, pipeline: Pipeline, name: str, policy: str, drain_on_sigterm: bool) -> None:
        self.name = name
        self.policy = policy
        self._pipeline = pipeline
        self._drains = drain_on_sigterm
        self._started = False
        self._end: Any = None

    @property
    def stats(self) -> Stats:
        """The counters and times of this moment."""
        return self._pipeline.meter.stats()

    @property
    def fps(self) -> float:
        """Answers a second, over the last hundred; costs less than `stats`, so that each frame may show it."""
        return self._pipeline.meter.fps()

    def __iter__(self) -> "Stream":
        return self

    def __next__(self) -> tuple[Frame, Any]:
        if not self._started:
            self._start()
        try:
            return self._pipeline.take()
        except BaseException:  # the end, an error, or Ctrl-C
            self.close()
            raise

    def into(self, *sinks: Sink | Callable[[Frame, Any], Any]) -> Stats:
        """Give every answer to each sink, or function of frame and result, until the end; what was counted.

        The sinks stay open.
        """
        writers = [sink.write if hasattr(sink, "write") else sink for sink in sinks]
        for frame, result in self:
            for write in writers:
                write(frame, result)
        return self.stats

    def drain(self) -> None:
        """Stop reading; the loop goes on until what was read is answered, and ends."""
        self._pipeline.drain()

    def close(self) -> None:
        """Stop everything, in less than two seconds; frames that are on their way are never answered."""
        if self._end is None:
            self._pipeline.close()
        else:
            self._end()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._started = True
        if self._pipeline.closed:
            return
        in_main = threading.current_thread() is threading.main_thread()
        handler = DrainOnSigterm(self._pipeline.drain) if self._drains and in_main else None
        # neither the threads nor the handler hold this object, so it goes when the program lets go of it
        self._end = weakref.finalize(self, _finish, self._pipeline, handler)
        self._pipeline.start()


def _finish(pipeline: Pipeline, handler: DrainOnSigterm | None) -> None:
    pipeline.close()
    if handler is not None:
        handler.restore()


def stream(
    source: Any,
    session: Session,
    *,
    policy: Literal["all", "latest"] | None = None,
    confidence: float | None = None,
    agnostic_nms: bool | None = None,
    max_frames: int | None = None,
    fps: float | None = None,
    loop: bool = False,
    queue: int = 2,
    on_error: Literal["raise", "skip"] = "raise",
    reconnect: bool = True,
    timeout_s: float | None = None,
    size: tuple[int, int] | None = None,
    drain_on_sigterm: bool = True,
) -> Stream:
    """Answers for every frame of a source: an iterator of `(frame, result)`, where the result is `session(image)`'s.

    `source`: a photo, a folder, a glob, a video, `camera:0`, `/dev/video0`, `rtsp://`, `http(s)://`, `picamera`, or an
    iterable of images, or a function that returns one, and None at the end. One thread at a time reads it, but not
    always the same.
    `policy`: `all` answers every frame, and the source waits (for files and iterables); `latest` drops frames that
    come faster than answers, and counts them (for cameras, networks and functions).
    `confidence`, `agnostic_nms`: a detector's, in place of the bundle's. `max_frames`: end after so many.
    `fps`: answer at most so many frames for each second of the source. `loop`: a file or a list, without an end.
    `queue`: frames that may wait between two stages. `on_error="skip"`: count broken pictures instead of raising.
    `reconnect`: open a camera or network source that stops again, after 0.5 s, 1 s, ... 30 s.
    `timeout_s`: how long a source may block; 10 s for cameras and networks, without limit otherwise. `size`: the
    width and height that a camera should give. `drain_on_sigterm`: in the main thread the first SIGTERM ends the
    reading, and the loop once what was read is answered.

    Raises BadSource, BadOption, WrongTask, MissingExtra;
    the iterator raises StreamFailed with the frame's index, or SourceStalled.
    """
    opened = open_source(source, How(timeout_s, size))
    if timeout_s is None and opened.live and not callable(source):
        timeout_s = CAMERA_PATIENCE_S
    options = Options(
        policy or ("latest" if opened.live else "all"), queue, loop, reconnect, timeout_s, max_frames, fps, on_error
    )
    _check(options, opened.live, opened.repeats)
    pipeline = Pipeline(opened, steps_of(session, confidence, agnostic_nms), options)
    return Stream(pipeline, opened.name, options.policy, drain_on_sigterm)


def _check(options: Options, live: bool, repeats: bool) -> None:
    """Raises BadOption."""
    for name, allowed in (("policy", ("all", "latest")), ("on_error", ("raise", "skip"))):
        if getattr(options, name) not in allowed:
            raise BadOption(f"{name}={getattr(options, name)!r}", expected=f"one of {', '.join(allowed)}")
    for name in ("queue", "max_frames"):
        number = getattr(options, name)
        if number is not None and number < 1:
            raise BadOption(f"{name}={number}", expected="1 or more")
    for name in ("fps", "timeout_s"):
        number = getattr(options, name)
        if number is not None and not 0 < number < float("inf"):
            raise BadOption(f"{name}={number}", expected="a number over 0")
    if options.loop and not repeats:
        what = "a live source" if live else "a generator"
        raise BadOption(f"loop=True for {what}", expected="a file, a folder or a list", hint="leave loop out")
