"""This machine as a device: its own `sh`, so that what works here works on a board."""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from devices.device import DeviceFailed, Done


@dataclass(frozen=True)
class Local:
    """Runs scripts here, each in a process group of its own that ends as a whole."""

    shell: str = "sh"

    @property
    def name(self) -> str:
        """local."""
        return "local"

    def run(self, script: str, *, stdin: Iterator[bytes] | None = None, timeout: float = 600) -> Done:
        """Run it, and wait for its end. Raises DeviceFailed where it takes longer, or where there is no shell."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self._start(script, subprocess.DEVNULL if stdin is None else subprocess.PIPE, out, err)
            try:
                if stdin is not None:
                    feed(process, stdin)
                code = process.wait(timeout)
            except subprocess.TimeoutExpired as error:
                hint = "see what it waits for"
                raise DeviceFailed(f"a script took longer than {timeout:.0f} s here", hint=hint) from error
            finally:
                _end(process)
            return Done(code, *(read_back(stream) for stream in (out, err)))

    def lines(self, script: str) -> Iterator[bytes]:
        """Run it, and give its lines as they come."""
        process = self._start(script, subprocess.DEVNULL, subprocess.PIPE, subprocess.DEVNULL)
        try:
            assert process.stdout is not None
            yield from process.stdout
        finally:
            _end(process)

    def _start(self, script: str, given: int, out: IO[bytes] | int, err: IO[bytes] | int) -> "subprocess.Popen[bytes]":
        if shutil.which(self.shell) is None:
            raise DeviceFailed(
                f"no shell {self.shell!r} is here", expected="Linux or macOS",
                hint="on Windows use the Subsystem for Linux, or ssh to it",
            )  # fmt: skip
        return subprocess.Popen(
            [self.shell, "-c", script], stdin=given, stdout=out, stderr=err, start_new_session=True
        )  # fmt: skip


def feed(process: "subprocess.Popen[bytes]", chunks: Iterator[bytes]) -> None:
    """Hand `chunks` to a process in a thread of its own, which ends with them or with the process."""
    into = process.stdin
    assert into is not None

    def write() -> None:
        try:
            with suppress(OSError, ValueError):  # the process ended, and its exit code says how
                for chunk in chunks:
                    into.write(chunk)
        finally:
            with suppress(OSError):
                into.close()

    threading.Thread(target=write, name="feed", daemon=True).start()


def read_back(stream: IO[bytes]) -> str:
    """The text of a temporary file that a process wrote."""
    stream.seek(0)
    return stream.read().decode("utf-8", errors="replace")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The whole group: what a script started in the background is of no use to anyone once it is left."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
