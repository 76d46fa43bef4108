"""What travels through a stream: a picture from a source, and the frame that a program gets."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from runtime_py.errors import SdkError

Image = npt.NDArray[np.uint8]
Pixels = Image | Pillow.Image
"""(H, W, 3) uint8, RGB, as whatever decoded them has them: a photo's are turned into an array only where one asks."""


class BadSource(SdkError):
    """Something that frames cannot be read from."""

    id = "bad-source"


class SourceLost(SdkError):
    """A source that was open gives no more frames: it went away, or answers no more."""

    id = "source-lost"


class SourceEnded(SourceLost):
    """A live source that ended in good order."""


class SourceStalled(SdkError):
    """A source that blocks for longer than it may."""

    id = "source-stalled"


class StreamFailed(SdkError):
    """A stage of a stream failed on one frame. `index` is the frame's, `stage` the stage's name, `__cause__` why."""

    id = "stream-failed"

    def __init__(self, given: str, *, expected: str = "", hint: str = "", index: int = -1, stage: str = "") -> None:
        super().__init__(given, expected=expected, hint=hint)
        self.index = index
        self.stage = stage


@dataclass(frozen=True)
class Stamps:
    """When a frame left each stage, in seconds of `time.monotonic()`.

    `captured`: the source had it, still encoded; `decoded`: its RGB pixels; `prepared`: the network's input;
    `inferred`: the network's output; `done`: the answer.
    """

    captured: float
    decoded: float
    prepared: float
    inferred: float
    done: float

    @property
    def latency_s(self) -> float:
        """From the source to the answer."""
        return self.done - self.captured


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a stream: `image`, made of its `pixels`; `index` counts what the source gave, from 0.

    `time_s` is the source's own presentation time, which need not be regular: of a video that of its file, of a camera
    since it was opened, of photos and arrays when they were read. `name` is a photo's path, or
    the video's address; empty of arrays.
    """

    pixels: Pixels
    index: int
    time_s: float
    stamps: Stamps
    name: str = ""

    @cached_property
    def image(self) -> Image:
        """The frame as an array (H, W, 3) uint8, RGB."""
        return np.asarray(self.pixels)


@dataclass(frozen=True, eq=False)
class Picture:
    """What a source gives: pixels, and when they belong; `captured` is of `time.monotonic()`."""

    pixels: Pixels
    time_s: float
    captured: float
    name: str = ""
