"""A device behind the system's own `ssh`, whose configuration, keys and jump hosts it honours. No library is needed."""

import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from typing import IO
from urllib.parse import unquote, urlsplit

from devices.device import ConnectionLost, DeviceFailed, Done, LoginRefused, Unreachable

SSH_FAILED = 255
OWN_OPTIONS = (
    "BatchMode=yes",  # never a question: nobody may be there to answer
    "ConnectTimeout=10",
    "ServerAliveInterval=10",  # a device that was unplugged is noticed in half a minute
    "ServerAliveCountMax=3",
)
WATCHED = """exec 3<&0
if command -v setsid >/dev/null; then setsid sh -c {script} </dev/null 3<&- &
else set -m; sh -c {script} </dev/null 3<&- & fi
job=$!
(while read -r _; do :; done; kill -- -$job; sleep 2; kill -9 -- -$job) <&3 >/dev/null 2>&1 & watch=$!
exec 3<&-
wait $job
code=$?
kill $watch 2>/dev/null
exit $code"""
"""Ends a script, and all that it started, when the connection does: sshd itself would let it run on. In a session of
its own, as not every shell makes process groups where there is no terminal."""
NO_ANSWER = "look whether it has power and is in this network"
REASONS: tuple[tuple[str, type[DeviceFailed], str, str], ...] = (
    ("could not resolve hostname", Unreachable, "the host is not known", "look at the name; `ssh HOST` must work"),
    ("remote host identification has changed", LoginRefused, "its host key has changed",
     "a new system has new keys: ssh-keygen -R HOST, then ssh ADDRESS by hand"),
    ("host key verification failed", LoginRefused, "its host key is not known", "connect once by hand: ssh ADDRESS"),
    ("too many authentication failures", LoginRefused, "it refused too many keys",
     "--ssh-option IdentitiesOnly=yes and --ssh-option IdentityFile=PATH"),
    ("permission denied", LoginRefused, "it refused the key",
     "ssh-copy-id ADDRESS, or a key: --ssh-option IdentityFile=PATH"),
    ("connection refused", Unreachable, "nothing listens there",
     "sudo systemctl enable --now ssh on the device; look at the port"),
    ("timed out", Unreachable, "it does not answer", NO_ANSWER),
    ("no route to host", Unreachable, "it cannot be reached", NO_ANSWER),
    ("network is unreachable", Unreachable, "it cannot be reached", NO_ANSWER),
    ("bad configuration option", DeviceFailed, "ssh does not know that option", "man ssh_config; look at --ssh-option"),
    ("no such identity", LoginRefused, "a key's file is not there", "look at --ssh-option IdentityFile"),
)  # fmt: skip
"""What ssh says, in small letters; what it means, in words; and a way out. The first that fits counts."""
EXPECTED = "ssh://[user@]host[:port][/dir]"


