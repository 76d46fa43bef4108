"""Clips with their latents, and how near a decoder's frames come to the true ones."""

import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime_py.bundle import video_shape
from runtime_py.damaged import DAMAGED_NPZ
from runtime_py.manifest import DecodeVideo
from sdk.evaluate.datasets import BadData, Dataset, Sample, evenly, limited

CEILING_DB = 100.0
"""What identical frames count as; 8 bits a value cannot tell anything beyond this apart."""
WINDOW = 11
SIGMA = 1.5
LUMA_RANGE = 255.0
SMALLEST = (0.01 * LUMA_RANGE) ** 2, (0.03 * LUMA_RANGE) ** 2
"""C1 and C2 of Wang et al., which keep flat regions from dividing by zero."""
EXPECTED = "arrays `latent` (C, t, h, w), floating, and `video` (T, H, W, 3), uint8"
Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Decode = Callable[[npt.NDArray[Any]], Iterator[Pixels]]


def read_clips(data: Path, limit: int | None) -> Dataset:
    """The .npz files of a folder. Raises BadData."""
    if not data.is_dir():
        raise BadData(f"{data} is a file", expected=f"a folder of .npz files with {EXPECTED}")
    files = sorted(path for path in data.rglob("*.npz") if path.is_file())
    if not files:
        raise BadData(f"{data} holds no .npz file", expected=EXPECTED)
    chosen = evenly(files, limit or len(files))
    samples = (Sample(key, path.relative_to(data).as_posix(), str(path)) for key, path in enumerate(chosen))
    return Dataset(tuple(samples), notes=limited("clips", len(chosen), len(files), "evenly spread"))


def compare_clip(file: str, how: DecodeVideo, decode: Decode) -> tuple[float, float]:
    """PSNR in dB and SSIM of the frames that `decode` makes of a clip's latent. Raises BadData, BadLatent."""
    latent, truth = _read(file)
    shape = video_shape(latent.shape if latent.ndim == 5 else (1, *latent.shape), how)
    expected = (*shape[2:], 3)
    if truth.shape != expected or truth.dtype != np.uint8:
        raise BadData(
            f"{file} holds a video of {truth.dtype} {truth.shape} for a latent of {latent.shape}",
            expected=f"uint8 {expected}",
        )
    if min(expected[1:3]) < WINDOW:
        raise BadData(f"{file} has frames of {expected[2]} x {expected[1]}", expected=f"{WINDOW} pixels a side or more")
    squares, alike, at = 0, 0.0, 0
    for chunk in decode(latent):
        own = truth[at : at + len(chunk)]
        squares += squared_error(chunk, own)
        alike += sum(ssim(found, true) for found, true in zip(chunk, own, strict=True))
        at += len(chunk)
    return psnr_db(squares, truth.size), alike / len(truth)


def squared_error(found: Pixels, truth: Pixels) -> int:
    """The sum of squared differences, exactly."""
    difference = found.astype(np.int64) - truth
    return int((difference * difference).sum())


def psnr_db(squares: int, values: int) -> float:
    """10 log10(255² / MSE), at most 100."""
    if squares == 0:
        return CEILING_DB
    return min(CEILING_DB, 10.0 * math.log10(LUMA_RANGE**2 * values / squares))


def ssim(found: Pixels, truth: Pixels) -> float:
    """Mean structural similarity of two frames (H, W, 3), each channel by itself, where the window lies inside.

    Gaussian window of 11 x 11, sigma 1.5, population covariance (Wang et al., 2004, sections III.B and III.C).
    """
    a, b = found.astype(np.float64), truth.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    var_a, var_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    both = _blur(a * b) - mean_a * mean_b
    c1, c2 = SMALLEST
    above = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    below = (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    return float((above / below).mean())


def _blur(values: Floats) -> Floats:
    """(H, W, C) to (H - 10, W - 10, C)."""
    places = np.arange(WINDOW) - WINDOW // 2
    window = np.exp(-(places**2) / (2 * SIGMA**2))
    window /= window.sum()
    height, width = (side - WINDOW + 1 for side in values.shape[:2])
    rows: Floats = sum(weight * values[k : k + height] for k, weight in enumerate(window))
    blurred: Floats = sum(weight * rows[:, k : k + width] for k, weight in enumerate(window))
    return blurred


def _read(file: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    try:
        if not zipfile.is_zipfile(file):  # numpy reads a lone array, too
            raise ValueError("it is no .npz")
        with np.load(file, allow_pickle=False) as arrays:
            latent, video = arrays["latent"], arrays["video"]
    except DAMAGED_NPZ as error:
        raise BadData(f"{file} could not be read: {error}", expected=EXPECTED) from error
    if not np.issubdtype(latent.dtype, np.floating) or latent.ndim not in (4, 5):
        raise BadData(f"{file} holds a latent of {latent.dtype} {latent.shape}", expected=EXPECTED)
    return latent.astype(np.float32), video
