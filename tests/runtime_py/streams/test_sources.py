"""Every kind of source, against the pixels and times that went in; and what is said about all others."""

import logging
import sys
import types
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import runtime_py
from runtime_py.preprocess import decode_image
from runtime_py.streams import BadSource, StreamFailed
from runtime_py.streams.sources import SOURCES, How, kind_of, open_source
from runtime_py.streams.sources.cameras import Camera
from tests.runtime_py.streams.clips import flat, values
from tests.runtime_py.streams.squares import picture

ROOT = Path(__file__).parents[3]


def read(source: Any, session: runtime_py.Session, **options: Any) -> list[runtime_py.Frame]:
    return [frame for frame, _ in runtime_py.stream(source, session, **options)]


def test_the_table_and_the_folder_name_the_same_modules() -> None:
    folder = ROOT / "runtime_py/streams/sources"
    files = {f"runtime_py.streams.sources.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}
    assert {row.module for row in SOURCES.values()} == files
    assert all(callable(import_module(row.module).open_source) for row in SOURCES.values())


def test_one_photo_as_its_path_and_upright(tmp_path: Path, colours: runtime_py.Session) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it clockwise
    Image.fromarray(picture(("red", 0, 0))).save(tmp_path / "a.png", exif=exif)
    for source in (tmp_path / "a.png", str(tmp_path / "a.png")):
        (frame,) = read(source, colours)
        assert frame.image.shape == (64, 48, 3)
        assert frame.image[2, 45].tolist() == [255, 0, 0]
        assert frame.name == str(tmp_path / "a.png")


def test_a_folder_and_a_pattern_in_the_order_that_people_count_in(tmp_path: Path, colours: runtime_py.Session) -> None:
    for number in (10, 9, 1, 100):
        Image.fromarray(flat(number)).save(tmp_path / f"photo{number}.png")
    Image.fromarray(flat(50)).save(tmp_path / ".hidden.png")
    (tmp_path / "notes.txt").write_text("no photo")
    (tmp_path / "folder.png").mkdir()
    for source in (tmp_path, f"{tmp_path}/*", f"{tmp_path}/photo*.png"):
        assert values(frame.image for frame in read(source, colours)) == [1, 9, 10, 100]
    assert values(frame.image for frame in read(f"{tmp_path}/photo?.png", colours)) == [1, 9]


def test_a_folder_goes_on_after_a_broken_photo_if_asked(
    tmp_path: Path, colours: runtime_py.Session, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 3):
        Image.fromarray(flat(number)).save(tmp_path / f"{number}.png")
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StreamFailed, match=r"frame 1, decode: .*2\.png"):
        read(tmp_path, colours)
    answers = runtime_py.stream(tmp_path, colours, on_error="skip")
    with caplog.at_level(logging.WARNING):
        assert values(frame.image for frame, _ in answers) == [1, 3]
    assert (answers.stats.read, answers.stats.skipped) == (3, 1)
    assert "2.png" in caplog.text


def test_arrays_pillow_images_generators_and_functions(colours: runtime_py.Session) -> None:
    images = [flat(value) for value in range(5)]
    pillow = [Image.fromarray(image) for image in images]
    calls = iter(images)
    for source in (images, tuple(images), np.stack(images), pillow, (image for image in images)):
        assert values(frame.image for frame in read(source, colours)) == [0, 1, 2, 3, 4]
    assert values(frame.image for frame in read(lambda: next(calls, None), colours, policy="all")) == [0, 1, 2, 3, 4]
    grey = np.full((4, 6), 90, np.uint8)
    assert np.array_equal(read([grey], colours)[0].image, np.asarray(decode_image(grey)))


def test_an_array_that_is_filled_again_changes_no_frame(colours: runtime_py.Session) -> None:
    def camera() -> Iterator[np.ndarray]:
        buffer = flat(0)
        for value in range(10):
            buffer[:] = flat(value)
            yield buffer

    def canvas() -> Iterator[Image.Image]:
        picture = Image.fromarray(flat(0))
        for value in range(10):
            picture.paste(Image.fromarray(flat(value)))
            yield picture

    for source in (camera(), canvas()):
        assert values(frame.image for frame in read(source, colours)) == list(range(10))


def test_a_photo_becomes_an_array_where_a_program_asks_for_it(tmp_path: Path, colours: runtime_py.Session) -> None:
    Image.fromarray(flat(3)).save(tmp_path / "photo.png")
    (frame,) = read(tmp_path, colours)
    assert isinstance(frame.pixels, Image.Image)
    assert frame.image is frame.image
    assert np.array_equal(frame.image, flat(3))


def test_the_names_of_cameras_and_networks_are_told_apart(tmp_path: Path) -> None:
    assert kind_of("camera:0") == kind_of("/dev/video3") == "cameras"
    assert kind_of("rtsp://host/stream") == kind_of("https://host/a.m3u8") == "network"
    assert kind_of("picamera") == "picamera"
    assert kind_of(tmp_path) == kind_of(f"{tmp_path}/*.jpg") == "photos"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("nothing-of-this-name.mp4", "'nothing-of-this-name.mp4', which does not exist"),
        ("", "'', which does not exist"),
        ("0", "'0', which does not exist"),
        ("ftp://host/clip.mp4", "the address ftp"),
        ("rtsp://", "the address rtsp"),
        (0, "the number 0"),
        (None, "a NoneType"),
        (b"bytes", "a bytes"),
        ({"a": 1}, "a dict"),
        (flat(1), r"one array of shape \(24, 32, 3\)"),
        ("nul\0byte", "which does not exist"),
    ],
)
def test_what_is_no_source_and_what_would_be_one(colours: runtime_py.Session, source: Any, complaint: str) -> None:
    with pytest.raises(BadSource, match=complaint) as caught:
        runtime_py.stream(source, colours)
    for row in SOURCES.values():
        assert row.example in caught.value.expected


