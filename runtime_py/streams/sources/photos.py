"""Photos: one, those of a folder, or those that a pattern matches, in the order that people count in."""

import glob
import re
import time
from collections.abc import Generator
from os import PathLike, fspath
from pathlib import Path

from runtime_py.preprocess import BadImage, decode_image
from runtime_py.streams.decoding import Notes
from runtime_py.streams.frames import BadSource, Picture
from runtime_py.streams.sources import How

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}


class Photos:
    """The photos that `text` means; a photo's time is when it was read."""

    live = False
    repeats = True
    timed = False

    def __init__(self, text: str) -> None:
        self.name = text
        if not self._paths():
            raise BadSource(f"{text} holds no photo", expected=f"files {', '.join(sorted(SUFFIXES))}")

    def pictures(self, notes: Notes) -> Generator[Picture, None, None]:
        """One after the other; `notes` decides what becomes of broken ones."""
        started = time.monotonic()
        for path in self._paths():
            captured = time.monotonic()
            try:
                pixels = decode_image(path)
            except BadImage as error:
                notes.broken(error)
                continue
            yield Picture(pixels, captured - started, captured, str(path))

    def _paths(self) -> list[Path]:
        path = Path(self.name)
        if path.is_dir():
            found = [one for one in path.iterdir() if is_photo(one) and not one.name.startswith(".")]
        elif path.exists():
            return [path]
        else:
            found = [one for one in map(Path, glob.glob(self.name, recursive=True)) if is_photo(one)]
        return sorted((one for one in found if one.is_file()), key=natural)


def is_photo(path: Path) -> bool:
    """Whether the name is that of a photo."""
    return path.suffix.lower() in SUFFIXES


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts `photo9` before `photo10`."""
    parts = re.findall(r"\d+|\D+", str(path).lower())
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def open_source(source: str | PathLike[str], how: How) -> Photos:
    """The photos of a path or a pattern."""
    return Photos(fspath(source))
