"""A live picture and counters in a web browser, with the standard library's server."""

import io
import json
import re
import socket
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

from PIL import Image

from runtime_py.draw import Picture, draw_answer
from runtime_py.errors import SdkError
from runtime_py.streams.frames import Frame

BOUNDARY = "frame"
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
TICK_S = 0.5
"""How often a client that waits for a picture looks whether the server still runs."""
UNREAD_BYTES = 1 << 17
"""What the system may keep for a client that does not read. By itself it keeps megabytes: seconds of old pictures."""
PAGE = b"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Live</title>
<style>
body { font: 16px/1.4 system-ui, sans-serif; margin: 1rem; color: #222; background: #fff }
img { max-width: 100%; background: #eee }
td { padding: 0 1rem 0 0; vertical-align: top }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } img { background: #333 } }
</style>
<img src="stream.mjpg" alt="the live picture">
<table id="counters"></table>
<p><a href="snapshot.jpg">this picture</a> &middot; <a href="stats.json">counters as JSON</a></p>
<script>
const table = document.getElementById("counters");
async function refresh() {
  try {
    const counters = await (await fetch("stats.json", {cache: "no-store"})).json();
    table.replaceChildren();
    for (const [name, value] of Object.entries(counters)) {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = typeof value === "object" ? JSON.stringify(value) : value;
    }
  } catch (error) { table.textContent = "the program has ended"; }
  setTimeout(refresh, 1000);
}
refresh();
</script>
</html>
"""


class MjpegServer:
    """Serves `/` (a page), `/stream.mjpg`, `/snapshot.jpg` and `/stats.json` until it is closed.

    It listens to this machine only, unless `host` says otherwise: whoever reaches the port sees the picture. `port=0`
    takes a free one, which `url` tells. `stats` is called for `/stats.json`, and returns plain data. Pictures are drawn
    and compressed only while somebody watches, once for all; a slow client gets the newest one when it is ready for it.
    At most `max_clients` are served at a time. Raises SdkError where the port is taken.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        stats: Callable[[], dict[str, Any]] | None = None,
        max_clients: int = 8,
        quality: int = 80,
        client_timeout_s: float = 10.0,
    ) -> None:
        self.frames = 0
        self._stats = stats
        self._quality = quality
        self._newest: tuple[int, Callable[[], Image.Image]] | None = None
        self._jpeg: tuple[int, bytes] = (0, b"")
        self._changed = threading.Condition()
        self._encoding = threading.Lock()
        self.closed = False
        try:
            self._server = _Server((host, port), self, max_clients, client_timeout_s)
        except (OSError, OverflowError) as error:
            raise SdkError(
                f"cannot listen on {host}:{port}: {getattr(error, 'strerror', '') or error}",
                expected="a port that nobody uses",
                hint="port=0 takes a free one",
            ) from error
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="mjpeg-server", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """The page's address."""
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host
        return f"http://{host}:{self.port}/"

    def write(self, frame: Frame, result: Any = None, picture: Picture | None = None) -> None:
        """Show the picture, or else the frame with the result drawn on it, until the next one."""
        image = frame.image if picture is None else picture
        self.frames += 1
        with self._changed:
            self._newest = (self.frames, lambda: draw_answer(image, result if picture is None else None))
            self._changed.notify_all()

    def close(self) -> None:
        """Send all clients away and free the port, in less than two seconds. A second call does nothing."""
        if self.closed:
            return
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()
        self._thread.join()

    def __enter__(self) -> "MjpegServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def counters(self) -> dict[str, Any]:
        """What `/stats.json` says."""
        return {"frames": self.frames} if self._stats is None else self._stats()

    def newer(self, than: int, timeout_s: float) -> tuple[int, bytes] | None:
        """The newest picture's number and JPEG, once it is newer than number `than`; None where none came in time."""
        with self._changed:
            self._changed.wait_for(lambda: self.closed or (self._newest or (0,))[0] > than, timeout_s)
            newest = self._newest
        if self.closed or newest is None or newest[0] <= than:
            return None
        with self._encoding:  # the first that asks does it for all
            if self._jpeg[0] < newest[0]:
                data = io.BytesIO()
                newest[1]().save(data, "JPEG", quality=self._quality)
                self._jpeg = (newest[0], data.getvalue())
            return self._jpeg


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], owner: MjpegServer, max_clients: int, timeout_s: float) -> None:
        self.owner = owner
        self.timeout_s = timeout_s
        self._max_clients = max_clients
        self._clients: set[socket.socket] = set()
        self._lock = threading.Lock()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As the base, which would also ask a name server who we are, and wait for it."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each client, up to the limit."""
        with self._lock:
            full = len(self._clients) >= self._max_clients
            if not full:
                self._clients.add(request)
        if full:
            request.settimeout(0.1)
            _send(request, b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        with self._lock:
            self._clients.discard(request)
        super().close_request(request)

    def hang_up(self) -> None:
        """End the connections that are open."""
        with self._lock:
            for client in self._clients:
                _shut(client)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of this program; anything else is shown as the base shows it."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0: one request a connection."""

    server_version, sys_version = "edge-sdk", ""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self._serving.timeout_s)  # who neither asks nor reads gives the place up

    @property
    def _serving(self) -> _Server:
        return cast("_Server", self.server)

    def do_GET(self) -> None:  # the base class calls it by this name
        owner, path = self._serving.owner, self.path.partition("?")[0]
        if not self._meant_for_us(owner):
            self._answer(403, "text/plain", b"this server answers to localhost only\n")
        elif path == "/":
            self._answer(200, "text/html; charset=utf-8", PAGE)
        elif path == "/stats.json":
            self._answer(200, "application/json", json.dumps(owner.counters(), default=str).encode())
        elif path == "/snapshot.jpg":
            picture = owner.newer(0, timeout_s=2.0)
            self._answer(503, "text/plain", b"no picture yet\n") if picture is None else self._answer(
                200, "image/jpeg", picture[1]
            )
        elif path == "/stream.mjpg":
            self._stream(owner)
        else:
            self._answer(404, "text/plain", b"there are /, /stream.mjpg, /snapshot.jpg and /stats.json\n")

    def _meant_for_us(self, owner: MjpegServer) -> bool:
        """A page elsewhere can make a browser ask us under that page's own name, and then read the answer."""
        name = re.sub(r":\d+$", "", self.headers.get("Host") or "localhost").strip("[]").lower()
        return owner.host not in LOOPBACK or name in LOOPBACK

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self._head(status, kind, {"Content-Length": str(len(body))})
        self.wfile.write(body)

    def _stream(self, owner: MjpegServer) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        self._head(200, f"multipart/x-mixed-replace; boundary={BOUNDARY}", {})
        number = 0
        while not owner.closed:
            picture = owner.newer(number, TICK_S)
            if picture is not None:
                number, jpeg = picture
                head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")

    def _head(self, status: int, kind: str, more: dict[str, str]) -> None:
        self.send_response(status)
        own = {"Content-Type": kind, "Cache-Control": "no-store", "Cross-Origin-Resource-Policy": "same-origin"}
        for name, value in (own | more).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a browser asks every second."""


def _send(client: socket.socket, data: bytes) -> None:
    try:
        client.sendall(data)
    except OSError:  # it does not want to know
        return


def _shut(client: socket.socket) -> None:
    try:
        client.shutdown(socket.SHUT_RDWR)
    except OSError:  # it is gone already
        return
