"""What every device can do, however it is reached, and how it fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from runtime_py.errors import SdkError


class DeviceFailed(SdkError):
    """A device that cannot be reached, refuses, or went away."""

    id = "device-failed"


class Unreachable(DeviceFailed):
    """No such host, or nothing that answers there."""

    id = "device-unreachable"


class LoginRefused(DeviceFailed):
    """It answers and lets nobody in: a key that it does not know, or one that is not the device's own."""

    id = "login-refused"


class ConnectionLost(DeviceFailed):
    """The way to the device broke while something was under way."""

    id = "connection-lost"


class DeviceFull(DeviceFailed):
    """No room on the device for what was sent."""

    id = "device-full"


@dataclass(frozen=True)
class Done:
    """A command that ended on a device: its exit code, and what it said."""

    code: int
    out: str
    err: str


class Device(Protocol):
    """A machine to run shell commands on and to send files to."""

    @property
    def name(self) -> str:
        """How it was addressed."""

    def run(self, script: str, *, stdin: Iterator[bytes] | None = None, timeout: float = 600) -> Done:
        """Run a POSIX shell script there, with `stdin` as its input. Raises DeviceFailed."""

    def lines(self, script: str) -> Iterator[bytes]:
        """Run a script, and give its lines as they come; it ends there when this is closed."""
