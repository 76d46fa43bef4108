"""A phone's adb daemon on 127.0.0.1, for the real adb client: a folder is its storage, this machine's `sh` its shell.

It speaks what the client's `connect`, `devices`, `shell`, `push` and `pull` need, as AOSP's protocol.txt, SYNC.TXT and
shell_protocol.h describe them: messages of 24 bytes with a payload, streams that wait for an acknowledgement after
each message, the shell with and without exit codes, and files in pieces. In commands `/data/` is the phone's own.
"""

import os
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import IO, Literal, Self

Behaviour = Literal["friendly", "unauthorised", "silent"]
"""`unauthorised` accepts no key, as before somebody has tapped on "Allow"; `silent` accepts and never says a word."""

HEADER = struct.Struct("<6I")
OLD_PROTOCOL, PIECE = 0x01000000, 4096
TOKEN = 1
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = 0, 1, 2, 3, 4


class Ended(Exception):
    """The other end closed."""


@dataclass
class Channel:
    """One stream of a connection: the client's number for it, what came in, and whether the last piece was taken."""

    own: int
    peer: int
    incoming: "Queue[bytes | None]" = field(default_factory=Queue)
    taken: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    left: bytes = b""
    closed: bool = False

    def read(self, count: int) -> bytes:
        """So many bytes. Raises Ended."""
        while len(self.left) < count:
            more = self.incoming.get()
            if more is None:
                raise Ended
            self.left += more
        wanted, self.left = self.left[:count], self.left[count:]
        return wanted


class FakePhone:
    """Listens from `with` on until its end; `serial` is what `adb connect` takes.

    `cut_after` closes the connection once the shell has printed so many bytes, as an unplugged cable does. `full`
    refuses every file, as a full storage does.
    """

    def __init__(
        self,
        storage: Path,
        behaviour: Behaviour = "friendly",
        *,
        exit_codes: bool = True,
        cut_after: int | None = None,
        full: bool = False,
        model: str = "Pixel_8",
        path: str = "",
    ) -> None:
        self.storage, self.behaviour, self.exit_codes = storage, behaviour, exit_codes
        self.cut_after, self.full, self.model, self.path = cut_after, full, model, path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.children: list[subprocess.Popen[bytes]] = []
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.unplug()
        self.listener.close()
        for child in self.children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(timeout=10)
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def unplug(self) -> None:
        """End every connection at once."""
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def real(self, path: str) -> Path:
        """Where a file of the phone lies here."""
        return self.storage / path.lstrip("/")

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                connection, _ = self.listener.accept()
                self._connections.append(connection)
                threading.Thread(target=_Connection(self, connection).serve, daemon=True).start()


