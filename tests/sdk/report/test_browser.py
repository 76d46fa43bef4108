"""The page in a real browser: no console error, no request, everything in the DOM."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from runtime_py.manifest import Manifest
from sdk.report import write_report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
OUTSIDE = "http://example.com/x.png"
COMPLAINT = re.compile(r"CONSOLE|Content.Security.Policy|Refused to", re.IGNORECASE)


def browse(page: Path, profile: Path) -> tuple[str, list[str], set[str]]:
    """The DOM, the browser's complaints about the page, and every address that the page asked for."""
    assert BROWSER
    log = profile.with_suffix(".json")
    command = [
        BROWSER,
        *FLAGS,
        f"--user-data-dir={profile}",
        f"--log-net-log={log}",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    complaints = [line for line in done.stderr.splitlines() if COMPLAINT.search(line)]
    return done.stdout, complaints, requested_by_page(log)


def requested_by_page(log: Path) -> set[str]:
    """The browser's own requests (updates, clock) have no origin as their initiator; a page's have one."""
    events = json.loads(log.read_text(encoding="utf-8"))["events"]
    parameters = [event["params"] for event in events if isinstance(event.get("params"), dict)]
    return {p["url"] for p in parameters if "url" in p and p.get("initiator", "not an origin") != "not an origin"}


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome, to open the page in")
def test_opens_without_errors_or_requests(
    manifest: Manifest, top5: dict[str, list[tuple[str, float]]], tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    write_report(manifest, page, Image.new("RGB", (640, 480), (90, 120, 60)), top5)
    dom, complaints, requested = browse(page, tmp_path / "profile")
    assert complaints == []
    assert requested == set()
    for words in ("Core ML", "LiteRT", "OpenVINO", "ONNX", "ExecuTorch (XNNPACK)", "worst 119.8 dB"):
        assert words in dom


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome, to open the page in")
@pytest.mark.parametrize("policy", [True, False])
def test_an_intruder_is_seen_by_this_test_and_stopped_by_the_policy(
    manifest: Manifest, tmp_path: Path, policy: bool
) -> None:
    page = tmp_path / "report.html"
    write_report(manifest, page, None, {})
    text = page.read_text(encoding="utf-8").replace(
        "</main>",
        f'<img src="{OUTSIDE}"><script>document.title="taken";console.error("seen")</script></main>',
    )
    page.write_text(text if policy else text.replace("Content-Security-Policy", "other"), encoding="utf-8")
    dom, complaints, requested = browse(page, tmp_path / "profile")
    assert complaints != []
    assert requested == (set() if policy else {OUTSIDE})
    assert ("<title>taken" in dom) is not policy
