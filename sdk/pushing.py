"""`sdk push`: a bundle onto a device, proven there before it takes the place of the old one."""

import inspect
import json
import os
import posixpath
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from devices import there
from devices.device import ConnectionLost, Device, DeviceFailed, DeviceFull, Done
from devices.files import plain, refused, send
from devices.probing import OLDEST_PYTHON
from devices.reaching import folder_there
from devices.wheel import PROJECT, device_version, device_wheel
from runtime_py.archive import unpacked
from runtime_py.bundle import Bundle, check_files, open_bundle
from runtime_py.choice import ARM, AS_CODE, X86_FLOATS
from runtime_py.engines import ENGINES
from runtime_py.errors import unknown_name
from runtime_py.manifest import Artifact
from sdk.progress import Progress

LOOK_S, INSTALL_S, SWITCH_S = 60.0, 1800.0, 120.0
"""How long each step may take on a slow board; proving has a limit there, for each artifact."""
SPARE_BYTES = 16 * 2**20
START = """p={own}; [ -e "$p" ] || p={python}
command -v "$p" >/dev/null || exit 127
"$p" {words}
"""
"""The Python that an earlier push installed, or else the device's own."""
NO_PROGRAM, ENDED = 127, "@edge-sdk-ended"
KILLED = 128 + 9
OFFLINE = ("--wheels DIR, with aarch64 or x86_64 wheels from pip download --only-binary=:all: --platform ..., "
           "where the device has no network")  # fmt: skip


class NoPython(DeviceFailed):
    """A device without Python, or with one that is too old."""

    id = "device-python"


class Occupied(DeviceFailed):
    """A place on a device that cannot be written, or where something else lies."""

    id = "device-place"


class Busy(DeviceFailed):
    """Another push is at work in the same folder of a device."""

    id = "device-busy"


class InstallFailed(DeviceFailed):
    """What runs bundles could not be installed on a device."""

    id = "device-install"


class NothingToRun(DeviceFailed):
    """A bundle without an artifact for the device, or a device without a runtime for one."""

    id = "nothing-to-run"


@dataclass(frozen=True)
class Pushed:
    """What became of a push. `rows` is the device's own table; `in_place` whether the bundle is in use there now."""

    bundle: str
    device: str
    place: str
    python: str
    installed: str
    sent_bytes: int
    seconds: float
    in_place: bool
    processor: str = ""
    rows: tuple[dict[str, Any], ...] = ()

    @property
    def proven(self) -> tuple[str, ...]:
        """The targets that ran there and answered as PyTorch does."""
        return tuple(row["target"] for row in self.rows if row["status"] == "executed")

    def to_dict(self) -> dict[str, Any]:
        """Plain data; field names carry units."""
        return {**asdict(self), "proven": self.proven, "ok": self.in_place}


@dataclass(frozen=True)
class There:
    """A device, the folder for bundles on it, and the command that starts Python there."""

    device: Device
    place: str
    python: str = "python3"
    found: dict[str, Any] = field(default_factory=dict)

    def call(self, verb: str, *words: str, timeout_s: float) -> dict[str, Any]:
        """What `devices.there` answers."""
        done = self.device.run(self._script("-c", inspect.getsource(there), verb, *words), timeout=timeout_s)
        found = _json_line(done)
        if done.code == NO_PROGRAM and found is None:
            raise NoPython(
                f"{self.device.name} has no {self.python}", expected=f"Python {_version(OLDEST_PYTHON)} or later",
                hint="apt-get install python3 there, or name one: --python python3.11",
            )  # fmt: skip
        if found is None:
            raise _unclear(self.device, done)
        return found

    def module(self, *words: str) -> Done:
        """A module of Python there, with what it says in `out`; it ends with the connection."""
        script = f"({self._script('-m', *words)}) 2>&1; echo {ENDED} $?"
        said = [line.decode(errors="replace") for line in self.device.lines(script)]
        ended = [line.split()[1] for line in said if line.startswith(f"{ENDED} ")]
        if not ended:
            given = f"{self.device.name} went away while it proved the bundle"
            raise ConnectionLost(given, hint="look whether it still runs, and push again")
        return Done(int(ended[-1]), "".join(line for line in said if not line.startswith(f"{ENDED} ")), "")

    def _script(self, *words: str) -> str:
        own = plain(self.path(there.HOME, there.PYTHON))
        return START.format(own=quote(own), python=quote(self.python), words=shlex.join(words))

    def path(self, *names: str) -> str:
        """A path below the folder for bundles."""
        return posixpath.join(self.place, *names)


