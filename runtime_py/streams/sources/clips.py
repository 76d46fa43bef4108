"""A video file."""

from collections.abc import Generator
from os import PathLike, fspath
from pathlib import Path

from runtime_py.streams.decoding import Notes, file_pictures, open_container
from runtime_py.streams.frames import BadSource, Picture
from runtime_py.streams.sources import How


class Clip:
    """Every frame of a video, with the times that the file gives them."""

    live = False
    repeats = True
    timed = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        if not path.is_file():
            raise BadSource(f"{path} is no file", expected="a video file")
        if not path.stat().st_size:
            raise BadSource(f"{path} is empty (0 bytes)", expected="a video file")

    def pictures(self, notes: Notes) -> Generator[Picture, None, None]:
        """Decoded one by one."""
        # a local playlist may not lead into the network
        with open_container(f"file:{self.name}", self.name, protocols="file") as container:
            yield from file_pictures(container, self.name, notes)


def open_source(source: str | PathLike[str], how: How) -> Clip:
    """The video at a path."""
    return Clip(Path(fspath(source)))
