"""SIGTERM asks a stream to finish what it has read."""

import signal
import threading
from collections.abc import Callable
from types import FrameType


class DrainOnSigterm:
    """Installed by its constructor, in the main thread only; `restore` puts the handler before it back.

    The first SIGTERM calls `drain`, which says whether there was something to drain, and puts the handler before it
    back, so that a second one ends the process as it always did.
    """

    def __init__(self, drain: Callable[[], bool]) -> None:
        self._drain = drain
        self._before = signal.signal(signal.SIGTERM, self._handle)

    def restore(self) -> None:
        """Does nothing where someone else has installed another handler since, or outside the main thread."""
        mine = signal.getsignal(signal.SIGTERM) == self._handle
        if mine and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._before is None else self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.restore()
        drained = self._drain()
        outer = getattr(self._before, "__self__", None)
        if isinstance(outer, DrainOnSigterm):
            outer._handle(number, frame)  # a stream around this one ends as well
        elif not drained:
            signal.raise_signal(number)
