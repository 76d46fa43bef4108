"""Files to a device and back, through a pipe of tar into its shell. The device needs nothing but sh and tar."""

import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from shlex import quote
from typing import Any, cast

from devices.device import ConnectionLost, Device, DeviceFailed, DeviceFull, Done

RECEIVE = """umask 022
into={into}
mkdir -p -- "$into" || exit 1
trap 'rm -rf -- "$into"' EXIT
trap 'exit 1' HUP INT TERM PIPE
tar -xof - -C "$into" && trap - EXIT"""
"""Takes itself back where tar does not come to its end, as when the connection breaks."""
WHOLE = b"whole\n"
NO_ROOM = ("no space left", "disk quota exceeded", "file too large")
CHUNK = 2**16
BLOCK = tarfile.BLOCKSIZE
SPOILT = b"!" * (4 * BLOCK)
"""No entry of a tar, as its checksum is wrong; long enough to reach beyond the end of what was being sent."""
PATIENCE_S = 6 * 3600.0
"""A large bundle over a slow link; a dead one is noticed by ssh."""

Sent = Callable[[int], None]
"""Told how many bytes have been sent so far."""


class Unreadable(DeviceFailed):
    """A folder here that cannot be sent as it is."""

    id = "unreadable-folder"


def send(device: Device, folder: Path, remote: str, sent: Sent | None = None) -> None:
    """What a folder holds, into the folder `remote` of the device, which is made.

    Raises DeviceFull, ConnectionLost or another DeviceFailed, Unreadable where a file here cannot be sent; nothing is
    left there then.
    """
    script = RECEIVE.format(into=quote(plain(remote)))
    unreadable: list[OSError] = []
    done = device.run(script, stdin=_counted(_or_spoilt(packed(folder), unreadable), sent), timeout=PATIENCE_S)
    if unreadable:
        given = f"{folder} cannot be sent: {unreadable[0]}"
        raise Unreadable(given, expected="plain files that nothing changes meanwhile") from unreadable[0]
    if done.code:
        raise refused(device, done, f"{remote} could not be written")


def fetch(device: Device, remote: str, folder: Path, most_bytes: int) -> int:
    """What the device's folder `remote` holds, into a new folder here; gives the bytes of its files.

    It appears when it is whole. Raises ConnectionLost where it breaks off, and DeviceFailed where it holds more than
    `most_bytes`, or what is no plain file.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as work:
        whole = Path(work) / "whole"
        whole.mkdir()
        script = f"tar -cf - -C {quote(plain(remote))} . && printf {WHOLE.decode()!r}"
        stream = _Stream(device.lines(script))
        try:
            total = _unpacked(stream, whole, most_bytes)
            if not stream.rest().endswith(WHOLE):
                raise tarfile.ReadError("it ends too early")
        except tarfile.FilterError as error:
            raise DeviceFailed(f"{device.name} sent a name that leads elsewhere: {error}") from error
        except tarfile.TarError as error:
            given = f"{remote} did not come whole from {device.name}: {error}"
            raise ConnectionLost(given, hint="look whether it exists there, and try again") from error
        finally:
            stream.close()
        whole.rename(folder)
    return total


def plain(path: str) -> str:
    """A path that no program takes for an option."""
    return f"./{path}" if path.startswith("-") else path


def refused(device: Device, done: Done, what: str) -> DeviceFailed:
    """The error of a script that ended badly: DeviceFull, where it says so."""
    lines = [line.strip() for line in (done.err or done.out).splitlines() if line.strip()]
    for line in lines:
        if any(word in line.lower() for word in NO_ROOM):
            return DeviceFull(f"{device.name} has no room left: {line}", hint="make room there, and try again")
    return DeviceFailed(f"{device.name}: {what}: {lines[-1] if lines else f'it ended with {done.code}'}")


def packed(folder: Path) -> Iterator[bytes]:
    """A tar of what the folder holds, in chunks. Names and numbers of this machine's users mean nothing there, and are
    left out. Raises OSError where a file changes meanwhile."""
    for path in sorted(folder.rglob("*")):
        if not path.is_dir() and (path.is_symlink() or not path.is_file()):
            raise OSError(f"{path} is no plain file")
        entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
        about = path.stat()
        entry.mtime, entry.mode = int(about.st_mtime), 0o755
        if path.is_dir():
            entry.type = tarfile.DIRTYPE
            yield _head(entry)
            continue
        entry.size, entry.mode = about.st_size, 0o755 if about.st_mode & 0o100 else 0o644
        yield _head(entry)
        yield from _content(path, entry.size)
    yield bytes(2 * BLOCK)


def _head(entry: tarfile.TarInfo) -> bytes:
    """In the form that every tar reads, busybox's too, with names in UTF-8."""
    return entry.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _content(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            chunk = file.read(min(CHUNK, left))
            if not chunk:
                raise OSError(f"{path} became shorter while it was sent")
            left -= len(chunk)
            yield chunk
    yield bytes(-size % BLOCK)


def _or_spoilt(chunks: Iterator[bytes], unreadable: list[OSError]) -> Iterator[bytes]:
    """The chunks, and what no tar takes where they break off: an archive that just ends may pass for a whole one."""
    try:
        yield from chunks
    except OSError as error:
        unreadable.append(error)
        yield SPOILT


def _counted(chunks: Iterator[bytes], sent: Sent | None) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        yield chunk
        total += len(chunk)
        if sent is not None:
            sent(total)


class _Stream:
    """A device's output to read from."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines, self._held = lines, bytearray()

    def read(self, size: int) -> bytes:
        while len(self._held) < size:
            line = next(self._lines, b"")
            if not line:
                break
            self._held += line
        found = bytes(self._held[:size])
        del self._held[:size]
        return found

    def rest(self) -> bytes:
        """Its end, where no more than padding is left."""
        return self.read(2**20)

    def close(self) -> None:
        close = getattr(self._lines, "close", None)
        if close is not None:
            close()


def _unpacked(stream: _Stream, whole: Path, most_bytes: int) -> int:
    total = 0
    with tarfile.open(fileobj=cast(Any, stream), mode="r|", bufsize=BLOCK) as archive:
        for entry in archive:
            if not (entry.isfile() or entry.isdir()):
                raise DeviceFailed(f"the device sent {entry.name!r}", expected="plain files and folders")
            total += entry.size
            if total > most_bytes:
                raise DeviceFailed(f"the device sent over {most_bytes} bytes", expected=f"{most_bytes} at most")
            archive.extract(entry, whole, filter="data")
    return total
