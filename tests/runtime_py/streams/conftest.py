import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import runtime_py
from tests.runtime_py.colours import make_bundle
from tests.runtime_py.streams.squares import make_squares


def stream_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("stream-")]


@pytest.fixture(autouse=True)
def no_threads_stay() -> Iterator[None]:
    """Each test's streams must have ended their threads; a source that blocks ends when the test lets it go."""
    yield
    end = time.monotonic() + 20
    while stream_threads() and time.monotonic() < end:
        time.sleep(0.02)
    assert stream_threads() == []


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[runtime_py.Session]:
    """A classifier: red, green, blue or black."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the test's network")
    with runtime_py.load(make_bundle(tmp_path_factory.mktemp("bundles") / "colours.bundle"), threads=1) as session:
        yield session


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Iterator[runtime_py.Session]:
    """A detector of coloured squares."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the test's network")
    with runtime_py.load(make_squares(tmp_path_factory.mktemp("bundles") / "squares.bundle"), threads=1) as session:
        yield session


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twenty frames."""
    from tests.runtime_py.streams.clips import counted

    return counted(tmp_path / "clip.mkv", 20)
