"""An RTSP camera, as RFC 2326 has it: a small server on loopback sends MPEG-TS in RTP over the same connection."""

import io
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

import runtime_py
from runtime_py.streams import BadSource, StreamFailed
from tests.runtime_py.streams.clips import flat, values

av = pytest.importorskip("av", reason="PyAV reads network streams")
pytestmark = pytest.mark.timeout(120)
PATIENCE_S = 30
TS_PACKET, PACKETS = 188, 7
"""Bytes of a packet of MPEG-TS, and how many of them RFC 2250 lets into one of RTP."""
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"


def transport_stream(images: list[np.ndarray], rate: int) -> bytes:
    """The images as MPEG-4 in MPEG-TS."""
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = images[0].shape[1], images[0].shape[0], "yuv420p"
        stream.bit_rate = 2_000_000
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


class RtspCamera:
    """Answers one client after the other: describes itself, plays `video`, and hangs up."""

    def __init__(self, video: bytes, refuse: bool = False) -> None:
        self.asked: list[str] = []
        self._video, self._refuse = video, refuse
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://viewer:secret@127.0.0.1:{self._socket.getsockname()[1]}/live"
        self._thread = threading.Thread(target=self._serve, name="rtsp-camera", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)  # close alone would leave accept waiting
        self._socket.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:  # it was stopped
                return
            with client, suppress(OSError):  # the stream may hang up first
                client.settimeout(PATIENCE_S)
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        requests = client.makefile("rb")
        while True:
            line = requests.readline().decode()
            if not line:
                return
            headers = {}
            while header := requests.readline().decode().strip():
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            method = line.split()[0]
            self.asked.append(method)
            client.sendall(self._answer(method, headers))
            if method == "PLAY":
                self._play(client)
                return

    def _answer(self, method: str, headers: dict[str, str]) -> bytes:
        status = "404 Not Found" if self._refuse and method == "DESCRIBE" else "200 OK"
        lines, body = [f"RTSP/1.0 {status}", f"CSeq: {headers['cseq']}"], ""
        if method == "OPTIONS":
            lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        if method == "DESCRIBE" and not self._refuse:
            body = SDP
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        if method == "SETUP":
            lines += ["Session: 1", f"Transport: {headers['transport'].split(',')[0]}"]
        if method == "PLAY":
            lines.append("Session: 1")
        return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()

    def _play(self, client: socket.socket) -> None:
        size = TS_PACKET * PACKETS
        for number, start in enumerate(range(0, len(self._video), size)):
            # version 2, payload type 33 (MPEG-TS), sequence number, time of a 90 kHz clock, who sends
            head = struct.pack(">BBHII", 0x80, 33, number, number * 900, 1)
            packet = head + self._video[start : start + size]
            client.sendall(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


@pytest.fixture
def pictures() -> list[np.ndarray]:
    return [flat(value, (64, 48)) for value in range(20, 220, 8)]


@pytest.fixture
def camera(pictures: list[np.ndarray]) -> Iterator[RtspCamera]:
    made = RtspCamera(transport_stream(pictures, rate=10))
    yield made
    made.stop()


def test_an_rtsp_camera_over_tcp_with_its_own_times(
    camera: RtspCamera, pictures: list[np.ndarray], colours: runtime_py.Session
) -> None:
    with runtime_py.stream(camera.url, colours, policy="all", reconnect=False, timeout_s=10) as answers:
        assert answers.name.startswith("rtsp://127.0.0.1:"), "the password is in no name"
        frames = [frame for frame, _ in answers]
    assert camera.asked == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
    found, wanted = values(frame.image for frame in frames), values(pictures)
    assert len(wanted) - 1 <= len(found) <= len(wanted), "the last may lack its end, as the camera hangs up"
    np.testing.assert_allclose(found, wanted[: len(found)], atol=6)  # MPEG-4 is not lossless
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(len(found)) / 10, atol=1e-3)


def test_an_rtsp_camera_that_hangs_up_is_opened_again(
    camera: RtspCamera, pictures: list[np.ndarray], colours: runtime_py.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime_py.streams.reader.FIRST_WAIT_S", 0.05)
    wanted = len(pictures) + 5
    with runtime_py.stream(camera.url, colours, policy="all", max_frames=wanted, timeout_s=10) as answers:
        frames = [frame for frame, _ in answers]
    assert [frame.index for frame in frames] == list(range(wanted))
    assert answers.stats.reconnects == 1
    assert camera.asked.count("PLAY") == 2
    # it sends two and a half seconds of video at once; the time does not go back for all that
    assert all(one.time_s <= other.time_s for one, other in pairwise(frames))


def test_an_rtsp_camera_that_knows_no_such_stream(colours: runtime_py.Session) -> None:
    made = RtspCamera(b"", refuse=True)
    try:
        with pytest.raises(StreamFailed, match="cannot be opened") as caught:
            next(runtime_py.stream(made.url, colours, timeout_s=10))
    finally:
        made.stop()
    assert isinstance(caught.value.__cause__, BadSource)
    assert "secret" not in str(caught.value)
