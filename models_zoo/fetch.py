"""Weights from an address: fetched once into a cache, checked against their SHA-256, offline ever after."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from models_zoo.download import FetchError, Progress, download, drop, forward_only, length, shown

POLL_S = 1.0
STALL_S = 300.0
"""How long another process may hold a download without a new byte; its own tries take less."""


def fetch(url: str, sha256: str, size: int = 0, *, progress: Progress | None = None) -> Path:
    """The file at `url` with this SHA-256 (64 hexadecimal digits) and `size` in bytes, 0 where unknown.

    A file of the cache with the right hash is returned without any network, whoever put it there. Processes that
    want the same file at once fetch it once. Raises FetchError.
    """
    sha256 = sha256.lower()
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise FetchError(f"SHA-256 {sha256!r}", expected="64 hexadecimal digits")
    path = cached_path(url, sha256)
    try:
        if not _holds(path, sha256):
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.part")
            with _alone(part, size, progress):
                if not _holds(path, sha256):  # or else another process fetched it while this one waited
                    _fetch_to(path, part, url, sha256, size, progress)
    except FetchError as error:
        error.expected = error.expected or f"a network once, or the file itself, SHA-256 {sha256}"
        error.hint = error.hint or f"fetch {shown(url)} elsewhere and put it at {path}, or --weights FILE"
        raise
    except OSError as error:
        raise FetchError(
            f"the cache {path.parent} cannot be used: {error.strerror or error}",
            expected="a folder that can be written",
            hint="set EDGE_SDK_CACHE to another folder",
        ) from error
    return path


def cache_folder() -> Path:
    """`EDGE_SDK_CACHE`, or else `edge-sdk/weights` in the user's cache (XDG Base Directory Specification 0.8)."""
    if own := os.environ.get("EDGE_SDK_CACHE"):
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if os.path.isabs(base) else Path(os.path.expanduser("~")) / ".cache"
    return home / "edge-sdk" / "weights"


def cached_path(url: str, sha256: str) -> Path:
    """Where the cache keeps the file: its hash keeps versions apart, its name says what it is."""
    name = unquote(urlsplit(url).path.rpartition("/")[2])
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:].lstrip(".") or "weights"
    return cache_folder() / f"{sha256[:16]}-{safe}"


def _fetch_to(path: Path, part: Path, url: str, sha256: str, size: int, progress: Progress | None) -> None:
    progress = forward_only(progress)
    resumed = download(url, part, size, progress)
    given = _sha256(part)
    if given != sha256 and resumed:  # what was kept may be of another file: once more, from the first byte
        drop(part)
        download(url, part, size, progress)
        given = _sha256(part)
    if given != sha256:
        drop(part)
        raise FetchError(
            f"{shown(url)} holds another file: SHA-256 {given}",
            expected=f"SHA-256 {sha256}",
            hint="the file was replaced or changed on its way; it was not kept",
        )
    os.replace(part, path)
    drop(part)  # its origin is of no more use


@contextmanager
def _alone(part: Path, size: int, progress: Progress | None) -> Iterator[None]:
    """Hold the download against other processes and threads; meanwhile report what the one that has it does."""
    from filelock import FileLock, Timeout

    lock = FileLock(part.with_name(f"{part.name}.lock"))
    report, seen, still_s = forward_only(progress), -1, 0.0
    while True:
        try:
            lock.acquire(timeout=POLL_S)
            break
        except Timeout as busy:
            now = length(part)
            still_s = still_s + POLL_S if now == seen else 0.0
            seen = now
            report(now, size)
            if still_s >= STALL_S:
                raise FetchError(
                    f"another process has held {lock.lock_file} for {STALL_S:.0f} s without a new byte",
                    hint="end that process and try again",
                ) from busy
    try:
        yield
    finally:
        lock.release()


def _holds(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    state = path.stat()
    return _sha256_once(path, state.st_size, state.st_mtime_ns) == sha256


@lru_cache(maxsize=64)
def _sha256_once(path: Path, size: int, changed_ns: int) -> str:
    """The hash, computed once a process as long as size and time of the file stay."""
    return _sha256(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
