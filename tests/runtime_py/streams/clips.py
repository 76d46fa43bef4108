"""Small videos made with PyAV, each frame of which says which it is."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

LOSSLESS = {"codec": "ffv1", "pixels": "bgr0"}
SMALL = (32, 24)


def flat(value: int, size: tuple[int, int] = SMALL) -> np.ndarray:
    """One colour, which says `value`, 0 to 255."""
    return np.full((size[1], size[0], 3), (value, 255 - value, 7), np.uint8)


def make_clip(
    path: Path,
    frames: Iterable[np.ndarray],
    times_s: Iterable[float] | None = None,
    codec: str = "ffv1",
    pixels: str = "bgr0",
    rate: int = 25,
) -> Path:
    """A video of the frames, lossless unless another codec is asked for, at their own times or at `rate` a second."""
    av = pytest.importorskip("av", reason="PyAV writes the test's video")
    times = None if times_s is None else iter(times_s)
    with av.open(str(path), "w") as container:
        stream = None
        for index, image in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=rate)
                stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], pixels
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, 1000)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(1000 * next(times)), Fraction(1, 1000)
            else:
                frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def counted(path: Path, count: int) -> Path:
    """A lossless clip whose frame N has the colour of `flat(N % 256)`."""
    return make_clip(path, (flat(index % 256) for index in range(count)))


def values(frames: Iterable[np.ndarray]) -> list[int]:
    """What each frame of `counted` says."""
    return [int(frame[0, 0, 0]) for frame in frames]
