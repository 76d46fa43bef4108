"""SIGTERM in processes of their own: what was read is answered, and the handler before is back."""

import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

import runtime_py
from tests.runtime_py.colours import make_bundle

PATIENCE_S = 60
PROGRAM = """
import signal, sys
import numpy as np
import runtime_py

session = runtime_py.load(sys.argv[1], threads=1)
image = np.full((8, 12, 3), (255, 0, 0), np.uint8)
"""
DRAIN = """
answers = runtime_py.stream([image], session, loop=True)
for count, (frame, found) in enumerate(answers, 1):
    assert frame.index == count - 1 and found.label == "red"
    if count == 5:
        print("ready", flush=True)
stats = answers.stats
print(stats.read, stats.answered, count, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""
NESTED = """
outer = runtime_py.stream([image], session, loop=True)
for number, _ in enumerate(outer):
    inner = runtime_py.stream([image], session, loop=True, max_frames=None if number == 0 else 1)
    for count, _ in enumerate(inner, 1):
        if count == 5:
            print("ready", flush=True)
print(inner.stats.in_flight, outer.stats.in_flight, signal.getsignal(signal.SIGTERM) == signal.SIG_DFL)
"""
TWICE = """
import time
for count, _ in enumerate(runtime_py.stream([image], session, loop=True), 1):
    if count == 5:
        print("ready", flush=True)
        time.sleep(600)
"""
OFF = DRAIN.replace("loop=True", "loop=True, drain_on_sigterm=False")


@pytest.fixture
def colours_bundle(tmp_path: Path) -> Path:
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the test's network")
    return make_bundle(tmp_path / "colours.bundle")


def start(code: str, bundle: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PROGRAM) + code, str(bundle)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: "subprocess.Popen[str]") -> str:
    try:
        out, errors = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert "Traceback" not in errors, errors
    return out


def test_sigterm_ends_the_loop_with_every_frame_answered(colours_bundle: Path) -> None:
    process = start(DRAIN, colours_bundle)
    process.send_signal(signal.SIGTERM)
    read, answered, count, restored = end(process).split()
    assert process.returncode == 0
    assert int(read) == int(answered) == int(count) >= 5
    assert restored == "True"


def test_a_stream_in_a_stream_ends_both(colours_bundle: Path) -> None:
    process = start(NESTED, colours_bundle)
    process.send_signal(signal.SIGTERM)
    assert end(process).split() == ["0", "0", "True"]
    assert process.returncode == 0


def test_a_second_sigterm_ends_the_process(colours_bundle: Path) -> None:
    process = start(TWICE, colours_bundle)
    while process.poll() is None:  # two in the same moment are one
        process.send_signal(signal.SIGTERM)
        threading.Event().wait(0.1)
    assert end(process) == ""
    assert process.returncode == -signal.SIGTERM


def test_without_draining_sigterm_is_what_it_always_was(colours_bundle: Path) -> None:
    process = start(OFF, colours_bundle)
    process.send_signal(signal.SIGTERM)
    assert end(process) == ""
    assert process.returncode == -signal.SIGTERM


def test_the_programs_own_handler_is_back_after_the_stream(colours: runtime_py.Session) -> None:
    called: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: called.append(number))
    try:
        mine = signal.getsignal(signal.SIGTERM)
        image = np.zeros((8, 12, 3), np.uint8)
        with runtime_py.stream([image], colours, loop=True) as answers:
            assert signal.getsignal(signal.SIGTERM) == mine  # only a stream that runs takes it
            next(answers)
            assert signal.getsignal(signal.SIGTERM) != mine
        assert signal.getsignal(signal.SIGTERM) == mine
        signal.raise_signal(signal.SIGTERM)
        assert called == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_signals_are_left_alone(colours: runtime_py.Session) -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def run() -> None:
        for _ in runtime_py.stream([np.zeros((8, 12, 3), np.uint8)], colours):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]
