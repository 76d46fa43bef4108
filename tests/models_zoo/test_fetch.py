"""Fetching against a server on this machine that cuts, lies, redirects and disappears."""

import errno
import hashlib
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from filelock import FileLock

from models_zoo import download, fetch
from models_zoo.download import FetchError

CONTENT = bytes(range(256)) * 12_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = 24 * download.PIECE  # about


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as the server's next step says."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        steps = self.server.steps
        (steps.pop(0) if steps else whole)(self)

    def say(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # a client that has read enough
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Server(http.server.ThreadingHTTPServer):
    """A file at every address, and what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag = CONTENT, '"first"'
        self.steps: list[Step] = []
        self.ranges: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}/net.pth"


Step = Callable[[Handler], None]


def whole(asked: Handler) -> None:
    """As a good server does, ranges and If-Range included."""
    content, tag = asked.server.content, asked.server.tag
    start = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
    headers = {"ETag": tag} if tag else {}
    if start and asked.headers.get("If-Range", tag) == tag:
        first = int(start[1])
        headers |= {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"}
        asked.say(206, headers | {"Content-Length": str(len(content) - first)}, content[first:])
    else:
        asked.say(200, headers | {"Content-Length": str(len(content))}, content)


def cut(asked: Handler) -> None:
    """Announces all and closes in the middle."""
    content = asked.server.content
    headers = {"ETag": asked.server.tag} if asked.server.tag else {}
    asked.say(200, headers | {"Content-Length": str(len(content))}, content[:HALF])


def unranged(asked: Handler) -> None:
    asked.say(200, {"Content-Length": str(len(CONTENT))}, CONTENT)


def status(code: int, **headers: str) -> Step:
    return lambda asked: asked.say(code, {"Content-Length": "0"} | headers)


def redirect(target: str) -> Step:
    return status(302, Location=target)


def unannounced(content: bytes) -> Step:
    return lambda asked: asked.say(200, {}, content)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(download, "PAUSE_S", 0.0)
    return tmp_path / "cache"


def fails(url: str, sha256: str = SHA256, size: int = len(CONTENT)) -> FetchError:
    with pytest.raises(FetchError) as caught:
        fetch.fetch(url, sha256, size)
    return caught.value


def left_in(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if path.suffix != ".lock"]


@pytest.mark.parametrize("size", [len(CONTENT), 0], ids=["size known", "size unknown"])
def test_a_file_comes_once_and_its_progress_only_rises(size: int, server: Server, cache: Path) -> None:
    steps: list[tuple[int, int]] = []
    path = fetch.fetch(server.url, SHA256.upper(), size, progress=lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert left_in(cache) == [path.name]
    assert path.suffix == ".pth"
    assert steps == sorted(steps)
    assert len(steps) >= 3
    assert {total for _, total in steps} == {len(CONTENT)}
    assert steps[-1][0] == len(CONTENT)
    assert fetch.fetch(server.url, SHA256, size) == path
    assert len(server.ranges) == 1, "the second use asked the server again"


def test_the_second_use_needs_no_network() -> None:
    with Server() as gone:
        thread = threading.Thread(target=gone.serve_forever, args=(0.01,))
        thread.start()
        path = fetch.fetch(gone.url, SHA256)
        gone.shutdown()
        thread.join()
    fetch._sha256_once.cache_clear()  # as a new process would begin
    assert fetch.fetch(gone.url, SHA256, len(CONTENT)) == path


def test_a_cut_connection_is_resumed_where_it_ended(server: Server) -> None:
    server.steps = [cut]
    steps: list[int] = []
    path = fetch.fetch(server.url, SHA256, len(CONTENT), progress=lambda done, _: steps.append(done))
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert steps == sorted(set(steps)), "the progress went back, or stood"


def test_a_later_call_resumes_what_an_earlier_one_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TRIES", 1)
    server.steps = [cut]
    assert f"{HALF:,} bytes are kept" in fails(server.url).given
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT
    assert server.ranges[1] == f"bytes={HALF}-"


@pytest.mark.parametrize("again", [unranged, status(206, **{"Content-Range": "bytes 7-9/10"}), status(416)])
def test_a_server_that_cannot_resume_starts_again(again: Step, server: Server) -> None:
    server.steps = [cut, again]
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT
    assert server.ranges[:2] == [None, f"bytes={HALF}-"]


@pytest.mark.parametrize(
    ("old", "new", "requests_made"),
    [('"first"', '"second"', 2), ('W/"1"', 'W/"1"', 3), ("", "", 3)],
    ids=["strong tag", "weak tag", "no tag"],
)
def test_halves_of_two_versions_are_never_joined(old: str, new: str, requests_made: int, server: Server) -> None:
    """A strong ETag shows the change at once, by If-Range; without one the hash does, and all is fetched afresh."""

    def cut_then_replaced(asked: Handler) -> None:
        cut(asked)
        server.content, server.tag = CONTENT, new

    server.content, server.tag = CONTENT[::-1], old
    server.steps = [cut_then_replaced]
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT
    assert len(server.ranges) == requests_made


def test_another_file_is_removed_and_both_hashes_are_said(server: Server, cache: Path) -> None:
    server.content = CONTENT[::-1]
    error = fails(server.url)
    assert hashlib.sha256(CONTENT[::-1]).hexdigest() in error.given
    assert SHA256 in error.expected
    assert left_in(cache) == []
    assert len(server.ranges) == 1


def test_a_file_longer_than_announced_is_not_read_to_its_end(server: Server, cache: Path) -> None:
    server.steps = [unannounced(CONTENT + b"more")]
    assert f"more than {len(CONTENT):,} bytes" in fails(server.url).given
    assert left_in(cache) == []


def test_another_announced_length_is_refused_before_the_body(server: Server, cache: Path) -> None:
    error = fails(server.url, size=len(CONTENT) - 1)
    assert f"{len(CONTENT):,} bytes" in error.given
    assert left_in(cache) == []


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_final(code: int, server: Server) -> None:
    server.steps = [status(code)]
    error = fails(server.url)
    assert f"HTTP {code}" in error.given
    assert server.url in error.given
    assert len(server.ranges) == 1


def test_a_passing_failure_passes(server: Server) -> None:
    server.steps = [status(500), status(503, **{"Retry-After": "0"}), status(429)]
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT
    assert len(server.ranges) == 4


def test_tries_end_unless_the_download_moves_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.steps = [status(503)] * 20
    assert "HTTP 503" in fails(server.url).given
    assert len(server.ranges) == download.TRIES
    monkeypatch.setattr(download, "TRIES", 2)
    server.steps = [cut, status(503), whole]
    with pytest.raises(FetchError):
        fetch.fetch(server.url, SHA256, len(CONTENT))
    server.steps = [cut, whole]
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT


def test_the_server_s_own_pause_is_kept_within_limits(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    server.steps = [status(503, **{"Retry-After": after}) for after in ("7", "86400", "Wed, 21 Oct 2026 07:28:00 GMT")]
    fetch.fetch(server.url, SHA256, len(CONTENT))
    assert pauses == [7.0, download.LONGEST_PAUSE_S, 0.0]


def test_redirects_are_followed_from_place_to_place(server: Server) -> None:
    server.steps = [redirect("/other/place?token=1"), redirect(server.url)]
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT


def test_a_circle_of_redirects_ends(server: Server) -> None:
    server.steps = [redirect("/again")] * 50
    assert "redirects more than" in fails(server.url).given
    assert len(server.ranges) == download.REDIRECTS + 1


@pytest.mark.parametrize("target", ["http://192.0.2.1/net.pth", "file:///etc/hostname", "ftp://127.0.0.1/net.pth"])
def test_an_unsafe_place_is_refused_as_address_and_as_redirect(target: str, server: Server) -> None:
    assert "no safe address" in fails(target).given
    server.steps = [redirect(target)]
    assert f"redirects to {target}" in fails(server.url).given


def test_https_never_falls_back_to_http(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even to this machine."""
    asked: list[str] = []

    def get(_: requests.Session, url: str, **__: Any) -> requests.Response:
        asked.append(url)
        answer = requests.Response()
        answer.status_code, answer.headers["Location"], answer.url = 302, server.url, url
        answer.raw = type("Raw", (), {"close": lambda self: None, "release_conn": lambda self: None})()
        return answer

    monkeypatch.setattr(requests.Session, "get", get)
    assert f"redirects to {server.url}" in fails("https://weights.example/net.pth").given
    assert asked == ["https://weights.example/net.pth"]


def test_without_network_the_error_says_where_to_put_the_file(server: Server) -> None:
    with Server() as gone:
        url = gone.url
    error = fails(url)
    path = fetch.cached_path(url, SHA256)
    assert url in error.given
    assert "refused" in error.given
    assert SHA256 in error.expected
    assert str(path) in error.hint
    assert "--weights FILE" in error.hint
    path.write_bytes(CONTENT)
    assert fetch.fetch(url, SHA256, len(CONTENT)) == path


def test_a_changed_file_of_the_cache_is_fetched_again(server: Server) -> None:
    path = fetch.fetch(server.url, SHA256, len(CONTENT))
    path.write_bytes(CONTENT[:-1] + b"?")
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_a_complete_part_needs_no_network_and_a_foreign_one_does_no_harm(server: Server, cache: Path) -> None:
    cache.mkdir()
    part = cache / f"{fetch.cached_path(server.url, SHA256).name}.part"
    part.write_bytes(CONTENT)
    fetch.fetch(server.url, SHA256, len(CONTENT)).unlink()
    assert server.ranges == []
    part.write_bytes(b"?" * len(CONTENT))
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT
    assert server.ranges == [None]


def test_too_little_room_is_said_before_the_download(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(cache.parent)._replace(free=1234)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    error = fails(server.url)
    assert f"{len(CONTENT):,} bytes needed, 1,234 free" in error.given
    assert "EDGE_SDK_CACHE" in error.hint
    assert left_in(cache) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_keeps_nothing_of_the_file(
    code: int, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_write = download._write

    def full(*arguments: Any) -> int:
        true_write(*arguments)
        raise OSError(code, "full")

    monkeypatch.setattr(download, "_write", full)
    assert "has no room" in fails(server.url).given
    assert left_in(cache) == []


def test_a_truly_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that announces no length, so that only the write itself can find out."""
    small = tmp_path / "small"
    small.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if not mount or subprocess.run([mount, *options], capture_output=True).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    try:
        monkeypatch.setenv("EDGE_SDK_CACHE", str(small))
        server.steps = [unannounced(CONTENT)]
        assert "has no room" in fails(server.url, size=0).given
        assert left_in(small) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_cache_that_is_no_folder_is_said(server: Server, cache: Path) -> None:
    cache.write_text("a file")
    error = fails(server.url)
    assert str(cache) in error.given
    assert "EDGE_SDK_CACHE" in error.hint


def test_processes_that_want_the_same_file_fetch_it_once(server: Server, cache: Path, repository: Path) -> None:
    code = f"from models_zoo.fetch import fetch; print(fetch({server.url!r}, {SHA256!r}, {len(CONTENT)}))"
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {process.communicate(timeout=60)[0].strip() for process in running}
    assert said == {str(fetch.cached_path(server.url, SHA256))}
    assert Path(said.pop()).read_bytes() == CONTENT
    assert len(server.ranges) == 1


def test_threads_that_want_the_same_file_fetch_it_once(server: Server) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == [CONTENT] * 4
    assert len(server.ranges) == 1


def test_a_process_that_holds_the_download_and_does_nothing_is_named(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "POLL_S", 0.01)
    monkeypatch.setattr(fetch, "STALL_S", 0.03)
    cache.mkdir()
    lock = cache / f"{fetch.cached_path(server.url, SHA256).name}.part.lock"
    with FileLock(lock):
        assert str(lock) in fails(server.url).given
    assert server.ranges == []
    assert fetch.fetch(server.url, SHA256, len(CONTENT)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"EDGE_SDK_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, "/a/b"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/edge-sdk/weights"),
        ({"XDG_CACHE_HOME": "relative", "HOME": "/home/me"}, "/home/me/.cache/edge-sdk/weights"),
        ({"HOME": "/home/me"}, "/home/me/.cache/edge-sdk/weights"),
    ],
)
def test_the_cache_lies_where_xdg_says(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EDGE_SDK_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert fetch.cache_folder() == Path(expected)


@pytest.mark.parametrize(
    ("path", "name"),
    [("a/net.pth", "net.pth"), ("a/%2e%2e%2fnet.pth", "_net.pth"), ("", "weights"), ("n%C3%A9t%20.pt", "n_t_.pt")],
)
def test_a_name_of_the_cache_is_plain(path: str, name: str, cache: Path) -> None:
    found = fetch.cached_path(f"https://weights.example/{path}", SHA256)
    assert found == cache / f"{SHA256[:16]}-{name}"


def test_an_error_tells_no_secret(server: Server) -> None:
    server.steps = [status(403)]
    text = str(fails(server.url.replace("//", "//me:secret@") + "?signature=secret"))
    assert server.url in text
    assert not re.search("me:secret|=secret", text)


@pytest.mark.parametrize("sha256", ["", "abc", SHA256[:-1] + "g"])
def test_a_hash_that_is_none_is_refused(sha256: str, server: Server) -> None:
    assert "64" in fails(server.url, sha256=sha256).expected
