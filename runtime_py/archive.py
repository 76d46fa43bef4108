"""A bundle as one file, NAME.bundle.zip. Unpacking trusts nothing: names and sizes are the manifest's, or it ends."""

import errno
import hashlib
import os
import shutil
import stat
import struct
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from runtime_py import durable
from runtime_py.bundle import (
    MANIFEST,
    MANIFEST_HASH,
    MANIFEST_LIMIT_BYTES,
    Bundle,
    CorruptBundle,
    NotABundle,
    check_files,
    open_bundle,
)
from runtime_py.damaged import DAMAGED_ZIP
from runtime_py.errors import SdkError
from runtime_py.folders import cache_folder
from runtime_py.manifest import Artifact, File
from runtime_py.signing import LIMIT_BYTES, SIGNATURE, Keys

SUFFIX = ".bundle.zip"
MOST_BYTES = 16 * 2**30
MOST_ENTRIES = 4096
DIRECTORY_LIMIT_BYTES = 2 * 2**20
TAIL_BYTES = 64 + 22 + 0xFFFF
CHUNK_BYTES = 2**20
SPARE_BYTES = 16 * 2**20
"""Of the disk, left free after unpacking."""
FIRST = {MANIFEST: MANIFEST_LIMIT_BYTES, MANIFEST_HASH: 1024, SIGNATURE: LIMIT_BYTES}
"""What is read before anything else, and how much of it at most."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of the disk that is written to, which say nothing of what is read."""


class NoRoom(SdkError):
    """A bundle that cannot be written where it should go: no space, or no permission."""

    id = "no-room"