def push(
    bundle: str | os.PathLike[str],
    device: Device,
    place: str,
    *,
    extras: Sequence[str] = (),
    wheels: Path | None = None,
    python: str = "python3",
    threads: int | None = None,
    allow_failed: bool = False,
    progress: Progress | None = None,
) -> Pushed:
    """Copy a bundle into the folder `place` of a device, prove it there, and put it in the old one's place.

    What runs it, with a runtime, is installed into `place`/.edge-sdk where the device has none of this version: by its
    own pip, or from the folder `wheels`. `extras` are runtimes to install, by default the first that fits where there
    is none. Unless `allow_failed`, one artifact that fails there is enough to leave the old bundle as it is.

    Raises NotABundle or CorruptBundle before anything is sent; a DeviceFailed where the device or the way to it fails.
    """
    progress, started = progress or Progress(), time.monotonic()
    name = Path(bundle).resolve().name.removesuffix(".zip")
    opened = _opened(bundle)
    check_name(name)
    targets = _targets(opened)
    _check_extras(extras)
    progress.say(f"looking at {device.name}")
    board = _looked(There(device, folder_there(place), python), name)
    installed = _installed(board, name, targets, extras, wheels, progress)
    board = installed[0]
    pushed = board.path(f".{name}.{secrets.token_hex(4)}.pushing")
    _check_room(board, opened)
    good = False
    try:
        sent = _sent(board, opened, pushed, progress)
        progress.say(f"proving it on {device.name}, in each of its runtimes")
        found = _proven(board, pushed, threads)
        statuses = [row["status"] for row in found["rows"]]
        if "executed" in statuses and (allow_failed or "failed" not in statuses):
            _done(board.call("switch", board.place, pushed, name, timeout_s=SWITCH_S), board)
            good = True
    finally:
        if not good:
            _tidy(board, pushed)
    return Pushed(
        bundle=name, device=device.name, place=board.path(name), python=board.found["executable"],
        installed=installed[1], sent_bytes=sent, seconds=round(time.monotonic() - started, 1), in_place=good,
        processor=found["device"], rows=tuple(found["rows"]),
    )  # fmt: skip


def _opened(bundle: str | os.PathLike[str]) -> Bundle:
    folder = unpacked(bundle, older=True) if os.fspath(bundle).endswith(".zip") else Path(bundle)
    opened = open_bundle(folder, older=True)
    check_files(opened, complete=True)
    return opened


def check_name(name: str) -> None:
    """Raises DeviceFailed for a bundle's name that no device should have to store."""
    if not name.isprintable() or name.startswith(".") or len(name.encode()) > 200:
        given = f"the bundle's folder is called {name!r}"
        raise DeviceFailed(given, expected="up to 200 printable letters, the first no full stop", hint="rename it")


def _targets(bundle: Bundle) -> list[str]:
    """The targets with a runtime of Python that is not a workstation's alone."""
    found = [one.target for one in bundle.manifest.artifacts if _has_runtime(one)]
    if not found:
        held = ", ".join(one.target for one in bundle.manifest.artifacts)
        given = f"the bundle of {bundle.manifest.model} holds {held}"
        raise NothingToRun(given, expected="an artifact for a runtime", hint="sdk export ... --target tflite")
    return list(dict.fromkeys(found))


def _has_runtime(artifact: Artifact) -> bool:
    return artifact.status != "failed" and artifact.target in ENGINES and artifact.target not in AS_CODE


def _check_extras(extras: Sequence[str]) -> None:
    known = sorted(row.extra for target, row in ENGINES.items() if target not in AS_CODE)
    for extra in extras:
        if extra not in known:
            raise unknown_name("extra with a runtime", extra, known)


