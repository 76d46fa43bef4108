"""Where answers go, one file a kind. Whatever is called with a frame and its result is a sink as well."""

from typing import Any, Protocol

from runtime_py.draw import Picture
from runtime_py.streams.frames import Frame


class Sink(Protocol):
    """Takes answers until it is closed; a context manager closes it."""

    def write(self, frame: Frame, result: Any = None, picture: Picture | None = None) -> None:
        """One answer. `picture` is what to show of it, where that is not the result drawn on the frame."""

    def close(self) -> None:
        """Finish. A second call does nothing."""