@dataclass(frozen=True)
class Ssh:
    """`user` and `port` are ssh's own choice where they are empty and 0; `options` go to ssh as `-o OPTION`, before
    those of this file, so that they count."""

    host: str
    user: str = ""
    port: int = 0
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """ssh://user@host:port."""
        return f"ssh://{self._login}{f':{self.port}' if self.port else ''}"

    def command(self, script: str) -> list[str]:
        """What runs a shell script there, where the user's own shell quotes as POSIX says: sh, dash, bash, zsh, ksh.

        With csh and tcsh it fails, which take no line break inside of quotes; and fish, whose quotes know escapes,
        changes what holds a backslash. Log in as a user with another shell there: chsh -s /bin/sh.
        """
        port = ["-p", str(self.port)] if self.port else []
        options = [word for option in (*self.options, *OWN_OPTIONS) for word in ("-o", option)]
        return ["ssh", "-T", *options, *port, "--", self._login, f"exec sh -c {quote(script)}"]

    def run(self, script: str, *, stdin: Iterator[bytes] | None = None, timeout: float = 600) -> Done:
        """Run it, and wait for its end. Raises Unreachable, LoginRefused, ConnectionLost or DeviceFailed."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = self._start(script, subprocess.DEVNULL if stdin is None else subprocess.PIPE, out, err)
            try:
                feeding = _feed(process, stdin)
                code = process.wait(timeout)
                if feeding is not None:
                    feeding.join(timeout)
            except subprocess.TimeoutExpired as error:
                given = f"{self.name} did not answer within {timeout:.0f} s"
                raise ConnectionLost(given, hint="look whether the device is overloaded, and run it again") from error
            finally:
                _end(process)
            said = tuple(_read(stream) for stream in (out, err))
        if code == SSH_FAILED:
            raise self._failed(said[1])
        return Done(code, *said)

    def lines(self, script: str) -> Iterator[bytes]:
        """Run it, and give its lines; a device that goes away is a ConnectionLost."""
        with tempfile.TemporaryFile() as err:
            process = self._start(WATCHED.format(script=quote(script)), subprocess.PIPE, subprocess.PIPE, err)
            try:
                assert process.stdout is not None
                yield from process.stdout
                code = process.wait()
            finally:
                _end(process)
            if code == SSH_FAILED:
                raise self._failed(_read(err))

    @property
    def _login(self) -> str:
        return f"{self.user}{'@' if self.user else ''}{self.host}"

    def _start(self, script: str, given: int, out: IO[bytes] | int, err: IO[bytes]) -> "subprocess.Popen[bytes]":
        if shutil.which("ssh") is None:
            raise DeviceFailed("no ssh is installed here", hint="apt-get install openssh-client")
        return subprocess.Popen(self.command(script), stdin=given, stdout=out, stderr=err)

    def _failed(self, said: str) -> DeviceFailed:
        low = said.lower()
        for text, kind, reason, hint in REASONS:
            if text in low:
                address = f"{f'-p {self.port} ' if self.port else ''}{self._login}"
                return kind(f"{self.name}: {reason}", hint=hint.replace("ADDRESS", address).replace("HOST", self.host))
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        given = f"{self.name}: {lines[-1] if lines else 'the connection was cut'}"
        return ConnectionLost(given, hint="look whether the device still runs, and try again")


def parse(address: str, options: tuple[str, ...] = ()) -> tuple[Ssh, str]:
    """ssh://[user@]host[:port][/dir] as a device and the folder there; `/~/dir` is in the user's home.

    Raises DeviceFailed for other addresses.
    """
    try:
        parts = urlsplit(address)
        port = parts.port or 0
    except ValueError as error:
        raise DeviceFailed(f"the address {address!r}: {error}", expected=EXPECTED) from error
    user, _, place = parts.netloc.rpartition("@")
    host = re.sub(r":\d*$", "", place).strip("[]")  # as it is written: names in ssh_config may have capitals
    user = unquote(user)
    if parts.password is not None or parts.query or parts.fragment:
        raise DeviceFailed(
            f"the address of {parts.hostname} holds more than a folder", expected=EXPECTED,
            hint="keys, no passwords; ? and # are %3F and %23",
        )  # fmt: skip
    plain = re.fullmatch(r"[A-Za-z0-9_.:%-]+", host) and re.fullmatch(r"[A-Za-z0-9_.+-]*", user)
    folder = unquote(parts.path)
    if parts.scheme != "ssh" or not plain or host.startswith("-") or user.startswith("-") or not folder.isprintable():
        raise DeviceFailed(f"the address {address!r}", expected=EXPECTED)
    for option in options:
        if not re.match(r"[A-Za-z0-9]+[= ]", option) or not option.isprintable():
            raise DeviceFailed(f"the ssh option {option!r}", expected="KEY=VALUE, as in ssh_config")
    return Ssh(host, user, port, tuple(options)), folder


def _feed(process: "subprocess.Popen[bytes]", stdin: Iterator[bytes] | None) -> threading.Thread | None:
    if stdin is None or process.stdin is None:
        return None
    into = process.stdin

    def write() -> None:
        with suppress(OSError, ValueError):  # the other side ended, and says why itself
            try:
                for chunk in stdin:
                    into.write(chunk)
            finally:
                into.close()

    thread = threading.Thread(target=write, name="feed", daemon=True)
    thread.start()
    return thread


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Nothing stays behind, here or there."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # what could not be written has no reader any more
                stream.close()


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", errors="replace")
