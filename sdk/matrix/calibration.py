"""What the matrix calibrates integers on: the photos that the SDK ships, or noise; the same in every run."""

from pathlib import Path

import numpy as np

from models_zoo import ModelSpec
from sdk.golden import PHOTO, SEED

COUNT = 64
"""Samples, of which the quantiser holds some out to judge by."""
LATENT = (2, 2, 2)
"""Of a video decoder, steps and pixels: the operators are those of a larger one, which would take hours."""


def calibration_options(spec: ModelSpec, folder: Path) -> list[str]:
    """Writes COUNT samples of what the network takes into `folder`; the options of `sdk export` that name them."""
    folder.mkdir(parents=True)
    if spec.task != "decode_video":
        return ["--calibration", str(_photos(folder / "photos"))]
    shape = (1, spec.shape[0], *LATENT)
    return ["--input", ",".join(map(str, shape)), "--calibration", str(_latents(folder / "latents.npz", shape))]


def _photos(folder: Path) -> Path:
    """Cut-outs of 40 to 100 % of a photo's sides, every other one mirrored, at 0.5 to 1.5 of their size."""
    from PIL import Image, ImageOps

    folder.mkdir()
    rng = np.random.default_rng(SEED)
    whole = [Image.open(path).convert("RGB") for path in sorted(PHOTO.parent.glob("*.png"))]
    for index in range(COUNT):
        photo = whole[index % len(whole)]
        wide, high = (round(side * rng.uniform(0.4, 1.0)) for side in photo.size)
        left, top = rng.integers(0, photo.width - wide + 1), rng.integers(0, photo.height - high + 1)
        cut = photo.crop((int(left), int(top), int(left) + wide, int(top) + high))
        factor = rng.uniform(0.5, 1.5)
        cut = cut.resize((round(wide * factor), round(high * factor)), Image.Resampling.BILINEAR)
        mirrored = ImageOps.mirror(cut) if (index // len(whole)) % 2 else cut
        mirrored.save(folder / f"{index:03}.png")
    return folder


def _latents(path: Path, shape: tuple[int, ...]) -> Path:
    """Noise of unit variance, as the random golden input is."""
    noise = np.random.default_rng(SEED).standard_normal((COUNT, *shape[1:]), dtype=np.float32)
    np.savez(path, latent=noise)
    return path
