"""V4L2 cameras, by FFmpeg's own reader."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

from runtime_py.streams.decoding import Notes, live_pictures, open_container
from runtime_py.streams.frames import BadSource, Picture
from runtime_py.streams.sources import How


class Camera:
    """A device such as /dev/video0, in its own size unless another is asked for."""

    live = True
    repeats = False
    timed = False  # V4L2 waits in the kernel, where FFmpeg's time-out does not reach
    format = "v4l2"

    def __init__(self, device: str, size: tuple[int, int] | None) -> None:
        self.name = device
        self._options = {} if size is None else {"video_size": f"{size[0]}x{size[1]}"}

    def check(self) -> None:
        """Raises BadSource where there is no such device, and says which there are."""
        if not Path(self.name).exists():
            others = sorted(str(path) for path in Path("/dev").glob("video*"))
            raise BadSource(
                f"there is no camera {self.name}",
                expected=f"one of {', '.join(others)}" if others else "a V4L2 camera that is plugged in",
                hint="picamera for a Raspberry Pi's ribbon camera",
            )

    def pictures(self, notes: Notes) -> Generator[Picture, None, None]:
        """As they come."""
        self.check()
        how: dict[str, Any] = {"format": self.format, **self._options}
        with open_container(self.name, self.name, protocols="file", **how) as container:
            yield from live_pictures(container, self.name, notes)


def open_source(source: Any, how: How) -> Camera:
    """The camera `camera:N` or /dev/videoN."""
    text = str(source)
    camera = Camera(text.replace("camera:", "/dev/video"), how.size)
    camera.check()
    return camera
