"""Sinks, read back by another reader: PyAV, json, and a plain HTTP client."""

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import runtime_py
from runtime_py import JsonLines, MjpegServer, VideoFile
from runtime_py.errors import SdkError
from runtime_py.streams import Frame, Stamps
from runtime_py.streams.sinks.videofile import BadVideoFile
from tests.runtime_py.streams.clips import flat
from tests.runtime_py.streams.squares import picture

STAMPS = Stamps(1.0, 1.1, 1.2, 1.3, 1.5)
PATIENCE_S = 20


def frame(image: np.ndarray, index: int = 0, time_s: float = 0.0, name: str = "") -> Frame:
    return Frame(image, index, time_s, STAMPS, name)


def test_lines_of_json_are_appended_and_say_all(tmp_path: Path, squares: runtime_py.Session) -> None:
    path = tmp_path / "log.jsonl"
    images = [picture(("red", 16, 16)), picture()]
    for _ in range(2):
        with JsonLines(path) as sink:
            runtime_py.stream(images, squares).into(sink)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 0, 1]
    (one,) = rows[0]["detections"]
    assert one["label"] == "red"
    assert one["box"] == [16, 16, 32, 32]
    assert "id" not in one
    assert rows[1]["detections"] == []
    assert all(row["latency_ms"] > 0 and row["time_s"] >= 0 for row in rows)


def test_a_line_is_on_the_disk_before_the_file_is_closed(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "log.jsonl")
    sink.write(frame(flat(1), 3, 0.25, "a.jpg"), {"any": "thing"})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {
        "index": 3, "time_s": 0.25, "name": "a.jpg", "latency_ms": 500.0, "result": {"any": "thing"},
    }  # fmt: skip
    sink.close()
    sink.close()


def test_lines_go_to_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with JsonLines() as sink:
        sink.write(frame(flat(1)))
    assert json.loads(capfdbinary.readouterr().out)["result"] is None


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(SdkError, match="cannot be written"):
        JsonLines(tmp_path / "absent" / "log.jsonl")


def test_ids_are_in_the_lines(tmp_path: Path, squares: runtime_py.Session) -> None:
    tracker = runtime_py.Tracker(confirm=1)
    with JsonLines(tmp_path / "log.jsonl") as sink:
        for one, found in runtime_py.stream([picture(("blue", 4, 8))], squares):
            sink.write(one, tracker(found, one.time_s))
    assert json.loads((tmp_path / "log.jsonl").read_text())["detections"][0]["id"] == 1


def read_video(path: Path) -> tuple[list[float], list[np.ndarray]]:
    av = pytest.importorskip("av", reason="PyAV reads the video back")
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [float(one.pts * one.time_base) for one in frames], [one.to_ndarray(format="rgb24") for one in frames]


