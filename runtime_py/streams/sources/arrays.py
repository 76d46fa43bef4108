"""Frames that the program has: of a list, a generator, or a function that is called for each."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import numpy as np

from runtime_py.preprocess import BadImage, ImageSource, decode_image
from runtime_py.streams.decoding import Notes
from runtime_py.streams.frames import Picture, Pixels
from runtime_py.streams.sources import How


class Arrays:
    """Images of an iterable; their time is when they were given."""

    timed = False

    def __init__(self, name: str, give: Callable[[], Iterable[ImageSource]], *, live: bool, repeats: bool) -> None:
        self.name, self.live, self.repeats = name, live, repeats
        self._give = give

    def pictures(self, notes: Notes) -> Generator[Picture, None, None]:
        """Each as RGB; copied, because many cameras' bindings fill the same array again."""
        started = time.monotonic()
        for item in self._give():
            captured = time.monotonic()
            try:
                pixels = _rgb(item)
            except BadImage as error:
                notes.broken(error)
                continue
            yield Picture(pixels, captured - started, captured)


def _rgb(item: ImageSource) -> Pixels:
    if isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.ndim == 3 and item.shape[2] == 3 and item.size:
        return np.array(item, order="C")
    pixels = decode_image(item)
    return pixels.copy() if pixels is item else pixels


def _calls(function: Callable[[], ImageSource | None]) -> Iterator[ImageSource]:
    while (image := function()) is not None:  # iter(function, None) would compare arrays
        yield image


def open_source(source: Any, how: How) -> Arrays:
    """An iterable of images, or a function that returns one, and None at the end."""
    name = getattr(source, "__name__", type(source).__name__)
    if callable(source):
        return Arrays(name, lambda: _calls(source), live=True, repeats=False)
    return Arrays(name, lambda: source, live=False, repeats=iter(source) is not source)
