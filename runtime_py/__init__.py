"""What runs on the device: load a bundle, give it photos or latents, get typed answers.

    session = runtime_py.load("mobilenetv4_conv_small.bundle")
    print(session("photo.jpg").top(5))

Importing this package imports neither numpy nor any runtime.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime_py.bundle import Bundle, check_files, open_bundle
    from runtime_py.detection import Detection, Detections
    from runtime_py.errors import SdkError
    from runtime_py.manifest import Manifest
    from runtime_py.results import Classification, Label
    from runtime_py.session import Session, load
    from runtime_py.store import Store
    from runtime_py.streams import Frame, Stream, stream
    from runtime_py.streams.counting import LineCounter
    from runtime_py.streams.sinks.jsonlines import JsonLines
    from runtime_py.streams.sinks.mjpeg import MjpegServer
    from runtime_py.streams.sinks.videofile import VideoFile
    from runtime_py.streams.smoothing import Smoothing
    from runtime_py.streams.tracker import Tracker
    from runtime_py.video import Video

__all__ = [
    "Bundle",
    "Classification",
    "Detection",
    "Detections",
    "Frame",
    "JsonLines",
    "Label",
    "LineCounter",
    "Manifest",
    "MjpegServer",
    "SdkError",
    "Session",
    "Smoothing",
    "Store",
    "Stream",
    "Tracker",
    "Video",
    "VideoFile",
    "check_files",
    "load",
    "open_bundle",
    "stream",
]

_HOMES = {
    "Bundle": "runtime_py.bundle",
    "Classification": "runtime_py.results",
    "Detection": "runtime_py.detection",
    "Detections": "runtime_py.detection",
    "Frame": "runtime_py.streams",
    "JsonLines": "runtime_py.streams.sinks.jsonlines",
    "Label": "runtime_py.results",
    "LineCounter": "runtime_py.streams.counting",
    "Manifest": "runtime_py.manifest",
    "MjpegServer": "runtime_py.streams.sinks.mjpeg",
    "SdkError": "runtime_py.errors",
    "Session": "runtime_py.session",
    "Smoothing": "runtime_py.streams.smoothing",
    "Store": "runtime_py.store",
    "Stream": "runtime_py.streams",
    "Tracker": "runtime_py.streams.tracker",
    "Video": "runtime_py.video",
    "VideoFile": "runtime_py.streams.sinks.videofile",
    "check_files": "runtime_py.bundle",
    "load": "runtime_py.session",
    "open_bundle": "runtime_py.bundle",
    "stream": "runtime_py.streams",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'runtime_py' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
