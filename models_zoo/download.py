"""One file over HTTP: streamed, resumed where it was cut, never longer than announced."""

import errno
import ipaddress
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from runtime_py.errors import SdkError

if TYPE_CHECKING:
    from requests import Response, Session

PIECE = 1 << 16
"""Bytes read at once, and the most that a cut loses."""
STEP = 1 << 20
"""Bytes that a connection must bring not to count as a failed try."""
TRIES = 4
PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
TIMEOUTS_S = (10, 30)
"""To connect, and between two pieces of an answer."""
REDIRECTS = 5
LONGEST = 8 << 30
"""Bytes at which a download ends whose length nobody announced."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that another try may cure."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in all, 0 while these are unknown; neither ever falls."""


class FetchError(SdkError):
    """Weights that cannot be fetched, or are not what was promised."""

    id = "weights-fetch"


class _Cut(Exception):
    """An answer that ended early, or a server that may answer a little later."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def download(url: str, part: Path, size: int, progress: Progress | None = None) -> bool:
    """Fill `part` from `url` (`size` 0 where unknown); True where bytes of an earlier connection stand in it.

    What `part` holds already is not asked for again (RFC 9110, sections 13.1.5 and 14), if the server can do so.
    Raises FetchError; `part` stays for the next call unless the disk is full or the file is another one.
    """
    import requests

    report = forward_only(progress)
    failures = 0
    with requests.Session() as session:
        while True:
            before = length(part)
            if size and before == size:
                report(size, size)
                return True
            try:
                return _receive(session, url, part, size, report)
            except _Cut as cut:
                failures = 1 if length(part) - before >= STEP else failures + 1  # a line that moves may take its time
                if failures >= TRIES:
                    stays = f" ({length(part):,} bytes are kept for the next try)" if length(part) else ""
                    raise FetchError(f"{shown(url)} could not be fetched: {cut}{stays}") from cut
                time.sleep(max(PAUSE_S * 2 ** (failures - 1), min(cut.pause_s, LONGEST_PAUSE_S)))


def length(path: Path) -> int:
    """Bytes of `path`, 0 where it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def shown(url: str) -> str:
    """`url` without what may be secret in it: a password, a signed query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def forward_only(progress: Progress | None) -> Progress:
    """`progress`, spared the steps back of a download that starts again."""
    highest = -1

    def report(done: int, total: int) -> None:
        nonlocal highest
        if progress is not None and done > highest:
            highest = done
            progress(done, total)

    return report


def drop(part: Path) -> None:
    """Remove a part, and what is known of its origin."""
    part.unlink(missing_ok=True)
    _origin(part).unlink(missing_ok=True)


def _receive(session: "Session", url: str, part: Path, size: int, report: Progress) -> bool:
    import requests

    held, total = length(part), size
    try:
        with _answer(session, url, _wanted(part, held)) as response:
            start = _start(response, part, held)
            total = _total(response, url, size)
            if not start:
                drop(part)
            _require_room(part.parent, total - start)
            if not start:
                _remember(response, part)
            done = _write(response, url, part, start, total, report)
    except requests.exceptions.SSLError as error:
        raise FetchError(
            f"{shown(url)}: {_reason(error)}",
            expected="a certificate that this machine trusts",
            hint="REQUESTS_CA_BUNDLE=FILE where a company's proxy signs with its own",
        ) from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidProxyURL) as error:
        raise FetchError(f"{shown(url)} is no usable address: {error}") from error
    except requests.RequestException as error:
        raise _Cut(_reason(error)) from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        drop(part)  # or the disk stays full for everybody else
        raise _no_room(part.parent, total) from error
    if done < total:
        raise _Cut(f"the connection was cut after {done:,} of {total:,} bytes")
    return start > 0


def _wanted(part: Path, held: int) -> dict[str, str]:
    # a compressed answer could not be resumed: its bytes are not the file's
    headers = {"Accept-Encoding": "identity", "User-Agent": "edge-sdk"}
    if held:
        headers["Range"] = f"bytes={held}-"
        if _origin(part).is_file():
            headers["If-Range"] = _origin(part).read_text(encoding="latin-1")
    return headers


def _answer(session: "Session", url: str, headers: dict[str, str]) -> "Response":
    """The answer of the last server of the redirects; each step is checked before it is taken."""
    before = ""
    for _ in range(REDIRECTS + 1):
        _require_safe(url, before)
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUTS_S, allow_redirects=False)
        target = session.get_redirect_target(response)
        if target is None:
            return response
        response.close()
        before, url = url, urljoin(url, target)
    raise FetchError(f"{shown(url)} redirects more than {REDIRECTS} times")


def _require_safe(url: str, before: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_loopback(parts.hostname or "") and not before.startswith("https:"):
        return
    raise FetchError(
        f"{shown(before)} redirects to {shown(url)}" if before else f"{shown(url)} is no safe address",
        expected="https://…; http:// from this machine itself only",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _start(response: "Response", part: Path, held: int) -> int:
    """The offset in the file of the answer's first byte. Raises _Cut or FetchError for anything but a file."""
    status = response.status_code
    if status == 200:
        return 0
    if status == 206:
        found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        if found and int(found[1]) == held:
            return held
        drop(part)
        raise _Cut(f"the server answered another range than bytes {held:,} and on")
    if status == 416 and held:
        drop(part)
        raise _Cut(f"the server has no byte {held:,}")
    reason = f"HTTP {status} {response.reason or ''}".rstrip()
    if status in PASSING:
        raise _Cut(reason, _seconds(response.headers.get("Retry-After", "")))
    raise FetchError(f"{shown(response.url)}: {reason}", expected="a file at this address")