def test_a_bundle_in_place_of_a_source(tmp_path: Path, colours: runtime_py.Session) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(BadSource, match="is a bundle") as caught:
        runtime_py.stream(tmp_path, colours)
    assert "the source comes first" in caught.value.hint


def test_files_that_are_no_video(tmp_path: Path, colours: runtime_py.Session) -> None:
    pytest.importorskip("av", reason="PyAV reads videos")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(BadSource, match=r"empty \(0 bytes\)"):
        runtime_py.stream(tmp_path / "empty.mp4", colours)
    (tmp_path / "text.mp4").write_text("I am no video\n" * 100)
    with pytest.raises(StreamFailed, match=r"text\.mp4 cannot be opened"):
        read(tmp_path / "text.mp4", colours)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadSource, match="holds no photo"):
        runtime_py.stream(tmp_path / "none", colours)


def test_a_playlist_leads_neither_to_other_files_nor_into_the_network(
    tmp_path: Path, colours: runtime_py.Session
) -> None:
    pytest.importorskip("av", reason="PyAV reads videos")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(StreamFailed, match=r"list\.m3u8"):
        read(tmp_path / "list.m3u8", colours)


def test_without_pyav_a_clip_names_the_extra(
    clip: Path, colours: runtime_py.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(StreamFailed, match="needs the package 'av'") as caught:
        read(clip, colours)
    assert caught.value.hint == "pip install 'edge-sdk[video]'"


def test_a_camera_that_is_absent(colours: runtime_py.Session) -> None:
    with pytest.raises(BadSource, match="there is no camera /dev/video987"):
        runtime_py.stream("camera:987", colours)


def test_a_camera_by_ffmpegs_own_reader(colours: runtime_py.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg's test pattern takes the place of the driver: all but V4L2's own part is what a camera runs."""
    pytest.importorskip("av", reason="PyAV reads cameras")
    monkeypatch.setattr(Camera, "format", "lavfi")
    monkeypatch.setattr(Camera, "check", lambda camera: None)
    camera = Camera("testsrc=size=64x48:rate=50", None)
    monkeypatch.setattr("runtime_py.streams.sources.cameras.open_source", lambda source, how: camera)
    frames = read("camera:0", colours, policy="all", max_frames=10)
    assert [frame.time_s for frame in frames] == pytest.approx([index / 50 for index in range(10)], abs=1e-6)
    assert all(frame.image.shape == (48, 64, 3) for frame in frames)

    assert Camera("/dev/video0", (640, 480))._options == {"video_size": "640x480"}


def fake_picamera2(pictures: list[np.ndarray], log: list[str]) -> types.ModuleType:
    """As much of picamera2 as the source calls; the camera stops after its pictures."""

    class Request:
        def __init__(self, index: int) -> None:
            self.index = index

        def make_array(self, name: str) -> np.ndarray:
            assert name == "main"
            return pictures[self.index]

        def get_metadata(self) -> dict[str, int]:
            return {"SensorTimestamp": 5_000_000_000 + 40_000_000 * self.index}

        def release(self) -> None:
            log.append("release")

    class Picamera2:
        def __init__(self) -> None:
            self.taken = 0

        def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
            return main

        def configure(self, main: dict[str, Any]) -> None:
            log.append(f"{main['size']} {main['format']}")

        def start(self) -> None:
            log.append("start")

        def capture_request(self) -> Request:
            if self.taken == len(pictures):
                raise RuntimeError("the cable is loose")
            self.taken += 1
            return Request(self.taken - 1)

        def stop(self) -> None:
            log.append("stop")

        def close(self) -> None:
            log.append("close")

    module = types.ModuleType("picamera2")
    module.Picamera2 = Picamera2  # type: ignore[attr-defined]
    return module


def test_a_pi_camera(colours: runtime_py.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    monkeypatch.setitem(sys.modules, "picamera2", fake_picamera2([flat(value) for value in range(5)], log))
    answers = runtime_py.stream("picamera", colours, policy="all", reconnect=False, size=(64, 48))
    frames = [next(answers)[0] for _ in range(5)]
    with pytest.raises(StreamFailed, match="the Pi camera is gone: the cable is loose"):
        next(answers)
    assert values(frame.image for frame in frames) == [0, 1, 2, 3, 4]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert log == ["(64, 48) BGR888", "start", *["release"] * 5, "stop", "close"]


def test_a_pi_camera_where_there_is_none(colours: runtime_py.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(BadSource, match="'picamera2' is not installed") as caught:
        runtime_py.stream("picamera", colours)
    assert "apt install python3-picamera2" in caught.value.hint


def test_the_policy_of_files_is_all_and_of_live_sources_latest(clip: Path, colours: runtime_py.Session) -> None:
    assert runtime_py.stream(clip, colours).policy == "all"
    assert runtime_py.stream([flat(0)], colours).policy == "all"
    assert runtime_py.stream(lambda: None, colours).policy == "latest"
    assert runtime_py.stream("rtsp://127.0.0.1:9/x", colours).policy == "latest"


def test_a_password_is_in_no_name() -> None:
    assert open_source("rtsp://me:secret@127.0.0.1/x", How()).name == "rtsp://127.0.0.1/x"
