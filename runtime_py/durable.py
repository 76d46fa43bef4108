"""Changes to files that a power cut leaves done or undone, never half done.

A file is written beside its name, its bytes forced to the disk, and renamed; then the folder is forced to the disk.
Every such step goes through `step`, which tests replace to end the process there.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def _nothing(name: str, path: Path) -> None:
    """What happens before a step outside of tests."""


step: Callable[[str, Path], None] = _nothing


def write(path: Path, content: bytes) -> None:
    """The file's whole new content, at once."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    step("write", path)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        rename(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """A folder and those above it."""
    if not folder.is_dir():
        step("make", folder)
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def rename(old: Path, new: Path) -> None:
    """A new name for what is on the disk already; replaces a file."""
    step("rename", new)
    old.replace(new)
    sync_folder(new.parent)


def sync_tree(folder: Path) -> None:
    """Every file and folder below, forced to the disk."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            step("sync", path)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """A folder's names, forced to the disk; Windows has no such call."""
    step("sync", folder)
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(folder: Path) -> None:
    """A folder with all in it: out of sight at once, then bit by bit. What is no folder goes at once."""
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    if not folder.exists():
        return
    hidden = folder if folder.name.startswith(".") else folder.with_name(f".removed.{folder.name}.{os.getpid()}")
    if hidden != folder:
        rename(folder, hidden)
    step("remove", hidden)
    shutil.rmtree(hidden)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone among processes and threads, until the block or the process ends. Windows has no such lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            import fcntl
        except ImportError:
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
