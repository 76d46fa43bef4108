"""An Android device behind the system's own `adb`, by USB or by the network. No library is needed.

`adb shell` ends with 0 where the device went away, and on old Androids always. So each script runs in a shell of its
own, whose exit code is printed behind a mark: without the mark the connection was cut.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import IO

from devices.device import ConnectionLost, DeviceFailed, DeviceFull, Done, LoginRefused, Unreachable
from devices.local import feed, read_back

ANSWER_S = 30.0
"""For questions to the adb server; `adb connect` itself gives up after ten."""
SHELL_V2 = "shell_v2"
"""The feature of a daemon that passes input on, keeps errors apart and says exit codes."""
LONGEST_BYTES = 4000
"""Of a script on adb's own line: an older daemon takes no message above 4096 bytes."""
FROM_INPUT = 's=$(cat); exec sh -c "$s" </dev/null'
"""Runs a longer script, which comes as input, and has an empty input itself as any other."""
STATES: dict[str, tuple[type[DeviceFailed], str, str]] = {
    "unauthorized": (
        LoginRefused,
        "it has not allowed this computer",
        "unlock its screen and tap Allow, or revoke USB debugging's authorisations there and plug it in again",
    ),
    "authorizing": (
        LoginRefused,
        "it is being asked whether it allows this computer",
        "unlock its screen and tap Allow",
    ),
    "offline": (Unreachable, "it does not answer", "plug it in again, or: adb reconnect offline"),
    "connecting": (Unreachable, "it is still being connected", "try again in a few seconds"),
    "no permissions": (
        LoginRefused,
        "this user may not open it on USB",
        "apt-get install android-sdk-platform-tools-common, join the group plugdev, and plug it in again",
    ),
    "recovery": (Unreachable, "it is in its recovery", "adb reboot"),
    "sideload": (Unreachable, "it waits for an update to be sideloaded", "adb reboot"),
    "bootloader": (Unreachable, "it is in its bootloader", "fastboot reboot"),
    "rescue": (Unreachable, "it is in rescue mode", "adb reboot"),
}
"""What `adb devices` says of a device that cannot be used: the error, its words, and a way out."""


class NoAdb(DeviceFailed):
    """The program adb is not installed, or does not answer."""

    id = "no-adb"


@dataclass(frozen=True)
class Listed:
    """A row of `adb devices -l`: `state` is `device` where it can be used."""

    serial: str
    state: str
    model: str = ""


@dataclass(frozen=True)
class Adb:
    """`serial` as `adb devices` shows it, or host:port; `environment` is added to this process's own for adb."""

    serial: str
    program: str = "adb"
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """adb:SERIAL."""
        return f"adb:{self.serial}"

    def run(self, script: str, *, stdin: Iterator[bytes] | None = None, timeout: float = 600) -> Done:
        """Run it, and wait for its end. Raises ConnectionLost, or another DeviceFailed.

        Before Android 7 errors stand among the output, and what takes input, or is longer than LONGEST_BYTES, is a
        DeviceFailed.
        """
        mark = _mark()
        if stdin is None and len(coded(script, mark, False).encode()) > LONGEST_BYTES:
            script, stdin = FROM_INPUT, iter([script.encode()])
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self._start(coded(script, mark, stdin is not None), stdin is not None, out, err)
            try:
                if stdin is not None:
                    feed(process, stdin)
                process.wait(timeout)
            except subprocess.TimeoutExpired as error:
                hint = "run it again, or see what it waits for there"
                raise ConnectionLost(f"{self.name} did not answer within {timeout:.0f} s", hint=hint) from error
            finally:
                _end(process)
            said, errors = read_back(out).replace("\r\n", "\n"), read_back(err)
        body, found, code = said.rpartition(f"\n{mark} ")
        if not found:
            raise self._lost(errors)
        return Done(int(code), body, errors)

    def lines(self, script: str) -> Iterator[bytes]:
        """Run it, and give its lines as they come. When this is closed the script is ended there: it should `exec` its
        program. Raises ConnectionLost where the device goes away, and DeviceFailed before Android 7."""
        mark = _mark()
        with tempfile.TemporaryFile() as err:
            process = self._start(watched(script, mark), True, subprocess.PIPE, err)
            try:
                assert process.stdout is not None
                ended = yield from _before(mark.encode(), process.stdout)
            finally:
                _end(process)
            if not ended:
                raise self._lost(read_back(err))

    def push(self, source: Path, target: str) -> None:
        """Send a file, or what a folder holds, to the path `target` there. Raises DeviceFull, or DeviceFailed."""
        given = f"{source}/." if source.is_dir() else str(source)
        self._files("push", given, target)

    def pull(self, source: str, target: Path) -> None:
        """Fetch the file or the folder `source` of the device. Raises DeviceFailed."""
        self._files("pull", source, str(target))

    def check(self) -> None:
        """Connect, where the serial is host:port; raise what keeps the device from being used."""
        if ":" in self.serial:
            ask(("connect", self.serial), self.program, self.environment)
        known = {row.serial: row for row in listed(self.program, self.environment)}
        if self.serial not in known:
            others = ", ".join(known) or "none is connected"
            hint = "is its address right, and adb over Wi-Fi on?" if ":" in self.serial else "plug it in; adb devices"
            raise Unreachable(f"adb knows no device {self.serial!r}", expected=f"one of: {others}", hint=hint)
        if known[self.serial].state != "device":
            raise not_ready(self.name, known[self.serial].state)

    def _files(self, *words: str) -> None:
        self.check()
        done = ask(("-s", self.serial, *words), self.program, self.environment, None)  # files may be large
        if done.code:
            lines = [line for line in (done.out + done.err).splitlines() if "error" in line or "failed" in line]
            reason = lines[0].removeprefix("adb: ").removeprefix("error: ") if lines else f"adb ended with {done.code}"
            if "No space left" in reason:
                raise DeviceFull(f"{self.name}: {reason}", hint="free some space there: adb shell df /data")
            raise DeviceFailed(f"{self.name}: {reason}", hint="look at the path, and at `adb devices`")

    def _start(self, script: str, fed: bool, out: IO[bytes] | int, err: IO[bytes]) -> "subprocess.Popen[bytes]":
        self.check()
        if fed and SHELL_V2 not in ask(("-s", self.serial, "features"), self.program, self.environment).out.split():
            hint = "update it; single commands run there all the same"
            raise DeviceFailed(f"{self.name}: its Android takes no input", expected="Android 7 or later", hint=hint)
        return subprocess.Popen(
            [self.program, "-s", self.serial, "shell", *([] if fed else ["-n"]), script],
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL, stdout=out, stderr=err,
            env=os.environ | dict(self.environment),
        )  # fmt: skip

    def _lost(self, errors: str) -> ConnectionLost:
        said = errors.strip().splitlines()
        why = said[0].removeprefix("error: ") if said else "the connection was cut"
        hint = "look at the cable, at its battery, and whether it has started anew"
        return ConnectionLost(f"{self.name} went away: {why}", hint=hint)


