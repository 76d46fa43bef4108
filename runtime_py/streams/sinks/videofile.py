"""A video of the answers, by PyAV: H.264 where FFmpeg has it, otherwise MPEG-4."""

import os
from collections.abc import Iterable
from fractions import Fraction
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from runtime_py.draw import Picture, draw_answer
from runtime_py.errors import SdkError, missing_extra
from runtime_py.streams.frames import Frame

SUFFIXES = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
TICKS = 60_000
"""Parts of a second that times are rounded to: exact for 24, 25, 29.97, 30, 50 and 60 frames, and small enough for
MPEG-4."""
STEP = TICKS // 1000
"""Between two frames there is a millisecond at least, because Matroska's clock knows no less."""
QUALITY = "20"
"""x264's constant rate factor: below what most eyes see, at a tenth of a lossless file."""


class BadVideoFile(SdkError):
    """A video that cannot be written."""

    id = "bad-video-file"


class VideoFile:
    """Frames with their own times, in a file that is written beside its name and renamed by `close`.

    The first frame's size is the video's (an odd side loses its last line); others are fitted into it. `fps` is the
    rate of frames that come without a time. Raises BadVideoFile, or MissingExtra without PyAV.
    """

    def __init__(self, path: str | PathLike[str], fps: float = 24.0) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in SUFFIXES:
            raise BadVideoFile(f"{self.path.name} for a video", expected=f"one of {', '.join(SUFFIXES)}")
        if not self.path.parent.is_dir():  # FFmpeg looks only when the first frames are encoded
            raise BadVideoFile(f"{self.path.parent} is no folder", expected="a folder that exists")
        if not 0 < fps <= 1000:
            raise BadVideoFile(f"fps={fps}", expected="over 0, at most 1000")
        try:
            self._av = import_module("av")
        except ModuleNotFoundError:
            raise missing_extra("av", "video", "writing a video") from None
        self.frames = 0
        self._fps = fps
        self._beside = self.path.with_name(f".{self.path.stem}.{os.getpid()}{self.path.suffix}")
        self._container: Any = None
        self._stream: Any = None
        self._begun_s = 0.0
        self._ticks = -STEP
        self._closed = False

    def write(self, frame: Frame, result: Any = None, picture: Picture | None = None) -> None:
        """The picture, or else the frame with the result drawn on it, at the frame's own time."""
        self._put(draw_answer(frame.image, result) if picture is None else picture, frame.time_s)

    def write_frames(self, frames: Iterable[npt.NDArray[np.uint8]]) -> None:
        """Frames (T, H, W, 3), uint8, RGB, one after the other: a Video, or what `session.decode_chunks` yields."""
        for image in frames:
            self._put(image, self.frames / self._fps)

    def close(self) -> None:
        """Finish the file and give it its name. A second call does nothing, nor does one before any frame."""
        if self._closed:
            return
        self._closed = True
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode())
            self._container.close()
            self._beside.replace(self.path)
        except (self._av.FFmpegError, OSError) as error:
            raise self._failed(error) from error
        finally:
            self._beside.unlink(missing_ok=True)

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()  # after an error as well: what was recorded up to there is worth having

    def _put(self, picture: Picture, time_s: float) -> None:
        if self._closed:
            raise BadVideoFile(f"a frame for {self.path}, which is closed", expected="a frame before close()")
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        try:
            if self._container is None:
                self._open(image.size, time_s)
            frame = self._av.VideoFrame.from_ndarray(self._fitted(image), format="rgb24")
            # a source's clock may stand still or be set back; a video's must not
            self._ticks = max(self._ticks + STEP, round((time_s - self._begun_s) * TICKS))
            frame.pts, frame.time_base = self._ticks, Fraction(1, TICKS)
            self._container.mux(self._stream.encode(frame))
        except (self._av.FFmpegError, OSError) as error:
            self._discard()
            raise self._failed(error) from error
        self.frames += 1

    def _open(self, size: tuple[int, int], time_s: float) -> None:
        width, height = (side - side % 2 for side in size)  # chroma is stored for 2 x 2 pixels at a time
        if not width or not height:
            raise BadVideoFile(f"frames of {size[0]} x {size[1]} pixels", expected="2 x 2 or more")
        av = self._av
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._container = av.open(str(self._beside), "w", format=SUFFIXES[self.path.suffix.lower()])
        self._stream = self._container.add_stream(codec, rate=Fraction(self._fps).limit_denominator(1001))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        if codec == "libx264":
            # the device has other work: this preset takes a fifth of the usual one's time
            self._stream.options = {"crf": QUALITY, "preset": "veryfast"}
        else:
            self._stream.bit_rate = 8 * width * height
        self._begun_s = time_s

    def _fitted(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        size = (self._stream.width, self._stream.height)
        image = image.convert("RGB")
        if (image.width - image.width % 2, image.height - image.height % 2) == size:
            return np.ascontiguousarray(np.asarray(image)[: size[1], : size[0]])
        return np.asarray(ImageOps.pad(image, size))

    def _discard(self) -> None:
        self._closed = True
        self._container = None
        self._beside.unlink(missing_ok=True)

    def _failed(self, error: Exception) -> BadVideoFile:
        reason = getattr(error, "strerror", "") or str(error)
        return BadVideoFile(f"{self.path} cannot be written: {reason}", expected="a folder with room for it")
