"""Photos to calibrate on, where nobody has any: smooth shapes, as photos have."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

COUNT = 40


def write_photos(folder: Path, classes: Mapping[str, tuple[int, int]]) -> Path:
    """COUNT images of 64 x 48 in class folders, by turns; each class has its least value and the one above its
    largest."""
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        name, (low, high) = list(classes.items())[index % len(classes)]
        (folder / name).mkdir(exist_ok=True)
        small = Image.fromarray(rng.integers(low, high, (5, 7, 3), dtype=np.uint8))
        small.resize((64, 48), Image.Resampling.BICUBIC).save(folder / name / f"{index:02d}.png")
    return folder