def only_one(program: str = "adb", environment: Mapping[str, str] | None = None) -> Adb:
    """The device, where adb knows a single one. Raises Unreachable that names all of them, or NoAdb."""
    known = listed(program, environment or {})
    if len(known) != 1:
        names = ", ".join(f"adb:{row.serial} ({row.model or row.state})" for row in known)
        given = f"adb knows {len(known)} devices" if known else "adb knows no device"
        hint = "name one" if known else "plug it in with USB debugging on, or: adb connect HOST:PORT"
        raise Unreachable(given, expected=names or "one", hint=hint)
    return Adb(known[0].serial, program, environment or {})


def listed(program: str = "adb", environment: Mapping[str, str] | None = None) -> list[Listed]:
    """What `adb devices -l` lists. Raises NoAdb."""
    return read_devices(ask(("devices", "-l"), program, environment or {}).out)


def read_devices(text: str) -> list[Listed]:
    """Takes the rows of `adb devices -l` apart; a state may be of two words."""
    rows = []
    for line in text.splitlines():
        serial, _, rest = line.strip().partition(" ")
        if not rest or line.startswith(("*", "List of devices")):
            continue
        rest = rest.strip()
        state = "no permissions" if rest.startswith("no permissions") else rest.split()[0]
        facts = dict(word.split(":", 1) for word in rest.split() if ":" in word)
        rows.append(Listed(serial, state, facts.get("model", "").replace("_", " ")))
    return rows


def not_ready(name: str, state: str) -> DeviceFailed:
    """The error for a device in that state."""
    kind, reason, hint = STATES.get(state, (DeviceFailed, f"its state is {state!r}", "adb devices -l"))
    return kind(f"{name}: {reason}", hint=hint)


def ask(
    words: tuple[str, ...],
    program: str = "adb",
    environment: Mapping[str, str] | None = None,
    patience_s: float | None = ANSWER_S,
) -> Done:
    """Run adb to its end. Raises NoAdb."""
    if shutil.which(program) is None:
        hint = "apt-get install adb, or Android's platform-tools"
        raise NoAdb(f"no program {program!r} is installed here", hint=hint)
    try:
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            timeout=patience_s, check=False,
            env=os.environ | dict(environment or {}),
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NoAdb(
            f"adb did not answer within {patience_s or 0:.0f} s", hint="adb kill-server, and try again"
        ) from error
    return Done(done.returncode, done.stdout, done.stderr)


def _mark() -> str:
    return f"@{secrets.token_hex(8)}"


def coded(script: str, mark: str, fed: bool) -> str:
    """Says the script's exit code behind the mark; without `fed` its input is empty."""
    return f"sh -c {quote(script)}{'' if fed else ' </dev/null'}; printf '\\n{mark} %s\\n' \"$?\""


def watched(script: str, mark: str) -> str:
    """The same, and ends the script when the input ends, which stays open as long as somebody here listens: a device
    does not end by itself what a client has left.

    The watch is a process of its own: in mksh, Android's shell, a subshell would keep the output open.
    """
    watch = 'cat >/dev/null; pkill -P "$1"; kill "$1"'
    return (
        f"exec 3<&0; sh -c {quote(script)} </dev/null 3<&- & own=$!; "
        f'sh -c {quote(watch)} watch "$own" <&3 3<&- >/dev/null 2>&1 & watch=$!; '
        f'wait "$own"; code=$?; kill "$watch"; printf \'\\n{mark} %s\\n\' "$code"'
    )


def _before(mark: bytes, stream: IO[bytes]) -> Generator[bytes, None, bool]:
    """The lines until the mark, without the empty one that the mark's own beginning makes; returns whether it came."""
    empty = 0
    for line in stream:
        if line.startswith(mark):
            yield from [b"\n"] * (empty - 1)
            return True
        if line.strip(b"\r\n"):
            yield from [b"\n"] * empty
            yield line
            empty = 0
        else:  # it may be the mark's own
            empty += 1
    yield from [b"\n"] * empty
    return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # adb ended before it took all of its input
                continue