class _Connection:
    """One client: takes messages apart, and lets each stream be served in a thread of its own."""

    def __init__(self, phone: FakePhone, link: socket.socket) -> None:
        self.phone, self.link = phone, link
        self.channels: dict[int, Channel] = {}
        self.sending = threading.Lock()

    def serve(self) -> None:
        """Until the client or the phone ends it."""
        with suppress(Ended, OSError):
            for command, first, second, payload in self.messages():
                self.take(command, first, second, payload)
        for channel in self.channels.values():
            channel.closed = True
            channel.incoming.put(None)
            channel.taken.release()

    def messages(self) -> Iterator[tuple[bytes, int, int, bytes]]:
        """Command, both arguments, payload."""
        while True:
            command, first, second, length, _, _ = HEADER.unpack(self.exactly(HEADER.size))
            yield struct.pack("<I", command), first, second, self.exactly(length)

    def exactly(self, count: int) -> bytes:
        """So many bytes of the socket. Raises Ended."""
        got = b""
        while len(got) < count:
            more = self.link.recv(count - len(got))
            if not more:
                raise Ended
            got += more
        return got

    def send(self, command: bytes, first: int, second: int, payload: bytes = b"") -> None:
        """One message."""
        number = struct.unpack("<I", command)[0]
        head = HEADER.pack(number, first, second, len(payload), sum(payload) & 0xFFFFFFFF, number ^ 0xFFFFFFFF)
        with self.sending:
            self.link.sendall(head + payload)

    def take(self, command: bytes, first: int, second: int, payload: bytes) -> None:
        """Answer one message."""
        if self.phone.behaviour == "silent":
            return
        if self.phone.behaviour == "unauthorised":
            if command == b"CNXN" or (command == b"AUTH" and first == 2):  # a signature: ask for another
                self.send(b"AUTH", TOKEN, 0, bytes(20))
            return  # and a public key waits for somebody to tap
        if command == b"CNXN":
            self.send(b"CNXN", OLD_PROTOCOL, PIECE, self.banner())
        elif command == b"OPEN":
            channel = Channel(len(self.channels) + 1, first)
            self.channels[channel.own] = channel
            self.send(b"OKAY", channel.own, channel.peer)
            service = payload.rstrip(b"\0").decode()
            threading.Thread(target=self.open, args=(channel, service), daemon=True).start()
        elif second in self.channels:
            self.pass_on(command, self.channels[second], payload)

    def pass_on(self, command: bytes, channel: Channel, payload: bytes) -> None:
        """A message of a stream."""
        if command == b"OKAY":
            channel.taken.release()
        elif command == b"WRTE":
            channel.incoming.put(payload)
            self.send(b"OKAY", channel.own, channel.peer)
        elif command == b"CLSE":
            channel.closed = True
            channel.incoming.put(None)
            channel.taken.release()

    def banner(self) -> bytes:
        """Who the phone is, and what it can do."""
        features = "shell_v2,cmd" if self.phone.exit_codes else "cmd"
        names = {"name": "fake", "model": self.phone.model, "device": "fake"}
        said = "".join(f"ro.product.{name}={value};" for name, value in names.items())
        return f"device::{said}features={features}".encode()

    def open(self, channel: Channel, service: str) -> None:
        """Serve one stream to its end."""
        with suppress(Ended, OSError):
            name, _, argument = service.partition(":")
            if name.split(",")[0] in ("shell", "exec"):
                self.shell(channel, argument, coded="v2" in name.split(","))
            elif name == "sync":
                _Files(self, channel).serve()
            if not channel.closed:
                self.send(b"CLSE", channel.own, channel.peer)

    def write(self, channel: Channel, data: bytes) -> None:
        """In pieces, each when the one before was taken. Raises Ended."""
        for start in range(0, len(data), PIECE):
            self.send(b"WRTE", channel.own, channel.peer, data[start : start + PIECE])
            channel.taken.acquire()
            if channel.closed:
                raise Ended

    def shell(self, channel: Channel, command: str, coded: bool) -> None:
        """Run a command; with `coded`, its input too, both outputs apart and the exit status at the end.

        When the client leaves, the command's input ends and nothing else happens to it, as with Android's daemon.
        """
        environment = dict(os.environ) | ({"PATH": self.phone.path} if self.phone.path else {})
        child = subprocess.Popen(
            ["/bin/sh", "-c", command.replace("/data/", f"{self.phone.storage}/data/")],
            env=environment, stdin=subprocess.PIPE if coded else subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if coded else subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.phone.children.append(child)
        helpers = []
        if child.stdin is not None and child.stderr is not None:
            threading.Thread(target=self.give, args=(channel, child.stdin), daemon=True).start()
            helpers.append(threading.Thread(target=self.drain_errors, args=(channel, child.stderr), daemon=True))
        for helper in helpers:
            helper.start()
        assert child.stdout is not None
        self.drain(channel, child.stdout, STDOUT, coded)
        for helper in helpers:
            helper.join()
        status = child.wait()
        if coded:
            self.write(channel, struct.pack("<BI", EXIT, 1) + bytes([status & 0xFF]))

    def give(self, channel: Channel, into: IO[bytes]) -> None:
        """Hand the client's input to a command until either ends."""
        with suppress(Ended, OSError):
            while True:
                kind, length = struct.unpack("<BI", channel.read(5))
                data = channel.read(length)
                if kind == CLOSE_STDIN:
                    break
                if kind == STDIN:
                    into.write(data)
                    into.flush()
        with suppress(OSError):
            into.close()

    def drain_errors(self, channel: Channel, pipe: IO[bytes]) -> None:
        """The same of a command's errors; a client that has left needs none."""
        with suppress(Ended, OSError):
            self.drain(channel, pipe, STDERR, True)

    def drain(self, channel: Channel, pipe: IO[bytes], kind: int, coded: bool) -> None:
        """Pass a command's output on as it comes. Raises Ended."""
        printed = 0
        while data := os.read(pipe.fileno(), PIECE - 5):
            printed += len(data)
            self.write(channel, struct.pack("<BI", kind, len(data)) + data if coded else data)
            if self.phone.cut_after is not None and printed >= self.phone.cut_after:
                self.phone.unplug()
                raise Ended


class _Files:
    """The service that pushes and pulls: requests of four letters and a length."""

    def __init__(self, connection: _Connection, channel: Channel) -> None:
        self.connection, self.channel = connection, channel

    def serve(self) -> None:
        """Until the client quits. Raises Ended."""
        answers = {b"STAT": self.stat, b"LIST": self.list, b"SEND": self.store, b"RECV": self.fetch}
        while True:
            name, length = struct.unpack("<4sI", self.channel.read(8))
            if name == b"QUIT":
                return
            answers[name](self.channel.read(length).decode())

    def say(self, data: bytes) -> None:
        self.connection.write(self.channel, data)

    def fail(self, why: str) -> None:
        text = why.encode()
        self.say(struct.pack("<4sI", b"FAIL", len(text)) + text)

    def stat(self, path: str) -> None:
        """Mode, size, time; zeros for what is not there."""
        self.say(b"STAT" + struct.pack("<3I", *_facts(self.connection.phone.real(path))))

    def list(self, path: str) -> None:
        folder = self.connection.phone.real(path)
        for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
            name = entry.name.encode()
            self.say(struct.pack("<4s4I", b"DENT", *_facts(entry), len(name)) + name)
        self.say(struct.pack("<4s4I", b"DONE", 0, 0, 0, 0))

    def store(self, path_and_mode: str) -> None:
        """All pieces, written when the last has come."""
        path, _, mode = path_and_mode.rpartition(",")
        pieces = []
        while True:
            name, length = struct.unpack("<4sI", self.channel.read(8))
            if name == b"DONE":
                break
            pieces.append(self.channel.read(length))
        if self.connection.phone.full:
            return self.fail("No space left on device")
        target = self.connection.phone.real(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(pieces))
        target.chmod(int(mode) & 0o777)
        self.say(struct.pack("<4sI", b"OKAY", 0))

    def fetch(self, path: str) -> None:
        try:
            data = self.connection.phone.real(path).read_bytes()
        except OSError as error:
            return self.fail(error.strerror or "unreadable")
        for start in range(0, len(data), 2**16):
            piece = data[start : start + 2**16]
            self.say(struct.pack("<4sI", b"DATA", len(piece)) + piece)
        self.say(struct.pack("<4sI", b"DONE", 0))


def _facts(path: Path) -> tuple[int, int, int]:
    try:
        seen = path.stat()
    except OSError:
        return 0, 0, 0
    return seen.st_mode, seen.st_size & 0xFFFFFFFF, int(seen.st_mtime)