def _seconds(text: str) -> float:
    return float(text) if re.fullmatch(r"\d{1,9}", text) else 0.0  # the other form, a date, needs equal clocks


def _total(response: "Response", url: str, size: int) -> int:
    """The whole file's bytes, 0 where nobody says; refuses an answer that announces another length than `size`."""
    announced = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    if response.status_code == 200 and not response.headers.get("Content-Encoding"):
        announced = re.fullmatch(r"(\d+)", response.headers.get("Content-Length", ""))
    if announced is None:
        return size
    if size and int(announced[1]) != size:
        raise FetchError(f"{shown(url)} holds {int(announced[1]):,} bytes", expected=f"{size:,} bytes")
    return int(announced[1])


def _write(response: "Response", url: str, part: Path, start: int, total: int, report: Progress) -> int:
    done = start
    with part.open("ab") as file:
        report(done, total)
        for chunk in response.iter_content(PIECE):
            done += len(chunk)
            if done > (total or LONGEST):
                drop(part)
                raise FetchError(f"{shown(url)} sends more than {total or LONGEST:,} bytes", expected="no more")
            file.write(chunk)
            report(done, total)
    return done


def _origin(part: Path) -> Path:
    return part.with_name(f"{part.name}.origin")


def _remember(response: "Response", part: Path) -> None:
    """Keep what tells this version of the file from another, for If-Range, which takes no weak ETag."""
    tag = response.headers.get("ETag", "")
    mark = tag if tag.startswith('"') else response.headers.get("Last-Modified", "")
    if mark:
        _origin(part).write_text(mark, encoding="latin-1")


def _require_room(folder: Path, needed: int) -> None:
    if needed > shutil.disk_usage(folder).free:
        raise _no_room(folder, needed)


def _no_room(folder: Path, needed: int) -> FetchError:
    return FetchError(
        f"{folder} has no room: {needed:,} bytes needed, {shutil.disk_usage(folder).free:,} free",
        hint="make room, or set EDGE_SDK_CACHE to a folder on another disk",
    )


def _reason(error: Any) -> str:
    """What is wrong, without the names of urllib3's classes around it."""
    from requests.exceptions import ConnectTimeout, Timeout

    if isinstance(error, Timeout):
        return f"no answer within {TIMEOUTS_S[0 if isinstance(error, ConnectTimeout) else 1]} s"
    inner = error.args[0] if error.args else error
    text = str(getattr(inner, "reason", inner))
    return text.split("): ", 1)[-1] or type(error).__name__
