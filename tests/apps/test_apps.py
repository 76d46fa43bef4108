"""The example apps, run as a beginner runs them."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.runtime_py.colours import make_bundle
from tests.runtime_py.streams.clips import make_clip
from tests.runtime_py.streams.squares import make_squares, picture

av = pytest.importorskip("av", reason="PyAV reads and writes the clips")
pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the tests' networks")
ROOT = Path(__file__).parents[2]
PATIENCE_S = 120
LONGEST = 60


def run(app: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, ROOT / "apps" / app, *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE_S, cwd=ROOT, env=environment(),
    )  # fmt: skip


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def walkers(tmp_path: Path) -> Path:
    """Three squares cross, two of them red; the third comes when the first two are gone."""

    def scene(step: int) -> np.ndarray:
        first = [("red", 2 * step, 0), ("blue", 48 - 2 * step, 28)] if step < 25 else []
        return picture(*first, *([("red", 2 * (step - 70), 16)] if step >= 70 else []))

    return make_clip(tmp_path / "walkers.mkv", [scene(step) for step in range(95)])


@pytest.fixture
def lights(tmp_path: Path) -> Path:
    """One second each of red, green and blue, with flashes of another colour in between."""
    frames = []
    for colour in range(3):
        for index in range(25):
            shown = (colour + 1) % 3 if index in (12, 18) else colour
            frames.append(np.zeros((16, 24, 3), np.uint8))
            frames[-1][..., shown] = 255
    return make_clip(tmp_path / "lights.mkv", frames)


@pytest.mark.parametrize("app", sorted(path.name for path in (ROOT / "apps").glob("[a-z]*.py")))
def test_an_app_fits_on_a_screen_and_explains_itself(app: str) -> None:
    text = (ROOT / "apps" / app).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST
    done = run(app, "--help")
    assert done.returncode == 0
    assert "bundle" in done.stdout


def test_objects_are_counted_shown_recorded_and_logged(tmp_path: Path, walkers: Path) -> None:
    bundle = make_squares(tmp_path / "squares.bundle")
    video, log = tmp_path / "out.mp4", tmp_path / "log.jsonl"
    done = run("count_objects.py", bundle, walkers, "--port", 0, "--video", video, "--log", log)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"watch http://127\.0\.0\.1:\d+/\ncounted: 2 red, 1 blue\n", done.stdout)
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 95
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["index"] for row in rows] == list(range(95))
    assert {one["id"] for row in rows for one in row["detections"]} == {1, 2, 3}


def test_only_some_classes(tmp_path: Path, walkers: Path) -> None:
    bundle = make_squares(tmp_path / "squares.bundle")
    done = run("count_objects.py", bundle, walkers, "--port", 0, "--only", "blue")
    assert done.stdout.splitlines()[-1] == "counted: 1 blue"
    done = run("count_objects.py", bundle, walkers, "--port", 0, "--only", "bleu")
    assert done.returncode == 1
    assert "did you mean blue?" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_page_lives_while_the_app_does_and_sigterm_ends_it(tmp_path: Path, walkers: Path) -> None:
    bundle = make_squares(tmp_path / "squares.bundle")
    command = [sys.executable, str(ROOT / "apps/count_objects.py"), str(bundle), str(walkers), "--port", "0", "--loop"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            for _ in range(1000):
                with urllib.request.urlopen(f"{url}stats.json", timeout=PATIENCE_S) as answer:
                    counters = json.load(answer)
                if counters.get("blue"):
                    break
            with urllib.request.urlopen(f"{url}snapshot.jpg", timeout=PATIENCE_S) as answer:
                assert answer.read(2) == b"\xff\xd8"
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert counters["blue"] >= 1
    assert counters["fps"] >= 0
    assert process.returncode == 0
    assert re.search(r"counted: \d+ red, \d+ blue\n", out)


def test_a_clip_is_classified_without_its_flashes(tmp_path: Path, lights: Path) -> None:
    bundle = make_bundle(tmp_path / "colours.bundle")
    done = run("classify_live.py", bundle, lights, "--half-life", 0.2, "--port", 0)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"s  (\w+)  \d+%", done.stdout) == ["red", "green", "blue"]
    assert re.search(r"^75 frames at \d+ a second, 0 dropped$", done.stdout, re.MULTILINE)
    assert "watch http://127.0.0.1:" in done.stdout
    quick = run("classify_live.py", bundle, lights, "--half-life", 0.001)
    assert len(re.findall(r"s  (\w+)  \d+%", quick.stdout)) > 8  # without smoothing each flash is a change


@pytest.mark.parametrize("app", ["classify_live.py", "count_objects.py"])
def test_mistakes_are_told_without_a_traceback(tmp_path: Path, app: str) -> None:
    bundle = make_bundle(tmp_path / "colours.bundle")
    port = ["--port", 0] if app == "count_objects.py" else []
    for arguments in ([tmp_path / "absent.bundle", "camera:0"], [bundle, "absent.mp4"]):
        done = run(app, *arguments, *port)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_real_street(tmp_path: Path, shared: Path) -> None:
    """People on vtest.avi, by a network that knows colours only: the real clip's decoding, page and end."""
    archive = shared / "data/video_clips.tar"
    if not archive.is_file():
        pytest.skip("video_clips.tar is absent: it holds the street scene")
    with tarfile.open(archive) as clips:
        (tmp_path / "vtest.avi").write_bytes(clips.extractfile("vtest.avi").read())  # type: ignore[union-attr]
    done = run("classify_live.py", make_bundle(tmp_path / "colours.bundle"), tmp_path / "vtest.avi")
    assert done.returncode == 0, done.stderr
    assert "795 frames at" in done.stdout
    done = run(
        "count_objects.py", make_squares(tmp_path / "squares.bundle"), tmp_path / "vtest.avi", "--port", 0,
        "--video", tmp_path / "out.mp4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "counted:" in done.stdout
    assert (tmp_path / "out.mp4").stat().st_size > 100_000