@pytest.mark.parametrize("codecs", ["all", "mpeg4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_video_has_each_frame_at_its_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, codecs: str
) -> None:
    av = pytest.importorskip("av", reason="PyAV writes the video")
    if codecs == "mpeg4":
        monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    times = [5.0, 5.04, 5.1, 5.5, 5.52, 7.0]
    path = tmp_path / f"out{suffix}"
    with VideoFile(path) as sink:
        for index, time_s in enumerate(times):
            sink.write(frame(flat(40 * index, (64, 48)), index, time_s))
            assert not path.exists()  # it has its name when it is whole
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    found, images = read_video(path)
    assert found == pytest.approx([time_s - 5.0 for time_s in times], abs=2e-3)
    means = [float(image[..., 0].mean()) for image in images]
    assert means == pytest.approx([40 * index for index in range(6)], abs=12)


def test_a_video_shows_the_answers_or_what_it_is_given(tmp_path: Path, squares: runtime_py.Session) -> None:
    image = picture(("red", 96, 96), size=(256, 192))
    with VideoFile(tmp_path / "drawn.mkv") as drawn, VideoFile(tmp_path / "given.mkv") as given:
        for one, found in runtime_py.stream([image] * 3, squares, confidence=0.05):
            drawn.write(one, found)
            given.write(one, found, picture=image)
    assert np.abs(read_video(tmp_path / "given.mkv")[1][0].astype(int) - image).mean() < 4
    assert np.abs(read_video(tmp_path / "drawn.mkv")[1][0].astype(int) - image).mean() > 4


def test_frames_of_another_size_are_fitted_and_odd_sides_cut(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "out.mp4") as sink:
        sink.write(frame(flat(200, (65, 49)), 0, 0.0))
        sink.write(frame(flat(200, (30, 60)), 1, 0.1))
    images = read_video(tmp_path / "out.mp4")[1]
    assert [image.shape for image in images] == [(48, 64, 3)] * 2
    assert images[1][24, 32, 0] > 150
    assert images[1][24, 3].max() < 60


def test_a_clock_that_stands_still_or_is_set_back(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "out.mkv") as sink:
        for index, time_s in enumerate([1.0, 1.0, 0.5, 1.2]):
            sink.write(frame(flat(index, (64, 48)), index, time_s))
    times = read_video(tmp_path / "out.mkv")[0]
    assert len(times) == 4
    assert times == sorted(set(times))
    assert times[-1] == pytest.approx(0.2, abs=2e-3)


def test_chunks_of_frames_at_a_rate(tmp_path: Path) -> None:
    """As `session.decode_chunks` yields them: (T, H, W, 3)."""
    chunks = [np.stack([flat(20 * (3 * part + n), (64, 48)) for n in range(3)]) for part in range(2)]
    with VideoFile(tmp_path / "out.mp4", fps=10) as sink:
        for chunk in chunks:
            sink.write_frames(chunk)
    times, images = read_video(tmp_path / "out.mp4")
    assert times == pytest.approx([n / 10 for n in range(6)], abs=1e-4)
    assert [float(image[..., 0].mean()) for image in images] == pytest.approx([20 * n for n in range(6)], abs=8)


def test_what_was_recorded_before_an_error_is_kept(tmp_path: Path) -> None:

    def record() -> None:
        with VideoFile(tmp_path / "out.mp4") as sink:
            for index in range(5):
                sink.write(frame(flat(index, (64, 48)), index, index / 25))
            raise KeyError("somewhere else")

    with pytest.raises(KeyError, match="somewhere else"):
        record()
    assert len(read_video(tmp_path / "out.mp4")[0]) == 5


def test_videos_that_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV writes the video")
    with pytest.raises(BadVideoFile, match=r"out\.txt for a video"):
        VideoFile(tmp_path / "out.txt")
    with pytest.raises(BadVideoFile, match="fps=0"):
        VideoFile(tmp_path / "out.mp4", fps=0)
    with pytest.raises(BadVideoFile, match="absent is no folder"):
        VideoFile(tmp_path / "absent" / "out.mp4")
    (tmp_path / "gone").mkdir()
    sink = VideoFile(tmp_path / "gone" / "out.mp4")
    (tmp_path / "gone").rmdir()
    with pytest.raises(BadVideoFile, match="cannot be written: No such file"):
        sink.write_frames([flat(value) for value in range(100)])
    with pytest.raises(BadVideoFile, match="1 x 5 pixels"):
        VideoFile(tmp_path / "thin.mp4").write(frame(flat(0, (1, 5))))
    with VideoFile(tmp_path / "none.mp4"):
        pass
    closed = VideoFile(tmp_path / "closed.mp4")
    closed.close()
    with pytest.raises(BadVideoFile, match="is closed"):
        closed.write(frame(flat(0)))
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with MjpegServer(port=0, max_clients=3, client_timeout_s=5) as made:
        yield made
    assert [thread for thread in threading.enumerate() if thread.name == "mjpeg-server"] == []


def ask(server: MjpegServer, path: str, **headers: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.headers["Content-Type"] or "", answer.read()
    connection.close()
    return found


def test_the_page_the_counters_and_a_picture(server: MjpegServer) -> None:
    server.write(frame(flat(100, (64, 48))))
    status, kind, page = ask(server, "/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b'src="stream.mjpg"' in page
    assert b"http" not in page.replace(b"<!doctype html>", b"")  # nothing from elsewhere
    assert json.loads(ask(server, "/stats.json")[2]) == {"frames": 1}
    status, kind, data = ask(server, "/snapshot.jpg?at=1")
    assert (status, kind) == (200, "image/jpeg")
    image = np.asarray(Image.open(io.BytesIO(data)))
    assert np.abs(image.astype(int) - flat(100, (64, 48))).mean() < 4
    assert ask(server, "/etc/passwd")[0] == 404
    assert server.url == f"http://127.0.0.1:{server.port}/"


def test_before_the_first_frame_there_is_no_picture(server: MjpegServer) -> None:
    assert ask(server, "/snapshot.jpg")[0] == 503


def test_answers_are_drawn_and_a_picture_is_taken_as_it_is(server: MjpegServer, squares: runtime_py.Session) -> None:
    image = picture(("red", 96, 96), size=(256, 192))
    seen = []
    for one, found in runtime_py.stream([image], squares, confidence=0.05):
        for given in (None, image):
            server.write(one, found, given)
            seen.append(np.asarray(Image.open(io.BytesIO(ask(server, "/snapshot.jpg")[2]))).astype(int))
    assert np.abs(seen[0] - image).mean() > 3 > np.abs(seen[1] - image).mean()


def test_counters_of_the_programs_own() -> None:
    with MjpegServer(port=0, stats=lambda: {"people": 3, "odd": np.int64(4)}) as server:
        assert json.loads(ask(server, "/stats.json")[2]) == {"people": 3, "odd": "4"}


def open_stream(server: MjpegServer, buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.settimeout(PATIENCE_S)
    client.connect(("127.0.0.1", server.port))
    client.sendall(b"GET /stream.mjpg HTTP/1.0\r\nHost: localhost\r\n\r\n")
    return client


def pictures_of(client: socket.socket) -> Iterator[int]:
    """What each picture of a stream says, by its own Content-Length."""
    stream = client.makefile("rb")
    while line := stream.readline():
        if line.lower().startswith(b"content-length:"):
            stream.readline()
            data = stream.read(int(line.split(b":")[1]))
            yield round(float(np.asarray(Image.open(io.BytesIO(data)))[..., 0].mean()))


def test_a_stream_gives_pictures_as_they_come(server: MjpegServer) -> None:
    with open_stream(server) as client:
        found = pictures_of(client)
        for value in (10, 60, 110, 160):
            server.write(frame(flat(value, (64, 48))))
            assert abs(next(found) - value) <= 3


def test_a_slow_client_gets_the_newest_and_stops_nobody(server: MjpegServer) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (240, 320, 3), np.uint8) // 8 + np.uint8(4 * n) for n in range(50)]
    with open_stream(server, buffer=4096) as slow:
        server.write(frame(noise[0]))
        found = pictures_of(slow)
        first = next(found)
        for image in noise[1:]:  # nobody reads: `write` must not wait for that
            server.write(frame(image))
            server.newer(0, 1.0)
        newest = round(float(noise[-1][..., 0].mean()))
        count = 0
        while abs(next(found) - newest) > 2:
            count += 1
        assert first < newest
        assert count < 45  # most of what came in between was never sent


def test_too_many_clients_are_sent_away(server: MjpegServer) -> None:
    server.write(frame(flat(1)))
    clients = [open_stream(server) for _ in range(3)]
    for client in clients:
        next(pictures_of(client))
    assert ask(server, "/")[0] == 503
    clients.pop().close()
    for _ in range(200):  # the place is free once the server has seen that the client is gone
        server.write(frame(flat(1)))
        try:
            if ask(server, "/")[0] == 200:
                break
        except (ConnectionError, http.client.HTTPException):
            continue
    else:
        raise AssertionError("the place stayed taken")
    for client in clients:
        client.close()


def test_a_page_elsewhere_cannot_read_by_a_name_of_its_own(server: MjpegServer) -> None:
    server.write(frame(flat(1)))
    for host, status in (("evil.example", 403), ("localhost:8000", 200), ("[::1]:1", 200), ("127.0.0.1", 200)):
        assert ask(server, "/snapshot.jpg", Host=host)[0] == status


def test_close_ends_clients_and_frees_the_port() -> None:
    server = MjpegServer(port=0)
    server.write(frame(flat(1)))
    with open_stream(server) as client:
        next(pictures_of(client))
        server.close()
        server.close()
        assert list(pictures_of(client)) == []
    with MjpegServer(port=server.port) as again:
        assert again.port == server.port


def test_a_port_that_is_taken() -> None:
    with MjpegServer(port=0) as server, pytest.raises(SdkError, match="cannot listen") as caught:
        MjpegServer(port=server.port)
    assert "port=0" in caught.value.hint
    with pytest.raises(SdkError, match="cannot listen"):
        MjpegServer(port=99999)


def test_a_stream_reads_what_another_program_serves(colours: runtime_py.Session, server: MjpegServer) -> None:
    pytest.importorskip("av", reason="PyAV reads network streams")
    stop = threading.Event()

    def serve() -> None:
        while not stop.wait(0.02):
            server.write(frame(np.full((48, 64, 3), (255, 0, 0), np.uint8)))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        answers = runtime_py.stream(f"{server.url}stream.mjpg", colours, max_frames=5, timeout_s=PATIENCE_S)
        found: list[Any] = [result.label for _, result in answers]
    finally:
        stop.set()
        thread.join()
    assert found == ["red"] * len(found)
    assert 1 <= len(found) <= 5
