"""Where frames come from, one file a kind."""

import re
from collections.abc import Generator
from dataclasses import dataclass
from importlib import import_module
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol

from runtime_py.streams.decoding import Notes
from runtime_py.streams.frames import BadSource, Picture


@dataclass(frozen=True)
class How:
    """What a source may be told: how long it may block, and the size (width, height) that a camera should have."""

    timeout_s: float | None = None
    size: tuple[int, int] | None = None


class Source(Protocol):
    """Gives pictures. `live`: it goes on by itself, so that old pictures are worth less than new ones."""

    name: str
    live: bool
    repeats: bool
    """Whether `pictures` can be called again for the same pictures."""
    timed: bool
    """Whether it ends a wait by itself when `timeout_s` have passed; otherwise the stream watches it."""

    def pictures(self, notes: Notes) -> Generator[Picture, None, None]:
        """Open, give, close. Raises BadSource where that fails, SourceLost where a live source goes away."""


class SourceModule(Protocol):
    """What `runtime_py/streams/sources/NAME.py` holds."""

    def open_source(self, source: Any, how: How) -> Source:
        """A source that was recognised, without reading from it yet. Raises BadSource."""


@dataclass(frozen=True)
class SourceRow:
    """One kind of source: its module, what it is, and what to write for it."""

    module: str
    title: str
    example: str


SOURCES: dict[str, SourceRow] = {
    "photos": SourceRow("runtime_py.streams.sources.photos", "photos", "photo.jpg, photos/ or 'photos/*.jpg'"),
    "clips": SourceRow("runtime_py.streams.sources.clips", "a video file", "clip.mp4"),
    "cameras": SourceRow("runtime_py.streams.sources.cameras", "a V4L2 camera", "camera:0 or /dev/video0"),
    "picamera": SourceRow("runtime_py.streams.sources.picamera", "a Raspberry Pi camera", "picamera"),
    "network": SourceRow("runtime_py.streams.sources.network", "a network stream", "rtsp://... or http(s)://..."),
    "arrays": SourceRow("runtime_py.streams.sources.arrays", "frames", "a list, generator or function of RGB arrays"),
}
SCHEMES = ("rtsp", "rtsps", "http", "https")


def open_source(source: Any, how: How) -> Source:
    """The source that `source` means. Raises BadSource, which lists what is accepted."""
    module: SourceModule = import_module(SOURCES[kind_of(source)].module)
    return module.open_source(source, how)


def kind_of(source: Any) -> str:
    """The registry's name of what `source` means. Raises BadSource for what is unknown or has two meanings."""
    if isinstance(source, str | PathLike):
        return _kind_of_text(fspath(source))
    if isinstance(source, bool | int):
        raise _unknown(f"the number {source}", f"'camera:{source}'")
    if getattr(source, "ndim", None) in (2, 3):
        raise _unknown(f"one array of shape {source.shape}", "[array], or session(array)")
    if callable(source) and hasattr(source, "__iter__"):
        raise _unknown(f"a {type(source).__name__}, which can be called and iterated", "iter(source)")
    if not isinstance(source, bytes | dict) and (callable(source) or hasattr(source, "__iter__")):
        return "arrays"
    raise _unknown(f"a {type(source).__name__}", "[image] for one Pillow image")


def _kind_of_text(text: str) -> str:
    exists = Path(text).exists() if text and "\0" not in text else False
    camera = re.fullmatch(r"camera:\d+|/dev/video\d+", text) is not None
    scheme, separator, rest = text.partition("://")
    if text == "picamera" or camera:
        if exists and not text.startswith("/dev/"):
            raise _unknown(f"{text!r} is a camera, and a file here", f"'./{text}' for the file")
        return "cameras" if camera else "picamera"
    if separator and not exists:
        if scheme.lower() not in SCHEMES or not rest:
            raise _unknown(f"the address {scheme}://...", f"one of {', '.join(SCHEMES)}")
        return "network"
    if exists:
        return _kind_of_path(Path(text))
    if re.search(r"[*?\[]", text):
        return "photos"
    raise _unknown(f"{text!r}, which does not exist", f"'camera:{text}'" if text.isdigit() else "")


def _kind_of_path(path: Path) -> str:
    if (path / "manifest.json").is_file():
        raise _unknown(f"{path} is a bundle", "stream(source, session): the source comes first")
    from runtime_py.streams.sources.photos import is_photo

    return "photos" if path.is_dir() or is_photo(path) else "clips"


def _unknown(given: str, hint: str) -> BadSource:
    accepted = "; ".join(f"{row.title}: {row.example}" for row in SOURCES.values())
    return BadSource(f"no source: {given}", expected=accepted, hint=hint)
