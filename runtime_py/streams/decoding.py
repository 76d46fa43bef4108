"""Videos through PyAV: pictures turned upright, with the times that their container gives them."""

import time
from collections.abc import Generator, Iterator
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from runtime_py.errors import SdkError, missing_extra
from runtime_py.preprocess import PIXEL_LIMIT
from runtime_py.streams.frames import BadSource, Image, Picture, SourceEnded, SourceLost

WITHOUT_TIMES = {"mpjpeg", "mjpeg", "jpeg_pipe"}
"""Containers that say nothing of time: FFmpeg invents 25 frames a second for them."""


class Notes(Protocol):
    """Where a source says what is wrong with it, short of failing."""

    def broken(self, error: SdkError) -> None:
        """A picture could not be read. Raises the error where the caller wants that."""

    def damaged(self, what: str) -> None:
        """A packet of a video could not be decoded; the video goes on without it."""

    def truncated(self, what: str) -> None:
        """A video ends early."""


def open_container(
    address: str, name: str, protocols: str, timeout_s: float | None = None, format: str | None = None, **options: str
) -> Any:
    """PyAV's container of a file, device or URL that has a video stream of a sane size.

    `name` stands in errors for the address. `protocols` are all that FFmpeg may follow, also in playlists.
    Raises BadSource, or MissingExtra without PyAV.
    """
    try:
        av = import_module("av")
    except ModuleNotFoundError:
        raise missing_extra("av", "video", "reading a video or a camera") from None
    options["protocol_whitelist"] = protocols
    try:
        container = av.open(address, format=format, options=options, timeout=timeout_s)
    except av.FFmpegError as error:
        raise BadSource(f"{name} cannot be opened: {_reason(error)}", expected="a video that FFmpeg reads") from error
    if not container.streams.video:
        container.close()
        raise BadSource(f"{name} has no video in it", expected="a file or stream with pictures")
    stream = container.streams.video[0]
    try:
        _check_size(name, stream.width, stream.height)
    except BadSource:
        container.close()
        raise
    stream.codec_context.options = {"max_pixels": str(PIXEL_LIMIT)}  # the size may change on the way
    return container


def file_pictures(container: Any, name: str, notes: Notes) -> Generator[Picture, None, None]:
    """All pictures of a file, with times from the file's start; damaged packets are noted and passed over.

    A file that is cut gives what it holds, and a note. Raises BadSource where that is nothing.
    """
    av = import_module("av")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"  # decoding whole frames side by side costs a delay, which a file does not mind
    start, rate = stream.start_time or 0, float(stream.average_rate or 25)
    count, time_s = 0, 0.0
    try:
        for captured, frame in _frames(container, name, notes):
            known = None if frame.pts is None else float((frame.pts - start) * frame.time_base)
            time_s = count / rate if known is None else known
            count += 1
            yield Picture(_upright(frame, name), time_s, captured, name)
    except av.FFmpegError as error:
        notes.truncated(f"{name} breaks off after {count} frames: {_reason(error)}")
    else:
        promised = _promised(container, stream, rate)
        if count and count < promised - max(2.0, 0.02 * promised):
            notes.truncated(f"{name} ends after {count} of {promised:.0f} frames, at {time_s:.1f} s")
    if not count:
        raise BadSource(f"{name} holds no frame that can be decoded", expected="a whole video")


def live_pictures(container: Any, name: str, notes: Notes) -> Generator[Picture, None, None]:
    """Pictures of something that goes on, with times from its first. Raises SourceLost where it does not."""
    av = import_module("av")
    timed = container.format.name not in WITHOUT_TIMES
    begun: float | None = None
    try:
        for captured, frame in _frames(container, name, notes):
            stamp = captured if frame.time is None or not timed else float(frame.time)
            begun = stamp if begun is None else begun
            yield Picture(_upright(frame, name), stamp - begun, captured, name)
    except av.FFmpegError as error:
        raise SourceLost(f"{name} is gone: {_reason(error)}", hint="is it still there?") from error
    if container.duration is None:
        raise SourceEnded(f"{name} ended", hint="is it still there?")


def _frames(container: Any, name: str, notes: Notes) -> Iterator[tuple[float, Any]]:
    """Decoded frames, and when their packet arrived. Raises av.FFmpegError where no more can be read."""
    av = import_module("av")
    for packet in container.demux(container.streams.video[0]):
        captured = time.monotonic()
        try:
            frames = packet.decode()
        except (av.InvalidDataError, av.EOFError) as error:
            # EOFError: a decoder that was flushed already
            if packet.size:
                notes.damaged(f"{name}: a damaged packet: {_reason(error)}")
            continue
        for frame in frames:
            yield captured, frame


def _upright(frame: Any, name: str) -> Image:
    """RGB (H, W, 3), turned as the video's display matrix says."""
    _check_size(name, frame.width, frame.height)
    image: Image = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image


def _check_size(name: str, width: int, height: int) -> None:
    if not 0 < width * height <= PIXEL_LIMIT:
        raise BadSource(f"{name} has frames of {width} x {height} pixels", expected=f"1 to {PIXEL_LIMIT:,} pixels")


def _promised(container: Any, stream: Any, rate: float) -> float:
    """How many frames the container says that there are; 0 where it does not."""
    if stream.frames:
        return float(stream.frames)
    if stream.duration:
        return float(stream.duration * stream.time_base) * rate
    return (container.duration or 0) / 1e6 * rate


def _reason(error: Exception) -> str:
    """FFmpeg's own words, without the address, which may hold a password."""
    if type(error).__name__ == "ExitError":  # PyAV ends a wait by telling FFmpeg to exit
        return "no answer within its time limit"
    return str(getattr(error, "strerror", "") or type(error).__name__)
