"""A Raspberry Pi's ribbon camera, by picamera2, which Raspberry Pi OS brings."""

import time
from collections.abc import Generator
from importlib import import_module
from typing import Any

from runtime_py.streams.decoding import Notes
from runtime_py.streams.frames import BadSource, Picture, SourceLost
from runtime_py.streams.sources import How

SIZE = (1280, 720)


class PiCamera:
    """The first camera; a picture's time is the sensor's own."""

    name = "picamera"
    live = True
    repeats = False
    timed = False

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def pictures(self, notes: Notes) -> Generator[Picture, None, None]:
        """As they come. Raises SourceLost where the camera stops."""
        camera = self._open()
        first: int | None = None
        try:
            while True:
                image, stamp_ns = _capture(camera)
                captured = time.monotonic()
                first = stamp_ns if first is None else first
                yield Picture(image, (stamp_ns - first) / 1e9, captured, self.name)
        except RuntimeError as error:  # what libcamera's bindings raise
            raise SourceLost(f"the Pi camera is gone: {error}") from error
        finally:
            camera.stop()
            camera.close()

    def _open(self) -> Any:
        camera_class = _picamera2().Picamera2
        try:
            camera = camera_class()
            # picamera2 names formats by the order of bits: BGR888 is R, G, B in memory
            camera.configure(camera.create_video_configuration(main={"size": self._size, "format": "BGR888"}))
            camera.start()
        except (RuntimeError, IndexError) as error:  # IndexError: there is no camera
            raise BadSource(f"the Pi camera cannot be opened: {error}", expected="a camera that works") from error
        return camera


def _capture(camera: Any) -> tuple[Any, int]:
    request = camera.capture_request()
    try:
        return request.make_array("main"), int(request.get_metadata()["SensorTimestamp"])
    finally:
        request.release()


def _picamera2() -> Any:
    try:
        return import_module("picamera2")
    except ModuleNotFoundError:
        raise BadSource(
            "the package 'picamera2' is not installed",
            expected="a Raspberry Pi",
            hint="sudo apt install python3-picamera2, and a virtual environment with --system-site-packages",
        ) from None


def open_source(source: str, how: How) -> PiCamera:
    """The Pi's camera."""
    _picamera2()
    return PiCamera(how.size or SIZE)
