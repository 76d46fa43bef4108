"""A worker process and the process that asked for it."""

import os
import threading
import time


def end_with_parent() -> None:
    """From now on end when the parent is gone, however it went, so that what was killed leaves no process behind."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