def _looked(board: There, name: str) -> There:
    packages = [PROJECT, *(package.replace("_", "-") for row in ENGINES.values()
                           for package in (row.package, *row.older) if package)]  # fmt: skip
    found = board.call("look", board.place, name, str(there.STALE_S), *packages, timeout_s=LOOK_S)
    if tuple(found["python"]) < OLDEST_PYTHON:
        raise NoPython(
            f"{board.device.name} has Python {_version(found['python'])}",
            expected=f"{_version(OLDEST_PYTHON)} or later",
            hint="a later system, or another one there: --python /path/to/python3.11",
        )
    if not found["writable"]:
        raise Occupied(
            f"{found['place']} on {board.device.name} cannot be written",
            expected="a folder of this user", hint="/~/models is models in the home",
        )  # fmt: skip
    if found["occupied"]:
        raise Occupied(
            f"{posixpath.join(found['place'], name)} on {board.device.name} is no bundle", hint="another folder"
        )
    return There(board.device, found["place"], board.python, found)


def _installed(
    board: There, name: str, targets: Sequence[str], extras: Sequence[str], wheels: Path | None, progress: Progress
) -> tuple[There, str]:
    """The device with what runs the bundle, and what was installed to that end; "" for nothing."""
    has = _runtimes(board, targets)
    wanted = [extra for extra in extras if not _has_extra(board, extra)]
    if not extras and not has:
        wanted = [ENGINES[_first(board, targets)].extra]
    if _is_current(board) and not wanted:
        return board, ""
    what = f"{PROJECT}[{','.join(wanted)}]" if wanted else PROJECT
    progress.say(f"installing {what} in {board.path(there.HOME)}")
    _install(board, wanted, wheels)
    after = _looked(board, name)
    if not _is_current(after):
        raise InstallFailed(f"{PROJECT} is not to be found on {board.device.name} after it was installed")
    if not _runtimes(after, targets):
        choices = ", ".join(dict.fromkeys(ENGINES[target].extra for target in targets))
        raise NothingToRun(
            f"{board.device.name} has no runtime for {', '.join(targets)}", hint=f"--extra with one of {choices}"
        )
    return after, f"{what} {device_version()}"


def _is_current(board: There) -> bool:
    """As it is here: this project's wheel, which somebody installed there, or one that an earlier push made."""
    there_now = board.found["packages"].get(PROJECT)
    return there_now is not None and there_now in (device_version(), device_version().partition("+")[0])


def _runtimes(board: There, targets: Sequence[str]) -> list[str]:
    return [target for target in targets if _packages(target) & set(board.found["packages"])]


def _has_extra(board: There, extra: str) -> bool:
    return any(row.extra == extra and _packages(target) & set(board.found["packages"])
               for target, row in ENGINES.items())  # fmt: skip


def _packages(target: str) -> set[str]:
    row = ENGINES[target]
    return {package.replace("_", "-") for package in (row.package, *row.older) if package}


def _first(board: There, targets: Sequence[str]) -> str:
    """What the device would run first, had it every runtime."""
    rule = X86_FLOATS if board.found["machine"] in ("x86_64", "AMD64", "i686") else ARM
    apple = board.found["system"] == "Darwin"
    fitting = [target for target in rule.order if target in targets and (apple or not ENGINES[target].systems)]
    if not fitting:
        given = f"{board.device.name} runs {board.found['system']}, and the bundle holds {', '.join(targets)}"
        raise NothingToRun(given, hint="sdk export ... --target tflite")
    return fitting[0]


def _install(board: There, extras: Sequence[str], wheels: Path | None) -> None:
    incoming = board.path(there.HOME, f"incoming.{secrets.token_hex(4)}")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        made = device_wheel(folder)
        for path in [*_given(wheels), *_own_pip()]:
            if not (folder / path.name).exists():
                shutil.copy(path, folder)
        send(board.device, folder, incoming)
    wanted = made.name + (f"[{','.join(extras)}]" if extras else "")
    found = board.call(
        "install", board.place, incoming, "online" if wheels is None else "offline", wanted, timeout_s=INSTALL_S
    )
    if "error" in found:
        raise _busy(board, found) or _why_not_installed(board, found["error"], extras, wheels)


