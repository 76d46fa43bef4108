"""RTSP cameras, and whatever FFmpeg reads over HTTP: MJPEG, MPEG-TS, MP4, HLS."""

import re
from collections.abc import Generator

from runtime_py.streams.decoding import Notes, live_pictures, open_container
from runtime_py.streams.frames import Picture
from runtime_py.streams.sources import How

PROTOCOLS = {"rtsp": "rtsp,rtsps,rtp,srtp,udp,tcp,tls", "http": "http,https,httpproxy,tcp,tls,crypto"}
PATIENCE_S = 10.0
"""How long a network source may be silent unless the caller says otherwise."""


class Network:
    """A URL; what it answers without an end is taken for live."""

    live = True
    repeats = False
    timed = True

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self.name = re.sub(r"//[^/@]*@", "//", url)  # a password belongs into no log
        self._kind = "rtsp" if url.lower().startswith("rtsp") else "http"

    def pictures(self, notes: Notes) -> Generator[Picture, None, None]:
        """As they come."""
        # without this FFmpeg watches a stream for five seconds before it gives a frame
        options = {"analyzeduration": "500000"}
        if self._kind == "rtsp":
            options["rtsp_transport"] = "tcp"  # UDP loses packets, and many networks drop it
        with open_container(
            self._url, self.name, PROTOCOLS[self._kind], timeout_s=self._timeout_s, **options
        ) as container:
            yield from live_pictures(container, self.name, notes)


def open_source(source: str, how: How) -> Network:
    """The stream at a URL."""
    return Network(source, PATIENCE_S if how.timeout_s is None else how.timeout_s)