def pack(folder: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Write the bundle at `folder` as one file, by default beside it; the same bundle gives the same bytes.

    Raises NotABundle or CorruptBundle where not every file is what the manifest says.
    """
    bundle = open_bundle(folder)
    check_files(bundle, complete=True)
    path = bundle.path.resolve()
    place = Path(out) if out is not None else path.with_name(f"{path.name}.zip")
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, allowZip64=False) as archive:
            files = [file for file in path.rglob("*") if file.is_file()]
            for file in sorted(files, key=lambda file: (file.name not in FIRST, file.relative_to(path).as_posix())):
                entry = zipfile.ZipInfo(file.relative_to(path).as_posix())
                entry.external_attr, entry.compress_type = (stat.S_IFREG | 0o644) << 16, zipfile.ZIP_DEFLATED
                entry.file_size = file.stat().st_size
                with file.open("rb") as source, archive.open(entry, "w") as target:
                    shutil.copyfileobj(source, target, CHUNK_BYTES)
        beside.replace(place)
    except (OSError, zipfile.LargeZipFile) as error:
        raise SdkError(f"{place} cannot be written: {error}", expected="a folder with space, and under 4 GB") from error
    finally:
        beside.unlink(missing_ok=True)
    return place


def unpack(
    archive: str | os.PathLike[str], into: str | os.PathLike[str], key: Keys | None = None, *, older: bool = False
) -> Path:
    """The bundle of a zip file, as the new folder `into`, every file checked; with `key` its signature first of all.

    Raises NotABundle, CorruptBundle, NewerBundle, NoRoom, or what `open_bundle` raises for a key; nothing is left then.
    """
    source, place = Path(archive), Path(into)
    if place.exists():
        raise SdkError(f"{place} exists already", expected="a new name", hint=f"remove {place}, or choose another")
    work: Path | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        _unpack(source, work, key, older)
        work.chmod(0o755)
        durable.sync_tree(work)
        durable.rename(work, place)
    except OSError as error:
        raise NoRoom(f"{place} cannot be written: {error.strerror}", expected="a folder with space") from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)  # gone already where all went well
    return place


def unpacked(archive: str | os.PathLike[str], key: Keys | None = None, *, older: bool = False) -> Path:
    """The same in this machine's cache, where it stays: the next time it is only looked up, by the zip's own hash."""
    source = Path(archive)
    if not source.is_file():
        raise NotABundle(f"{source} does not exist", expected=f"a folder NAME.bundle or a file NAME{SUFFIX}")
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_folder("bundles")
    place = folder / f"{digest[:32]}.bundle"
    if not _is_whole(place):
        try:
            with durable.locked(folder.with_suffix(".lock")):
                if not _is_whole(place):  # no other process was faster
                    for left in (*folder.glob(".*"), place):  # what was cut off, or has rotted
                        durable.remove(left)
                    unpack(source, place, key, older=older)
        except OSError as error:
            raise NoRoom(f"{place} cannot be written: {error.strerror}", hint="EDGE_SDK_CACHE=FOLDER") from error
    return place


def _is_whole(place: Path) -> bool:
    try:
        check_files(open_bundle(place), complete=True)
    except SdkError:
        return False
    return True


def _unpack(source: Path, work: Path, key: Keys | None, older: bool) -> None:
    try:
        _check_directory(source)
        with zipfile.ZipFile(source) as archive:
            entries = _entries(archive)
            for name, limit in FIRST.items():
                if name in entries:
                    _extract(archive, entries[name], work / name, limit)
            bundle = open_bundle(work, key, older=older)
            _check_claims(bundle, entries)
            for name, entry in entries.items():
                if name not in FIRST:
                    _extract(archive, entry, work / name, entry.file_size)
    except DAMAGED_ZIP as error:
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise CorruptBundle(f"{source} cannot be unpacked: {error}", expected="what sdk pack writes") from error
    check_files(bundle, complete=True)


def _check_directory(source: Path) -> None:
    """The table of contents must be small: Python's reader takes it whole into memory, however large it says it is."""
    with source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22 or (at < 20 and len(tail) < size):
        raise NotABundle(f"{source} is no whole zip file", expected=f"NAME{SUFFIX}")
    if at >= 20 and tail[at - 20 : at - 16] == b"PK\x06\x07":
        raise NotABundle(f"{source} is of the kind for over 4 GB", expected="a plain zip file")
    entries, length = struct.unpack_from("<HI", tail, at + 10)
    if entries > MOST_ENTRIES or length > DIRECTORY_LIMIT_BYTES:
        raise NotABundle(f"{source} claims {entries} entries in {length:,} bytes", expected=f"at most {MOST_ENTRIES}")


def _entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files by name; raises for names that could leave the folder or fall together, links and encryption."""
    found: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for entry in archive.infolist():
        name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
        is_folder = name.endswith("/")
        if not _is_inside(name[:-1] if is_folder else name) or entry.orig_filename != name:
            raise NotABundle(f"the zip holds the name {entry.orig_filename!r}", expected="names inside of the bundle")
        if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
            raise NotABundle(f"{name!r} is a link or a special file", expected="plain files")
        if entry.flag_bits & 0x1:
            raise NotABundle(f"{name!r} is encrypted", expected="a zip file without a password")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise NotABundle(f"{name!r} is compressed by method {entry.compress_type}", expected="deflate, or nothing")
        if is_folder:
            continue
        if name.casefold() in folded:
            raise NotABundle(f"the zip holds {name!r} twice", expected="each name once")
        folded.add(name.casefold())
        found[name] = entry
    return found


def _is_inside(name: str) -> bool:
    parts = name.split("/")
    return name.isprintable() and not {"", ".", ".."} & set(parts) and "\\" not in name and ":" not in name


def _check_claims(bundle: Bundle, entries: dict[str, zipfile.ZipInfo]) -> None:
    """What the manifest says, and nothing else, before a byte of it is unpacked; and room for it."""
    rest = {name: entry.file_size for name, entry in entries.items() if name not in FIRST}
    owners: tuple[Artifact | File, ...] = (*bundle.manifest.artifacts, *bundle.manifest.files)
    for own in owners:
        inside = [name for name in rest if name == own.file or name.startswith(f"{own.file}/")]
        claimed = sum(rest.pop(name) for name in inside)
        if not inside or claimed != own.bytes:
            raise CorruptBundle(f"the zip holds {claimed:,} bytes of {own.file}", expected=f"{own.bytes:,} bytes")
    if rest:
        raise CorruptBundle(f"{next(iter(rest))} is not in the manifest", expected="only files that it names")
    check_room(bundle.path, sum(entry.file_size for entry in entries.values()))


def check_room(place: Path, size: int) -> None:
    """Whether the disk of the folder `place` takes `size` bytes more. Raises CorruptBundle or NoRoom."""
    if size > MOST_BYTES:
        raise CorruptBundle(f"the bundle claims to take {size:,} bytes", expected=f"at most {MOST_BYTES:,}")
    free = shutil.disk_usage(place).free
    if size + SPARE_BYTES > free:
        raise NoRoom(
            f"the bundle takes {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free on the disk of {place.parent}",
            hint="remove old bundles or versions",
        )


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: Path, limit: int) -> None:
    """One file, never more than `limit` bytes of it, whatever its table says. Its sum is checked by the reader."""
    place.parent.mkdir(parents=True, exist_ok=True)
    left = limit
    with archive.open(entry) as source, place.open("xb") as target:
        for chunk in _chunks(source):
            left -= len(chunk)
            if left < 0:
                raise CorruptBundle(f"{entry.filename} unpacks to over {limit:,} bytes", expected="what it claims")
            target.write(chunk)


def _chunks(source: IO[bytes]) -> Iterable[bytes]:
    while chunk := source.read(CHUNK_BYTES):
        yield chunk
