"""Folders that become visible only when they are complete."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runtime_py.errors import SdkError


class DiskFull(SdkError):
    """No space is left where the bundle is written."""

    id = "disk-full"


@contextmanager
def staging(out: Path, name: str) -> Iterator[Path]:
    """A temporary folder beside its final place, removed at the end whatever happens (errors, Ctrl-C)."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=out))
    except OSError as error:
        raise SdkError(f"cannot write to {out}: {error.strerror}", hint="--out DIR") from error
    try:
        yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space is left in {out}", hint="free some, or --out DIR on another disk") from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, final: Path) -> None:
    """Rename `folder` to `final`; what was there before is moved aside first and removed last."""
    folder.chmod(0o755)
    old = folder.with_name(f"{folder.name}.old")
    if final.exists():
        final.rename(old)
    try:
        folder.rename(final)
    except OSError:
        if old.exists():
            old.rename(final)
        raise
    shutil.rmtree(old, ignore_errors=True)


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename it, so that nobody ever reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_bytes(content)
        beside.rename(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space is left for {path}", hint="free some") from error
        raise
