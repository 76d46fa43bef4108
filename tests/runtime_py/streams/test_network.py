"""A camera on the network that dies, comes back, or says nothing: a small MJPEG server on loopback plays it."""

import io
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from PIL import Image

import runtime_py
from runtime_py.streams import SourceLost, StreamFailed, reader
from tests.runtime_py.streams.clips import flat, values

pytest.importorskip("av", reason="PyAV reads network streams")
pytestmark = pytest.mark.timeout(120)  # a camera that stays away is waited for without an end
PATIENCE_S = 30


def jpeg(image: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


class FakeCamera:
    """Serves each connection by the next of `turns`, which sends parts through a function; then it hangs up."""

    def __init__(self, *turns: Callable[[Callable[[int], None]], None], port: int = 0) -> None:
        self._turns = list(turns)
        self._socket = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self.port = self._socket.getsockname()[1]
        self.served = 0
        self.finished = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="fake-camera", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream.mjpg"

    def stop(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        turns = []
        for turn in self._turns:
            try:
                client, _ = self._socket.accept()
            except OSError:  # it was stopped
                break
            self.served += 1
            turns.append(threading.Thread(target=self._take_turn, args=(client, turn), daemon=True))
            turns[-1].start()
        self._socket.close()
        for thread in turns:
            thread.join()
        self.finished.set()

    def _take_turn(self, client: socket.socket, turn: Callable[[Callable[[int], None]], None]) -> None:
        def send(value: int) -> None:
            data = jpeg(flat(value))
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            client.sendall(head.encode() + data + b"\r\n")

        with client, suppress(OSError):  # the stream may hang up first
            client.settimeout(PATIENCE_S)
            while b"\r\n\r\n" not in client.recv(4096):
                pass
            client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
            turn(send)


def some(*numbers: int) -> Callable[[Callable[[int], None]], None]:
    def turn(send: Callable[[int], None]) -> None:
        for number in numbers:
            send(number)

    return turn


def silent(free: threading.Event, *numbers: int) -> Callable[[Callable[[int], None]], None]:
    def turn(send: Callable[[int], None]) -> None:
        some(*numbers)(send)
        assert free.wait(PATIENCE_S)

    return turn


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(reader, "LONGEST_WAIT_S", 0.2)


@pytest.fixture
def free() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@contextmanager
def camera(*turns: Callable[[Callable[[int], None]], None], port: int = 0) -> Iterator[FakeCamera]:
    made = FakeCamera(*turns, port=port)
    try:
        yield made
    finally:
        made.stop()


def near(found: list[int], wanted: list[int]) -> bool:
    """JPEG may be off by a little."""
    return len(found) == len(wanted) and max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= 3


def test_a_camera_that_dies_is_opened_again(colours: runtime_py.Session, caplog: pytest.LogCaptureFixture) -> None:
    first, second, third = list(range(0, 100, 10)), list(range(100, 200, 10)), list(range(200, 250, 10))
    with camera(some(*first), some(*second), some(*third)) as source, caplog.at_level(logging.WARNING):
        answers = runtime_py.stream(source.url, colours, policy="all", max_frames=25, timeout_s=5)
        frames = [frame for frame, _ in answers]
    assert near(values(frame.image for frame in frames), first + second + third)
    assert [frame.index for frame in frames] == list(range(25))
    assert answers.stats.reconnects == 2
    assert "opening it again" in caplog.text
    times = [frame.time_s for frame in frames]
    assert times == sorted(times)


def test_a_camera_that_is_switched_off_for_a_while(
    colours: runtime_py.Session, caplog: pytest.LogCaptureFixture
) -> None:
    with camera(some(*range(0, 50, 10))) as source:
        answers = runtime_py.stream(source.url, colours, policy="all", max_frames=10, timeout_s=5)
        with caplog.at_level(logging.WARNING):
            found = [int(next(answers)[0].image[0, 0, 0]) for _ in range(5)]
            assert source.finished.wait(PATIENCE_S)  # nobody listens on its port now
            while answers.stats.reconnects < 2:
                threading.Event().wait(0.02)
            with camera(some(*range(100, 150, 10)), port=source.port):
                found += [int(frame.image[0, 0, 0]) for frame, _ in answers]
    assert near(found, [*range(0, 50, 10), *range(100, 150, 10)])
    assert answers.stats.reconnects >= 2
    waits = [record.args[-1] for record in caplog.records if isinstance(record.args, tuple) and len(record.args) == 2]
    assert waits[:3] == [0.05, 0.1, 0.2]  # each twice the one before
    assert max(waits) == 0.2  # and no more than the most


def test_without_reconnect_the_stream_ends_as_the_camera_does(colours: runtime_py.Session) -> None:
    with camera(some(10, 20, 30)) as source:
        answers = runtime_py.stream(source.url, colours, policy="all", reconnect=False, timeout_s=5)
        assert near([int(next(answers)[0].image[0, 0, 0]) for _ in range(3)], [10, 20, 30])
        with pytest.raises(StreamFailed, match=r"frame 3, decode: .* is gone"):
            next(answers)
        assert answers.stats.reconnects == 0


def test_a_camera_that_falls_silent_is_opened_again(colours: runtime_py.Session, free: threading.Event) -> None:
    with camera(silent(free, 10, 20, 30), silent(free, 40, 50, 60)) as source:
        answers = runtime_py.stream(source.url, colours, policy="all", max_frames=4, timeout_s=0.5)
        found = [int(frame.image[0, 0, 0]) for frame, _ in answers]
    # a reader cannot know that the third picture is whole before the fourth begins
    assert near(found, [10, 20, 40, 50]) or near(found, [10, 20, 30, 40])
    assert answers.stats.reconnects == 1


def test_a_camera_that_falls_silent_is_an_error_without_reconnect(
    colours: runtime_py.Session, free: threading.Event
) -> None:
    with camera(silent(free, 10, 20, 30)) as source:
        answers = runtime_py.stream(source.url, colours, policy="all", reconnect=False, timeout_s=0.5)
        with pytest.raises(StreamFailed, match="no answer within its time limit") as caught:
            list(answers)
        assert isinstance(caught.value.__cause__, SourceLost)


def test_a_camera_that_never_says_anything(colours: runtime_py.Session, free: threading.Event) -> None:
    with camera(silent(free)) as source:
        answers = runtime_py.stream(source.url, colours, timeout_s=0.5)
        with pytest.raises(StreamFailed, match="cannot be opened: no answer within its time limit"):
            next(answers)


def test_close_does_not_wait_for_a_silent_camera(colours: runtime_py.Session, free: threading.Event) -> None:
    with camera(silent(free, 10, 20, 30)) as source:
        answers = runtime_py.stream(source.url, colours, policy="all", timeout_s=8)
        next(answers)
        answers.close()
        assert not free.is_set()


def test_an_address_where_nobody_is(colours: runtime_py.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(StreamFailed, match=rf"http://127\.0\.0\.1:{port}/x cannot be opened"):
        next(runtime_py.stream(f"http://me:secret@127.0.0.1:{port}/x", colours, timeout_s=5))
