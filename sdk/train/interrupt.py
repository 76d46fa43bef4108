"""Ctrl-C in the middle of training: finish the step, save, and say how to go on."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from runtime_py.errors import SdkError


class Interrupted(SdkError):
    """Training stopped on request; nothing is lost."""

    id = "training-interrupted"

    def __init__(self, stage: str, step: int, steps: int, checkpoint: Path) -> None:
        super().__init__(
            f"stopped the {stage} at step {step} of {steps}; saved {checkpoint}",
            hint="the same command again goes on from there",
        )

    def __reduce__(self) -> tuple[type[SdkError], tuple[str]]:
        return SdkError, (self.given,)


class StopRequest:
    """Set by the signal, read between steps."""

    requested = False


@contextmanager
def stop_on_interrupt() -> Iterator[StopRequest]:
    """A request that the first Ctrl-C sets; a second one interrupts at once."""
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set signal handlers
        return
    before = signal.getsignal(signal.SIGINT)

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