def _why_not_installed(board: There, said: str, extras: Sequence[str], wheels: Path | None) -> DeviceFailed:
    lines = said.splitlines()
    last = next((line for line in reversed(lines) if "ERROR" in line), lines[-1]).removeprefix("ERROR: ")
    if "no space left" in said.lower():
        return DeviceFull(f"{board.device.name} has no room left to install in {board.path(there.HOME)}")
    if "no pip on the device" in said:
        hint = "apt-get install python3-pip there, or put pip's own wheel into the folder of --wheels"
    elif "No matching distribution" in said:
        python, machine = _version(board.found["python"][:2]), board.found["machine"]
        also = ", ".join(sorted({row.extra for row in ENGINES.values()} - {"sdk", "coreml", *extras}))
        hint = f"look whether it has a wheel for Python {python} and {machine}; other runtimes: --extra {also}"
        hint += "" if wheels is not None else f"; or {OFFLINE}"
    else:
        hint = OFFLINE if wheels is None else "look at the device's Python and disk"
    return InstallFailed(f"{board.device.name} could not install {PROJECT}: {last}", hint=hint)


def _given(wheels: Path | None) -> list[Path]:
    if wheels is None:
        return []
    found = sorted(wheels.glob("*.whl")) if wheels.is_dir() else []
    if not found:
        raise InstallFailed(f"{wheels} holds no wheel", expected="a folder of .whl files")
    return found


def _own_pip() -> list[Path]:
    """The pip that comes inside of this Python: a device may have none. Debian takes it out of its own."""
    import ensurepip

    return sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))


def _check_room(board: There, bundle: Bundle) -> None:
    needed = _bytes(bundle) + SPARE_BYTES
    free = board.found["free_bytes"]
    if free < needed:
        given = f"{board.device.name} has {free / 1e6:.0f} MB free for {board.place}"
        raise DeviceFull(given, expected=f"{needed / 1e6:.0f} MB beside the old bundle", hint="make room there")


def _sent(board: There, bundle: Bundle, pushed: str, progress: Progress) -> int:
    total = _bytes(bundle)
    progress.say(f"sending {total / 1e6:.1f} MB")
    send(board.device, bundle.path, pushed, lambda done: progress.count(min(done, total), total))
    return total


def _bytes(bundle: Bundle) -> int:
    return sum(one.bytes for one in bundle.manifest.artifacts) + sum(one.bytes for one in bundle.manifest.files)


def _proven(board: There, pushed: str, threads: int | None) -> dict[str, Any]:
    more = [] if threads is None else ["--threads", str(threads)]
    done = board.module("runtime_py", "verify", pushed, "--json", *more)
    found = _json_line(done)
    if found is None:
        raise _unclear(board.device, done)
    if "error" in found:
        error = found["error"]
        given = f"{board.device.name} refuses the bundle: {error['given']}"
        raise DeviceFailed(given, expected=error["expected"], hint=error["hint"])
    return found


def _done(found: dict[str, Any], board: There) -> None:
    if "error" in found:
        raise _busy(board, found) or DeviceFailed(
            f"{board.device.name} could not put the bundle in place: {found['error']}"
        )


def _busy(board: There, found: dict[str, Any]) -> Busy | None:
    if "busy" not in found:
        return None
    hint = "wait for the other, then push again"
    return Busy(f"{board.device.name}: {found['error']}", expected="one at a time", hint=hint)


def _tidy(board: There, pushed: str) -> None:
    """Without a connection it is left to the next push."""
    with suppress(DeviceFailed):
        board.device.run(f"rm -rf -- {quote(pushed)}", timeout=SWITCH_S)


def _json_line(done: Done) -> dict[str, Any] | None:
    """The last line that is JSON: a login shell may say more."""
    for line in reversed(done.out.splitlines()):
        try:
            found = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            continue
        if isinstance(found, dict):
            return found
    return None


def _unclear(device: Device, done: Done) -> DeviceFailed:
    """Python there ended without an answer; a shell tells a signal as its number and 128."""
    if done.code == KILLED:
        return DeviceFailed(f"Python on {device.name} was killed", hint="look whether it has enough memory")
    if done.code > 128:
        return DeviceFailed(f"Python on {device.name} ended with signal {done.code - 128}")
    return refused(device, done, f"Python ended with {done.code}")


def _version(numbers: Sequence[int]) -> str:
    return ".".join(str(number) for number in numbers)
