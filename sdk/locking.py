"""One measurement at a time on a device: two would measure each other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from runtime_py.folders import state_folder


def lock_of(device: str) -> Path:
    """The file that is locked while a device of that name (`local`, `ssh://user@host:port`) is measured."""
    return state_folder() / "locks" / f"{quote(device, safe='')}.lock"


@contextmanager
def alone_on(device: str, say: Callable[[str], None]) -> Iterator[None]:
    """Nobody else who asks for this measures there meanwhile; waits for whoever does.

    The lock ends with its process, whatever becomes of it.
    """
    from filelock import FileLock, Timeout

    path = lock_of(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for {device}: another measurement is at work there ({path})")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
