"""Remembers what was being loaded when a process died, so that a runtime that crashes is passed over the next time.

A crash in a runtime's own code (a missing CPU instruction, a bug) ends the whole process; nothing can be caught. So a
note lies in the cache while an artifact is loaded and answers for the first time. Where an older process left one, the
same is tried in a process of its own first: a power cut leaves a note too, and is no reason to give up a runtime.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from runtime_py.engines import EngineFailed, get_engine, version_of
from runtime_py.folders import cache_folder
from runtime_py.manifest import Artifact

MOST_SECONDS = 300
TRY = "import sys; from runtime_py.session import try_out; try_out(*sys.argv[1:])"


class Crashed(EngineFailed):
    """A runtime that ended its process while it loaded an artifact."""

    id = "engine-crashed"


class Note(msgspec.Struct, frozen=True):
    """Which process loads, or loaded; `reason` says how its trial ended, empty where it was not tried."""

    process: str
    reason: str = ""


@contextmanager
def watched(bundle: Path, artifact: Artifact, threads: int) -> Iterator[None]:
    """Around the loading of an artifact. Raises Crashed where it is known to end its process."""
    place = _place(artifact)
    note = _read(place)
    if note is not None and note.reason:
        raise _crashed(artifact, note.reason, place)
    if note is not None and lives(note.process):
        yield  # another session, here or in another process, which tidies up itself
        return
    if note is not None and (reason := _tried(bundle, artifact, threads)):
        _write(place, Note(identity(os.getpid()), reason))
        raise _crashed(artifact, reason, place)
    _write(place, Note(identity(os.getpid())))
    try:
        yield
    finally:
        place.unlink(missing_ok=True)


def _place(artifact: Artifact) -> Path:
    """One for each artifact and version of its runtime: an update is worth another try."""
    return cache_folder("loading") / f"{artifact.target}-{version_of(artifact.target)}-{artifact.sha256[:16]}.json"


def _tried(bundle: Path, artifact: Artifact, threads: int) -> str:
    """How a process that loads and runs it ends; empty where it ends well."""
    command = [sys.executable, "-c", TRY, str(bundle), artifact.target, artifact.file, str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MOST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"it does not end within {MOST_SECONDS} s"
    if done.returncode >= 0:
        return ""  # what raises there raises here too, and says more
    return f"its process ended with {_signal(-done.returncode)}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _crashed(artifact: Artifact, reason: str, place: Path) -> Crashed:
    return Crashed(
        f"{get_engine(artifact.target).title} crashes on {artifact.file} here: {reason}",
        hint=f"another target or version of the runtime; remove {place} to try again",
    )


def _read(place: Path) -> Note | None:
    try:
        return msgspec.json.decode(place.read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):  # none, or cut off by what ended the process
        return Note("") if place.exists() else None


def _write(place: Path, note: Note) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        beside.write_bytes(msgspec.json.encode(note))
        beside.replace(place)
    except OSError:
        return  # a device without a writable cache: runs as well, but forgets


def lives(process: str) -> bool:
    """Whether the process of an `identity` runs still."""
    number = process.partition(" ")[0]
    return number.isdigit() and identity(int(number)) == process


def identity(pid: int) -> str:
    """Number, start and boot of a process that runs, as numbers come again; "" where there is none.

    Where there is no /proc the number alone.
    """
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        return f"{pid}" if _answers(pid) else ""
    try:
        started = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, IndexError):
        return ""
    return f"{pid} {started} {boot}"


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
