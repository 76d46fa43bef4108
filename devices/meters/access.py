"""What meters touch: files, commands, the clock, a bus. All of it can be another machine's, or a test's."""

import os
import shutil
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from devices.meters.samples import MeterFailed
from runtime_py.errors import missing_extra

Run = Callable[[Sequence[str]], str]
"""Runs a command to its end and gives what it printed. Raises MeterFailed."""
Every = Callable[[float, Callable[[], None]], Callable[[], None]]
"""Calls a function every so many seconds, until the function that comes back is called."""
Follow = Callable[[Sequence[str], Callable[[str], None], Callable[[], None]], Callable[[], str]]
"""Hands every line that a command prints to the first function, and calls the second when it ends.

What comes back ends it, and says how it ended where it did so by itself.
"""

PATIENCE_S = 5.0


class Bus(Protocol):
    """An I2C bus, as smbus2's SMBus is one. Words are little-endian, as SMBus says."""

    def read_word_data(self, i2c_addr: int, register: int) -> int: ...

    def write_word_data(self, i2c_addr: int, register: int, value: int) -> None: ...


def run_command(command: Sequence[str]) -> str:
    """What `command` prints. Raises MeterFailed where it is absent, fails, or takes longer than PATIENCE_S."""
    name = command[0]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE_S)
    except FileNotFoundError as error:
        raise MeterFailed(f"there is no command {name!r} here") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeterFailed(f"{name} does not answer: {error}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise MeterFailed(f"{' '.join(command)} ended with {done.returncode} and said: {said}")
    return done.stdout


def through(*prefix: str) -> Run:
    """Runs commands behind a prefix, as in `through("adb", "-s", SERIAL, "shell")`."""
    return lambda command: run_command([*prefix, *command])


def every(period_s: float, tick: Callable[[], None]) -> Callable[[], None]:
    """Calls `tick` in a thread of its own; a late one is not made up for by a hurry."""
    ended = threading.Event()

    def loop() -> None:
        due = time.monotonic() + period_s
        while not ended.wait(max(0.0, due - time.monotonic())):
            tick()
            due = max(due + period_s, time.monotonic())

    thread = threading.Thread(target=loop, name="meter", daemon=True)
    thread.start()

    def stop() -> None:
        ended.set()
        thread.join()

    return stop


def follow(command: Sequence[str], on_line: Callable[[str], None], on_end: Callable[[], None]) -> Callable[[], str]:
    """Starts `command` and hands on its lines, errors included. Raises MeterFailed where it cannot start."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", bufsize=1,
        )  # fmt: skip
    except OSError as error:
        raise MeterFailed(f"{command[0]} does not start: {error}") from error

    ended = threading.Event()

    def loop() -> None:
        assert process.stdout is not None
        with process.stdout as lines:  # closed: what writes on ends by itself
            for line in lines:
                if ended.is_set():
                    break
                on_line(line.rstrip("\r\n"))
        on_end()

    thread = threading.Thread(target=loop, name="meter", daemon=True)
    thread.start()

    def stop() -> str:
        code = process.poll()
        if code is None and not thread.is_alive():  # its output has ended, and so does it in a moment
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(PATIENCE_S)
        ended.set()
        _end(process)
        thread.join(PATIENCE_S)
        return "" if code is None else f"{command[0]} ended by itself, with {code}"

    return stop


def _end(process: "subprocess.Popen[str]") -> None:
    """By a signal, and by force where it does not heed it. Root's (sudo) takes none, and ends as nobody reads it."""
    for signal in (process.terminate, process.kill):
        with suppress(PermissionError):
            signal()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
            return


def smbus(number: int) -> Bus:
    """The bus /dev/i2c-NUMBER. Raises MissingExtra, and MeterFailed where it cannot be opened."""
    if find_spec("smbus2") is None:
        raise missing_extra("smbus2", "i2c", "a meter on the I2C bus")
    try:
        bus = import_module("smbus2").SMBus(number)
    except OSError as error:
        raise MeterFailed(
            f"/dev/i2c-{number} cannot be opened: {error.strerror or error}",
            hint="enable I2C (raspi-config) and join the group i2c",
        ) from error
    weakref.finalize(bus, os.close, bus.fd)
    opened: Bus = bus
    return opened


@dataclass(frozen=True)
class Access:
    """How a meter reaches its board. `root` is where the file system lies; with `shell` it lies on another machine.

    `clock` must be the clock of the run that is measured.
    """

    root: Path = Path("/")
    run: Run = run_command
    shell: Run | None = None
    """Runs a command in a shell there, as `adb shell` and `ssh` do: joined by spaces, patterns expanded."""
    follow: Follow = follow
    every: Every = every
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    bus: Callable[[int], Bus] = smbus
    has: Callable[[str], bool] = lambda program: shutil.which(program) is not None

    def read(self, *paths: str) -> str:
        """The text of files, one after the other. Raises MeterFailed."""
        if self.shell is not None:
            return self.shell(["cat", *paths])
        try:
            texts = [(self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace") for path in paths]
        except OSError as error:
            raise MeterFailed(f"{error.filename}: {error.strerror}", hint=_permission(error)) from error
        return "".join(text if text.endswith("\n") else f"{text}\n" for text in texts)

    def glob(self, pattern: str) -> list[str]:
        """Absolute paths there that fit, sorted; none where nothing does."""
        if self.shell is not None:
            try:
                return sorted(self.shell(["ls", "-d", pattern]).split())
            except MeterFailed:  # ls fails where nothing fits
                return []
        found = self.root.glob(pattern.lstrip("/"))
        return sorted(f"/{path.relative_to(self.root).as_posix()}" for path in found)


def over(*prefix: str) -> Access:
    """Another machine behind a command: `over("ssh", HOST)`, `over("adb", "-s", SERIAL, "shell")`.

    Times are of this machine, so a run that is timed there has to be timed from here.
    """
    run = through(*prefix)

    def has(program: str) -> bool:
        try:
            run(["command", "-v", program])
        except MeterFailed:
            return False
        return True

    return Access(run=run, shell=run, follow=lambda command, *then: follow([*prefix, *command], *then), has=has)


def _permission(error: OSError) -> str:
    return "run as root, or let this user read the file" if isinstance(error, PermissionError) else ""
