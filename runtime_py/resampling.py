"""Resizes only what a crop keeps, where Pillow then gives the same pixels to the last bit.

Pillow takes the part of an image to resize in single precision, so a part that begins between two pixels would be
weighed a little differently. Parts that begin and end on whole pixels keep the scale; whether they keep every weight is
found by computing the weights as Pillow does, and whether Pillow goes through rows and columns in the same order, which
its versions choose by the sizes, on an image of noise. Both are done once for each size that comes a second time.
"""

from functools import lru_cache
from math import ceil, gcd

import numpy as np
import numpy.typing as npt
from PIL import Image

PRECISION_BITS = 22
"""Of Pillow's weights for 8-bit channels."""
SUPPORTS = {Image.Resampling.BILINEAR: 1.0, Image.Resampling.BICUBIC: 2.0}
CUBIC_A = -0.5
Size = tuple[int, int]
Box = tuple[int, int, int, int]
Part = tuple[int, int, int, int]
"""Of one side: its first and last pixel (exclusive), the output it begins with, and how many outputs it makes."""

_seen: dict[tuple[Size, Size, Box, int], int] = {}
MOST_SEEN = 256


def resized_crop(image: Image.Image, size: Size, box: Box, how: Image.Resampling) -> Image.Image:
    """`image.resize(size, how).crop(box)`, to the last bit, without making what is cut off where that can be spared."""
    if image.size == size:
        return image.crop(box)
    key = (image.size, size, box, int(how))
    if len(_seen) > MOST_SEEN:
        _seen.clear()
    _seen[key] = _seen.get(key, 0) + 1
    parts = _parts(image.size, size, box, how) if _seen[key] > 1 else None
    if parts is None:
        return image.resize(size, how).crop(box)
    return _part(image, parts, box, how)


@lru_cache(maxsize=MOST_SEEN)
def _parts(given: Size, size: Size, box: Box, how: Image.Resampling) -> tuple[Part, Part] | None:
    """Across and down; None where nothing can be spared, or Pillow would give other pixels."""
    across = _smaller(given[0], size[0], box[0], box[2], how)
    down = _smaller(given[1], size[1], box[1], box[3], how)
    if across[3] * down[3] == size[0] * size[1]:
        return None
    noise = np.random.default_rng(0).integers(0, 256, (given[1], given[0], 3), np.uint8)
    image = Image.fromarray(noise)
    same = image.resize(size, how).crop(box).tobytes() == _part(image, (across, down), box, how).tobytes()
    return (across, down) if same else None


def _part(image: Image.Image, parts: tuple[Part, Part], box: Box, how: Image.Resampling) -> Image.Image:
    across, down = parts
    made = image.resize((across[3], down[3]), how, box=(across[0], down[0], across[1], down[1]))
    return made.crop((box[0] - across[2], box[1] - down[2], box[2] - across[2], box[3] - down[2]))


def _smaller(size: int, out: int, first: int, last: int, how: Image.Resampling) -> Part:
    """The least part of `size` pixels that begins and ends whole, for outputs `first` to `last` of `out`."""
    whole = (0, size, 0, out)
    if how not in SUPPORTS or first < 0 or last > out:
        return whole
    step, pixels = out // gcd(size, out), size // gcd(size, out)  # so many outputs to so many whole pixels
    begin, end = first // step, ceil(last / step)
    part = (begin * pixels, end * pixels, begin * step, (end - begin) * step)
    return part if part[3] < out and _same_weights(size, out, part, how) else whole


def _same_weights(size: int, out: int, part: Part, how: Image.Resampling) -> bool:
    low, high, start, made = part
    starts, weights = _weights(size, 0.0, float(size), out, how)
    own_starts, own = _weights(size, float(low), float(high), made, how)
    return bool(
        np.array_equal(starts[start : start + made], own_starts)
        and own.shape[1] == weights.shape[1]
        and np.array_equal(weights[start : start + made], own)
    )


def _weights(
    size: int, low: float, high: float, out: int, how: Image.Resampling
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The first pixel that each output reads, (out,), and its weights as Pillow's integers, (out, most)."""
    scale = (high - low) / out
    wide = max(scale, 1.0)
    support = SUPPORTS[how] * wide
    most = ceil(support) * 2 + 1
    centre = low + (np.arange(out) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), size)
    taps = np.arange(most)
    values = FILTERS[how]((taps + first[:, None] - centre[:, None] + 0.5) * (1.0 / wide))
    values[taps >= (last - first)[:, None]] = 0.0
    total = np.add.accumulate(values, axis=1)[:, -1:]  # one after the other, as a loop adds
    values = values * (1.0 / total)
    return first, np.trunc(values * (1 << PRECISION_BITS) + np.where(values < 0, -0.5, 0.5)).astype(np.int64)


def _triangle(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Keys' cubic convolution (1981) with a = -0.5."""
    x = np.abs(x)
    near = ((CUBIC_A + 2.0) * x - (CUBIC_A + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * CUBIC_A
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


FILTERS = {Image.Resampling.BILINEAR: _triangle, Image.Resampling.BICUBIC: _cubic}
