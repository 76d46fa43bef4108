"""Runs the evaluating processes, some at a time, and tells of each answer; a crash of one touches no other."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from sdk.evaluate.messages import Answer, Boxes, Classes, Done, EvalJob, Failed, Frames, Line, Loaded, Unread

POLL_SECONDS = 0.1
ROOT = Path(__file__).resolve().parents[2]
Watch = Callable[[str, int, int], None]
"""Told of a row's name, how many samples it has answered, and how many there are."""


@dataclass
class Run:
    """One process, from its start to what became of it; its lines stay on disk, where `answers` reads them."""

    name: str
    job: EvalJob
    samples: int
    folder: Path
    offset: int = 0
    written: int = 0
    done: int = -1
    process: subprocess.Popen[bytes] | None = None
    loaded: Loaded | None = None
    seconds: float = 0.0
    unread: dict[int, str] = field(default_factory=dict)
    error: dict[str, str] | None = None

    @property
    def lines(self) -> Path:
        """Where the process writes."""
        return self.folder / "lines.jsonl"

    def answers(self) -> Iterator[Answer]:
        """What it answered, one after the other."""
        for line in _decoded(self.lines):
            if isinstance(line, Classes | Boxes | Frames):
                yield line


def run_all(runs: list[Run], at_once: int, watch: Watch) -> None:
    """Run each to its end, `at_once` at a time."""
    waiting, running = list(runs), list[Run]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                running.append(_started(waiting.pop(0)))
            time.sleep(POLL_SECONDS)
            for run in running:
                assert run.process is not None  # _started gives it one
                ended = run.process.poll() is not None  # before the last look at what it wrote
                _tell(run, watch)
                if ended:
                    _finish(run, run.process.returncode)
            running = [run for run in running if run.process is not None]
    finally:
        for run in running:
            _kill(run)


def _started(run: Run) -> Run:
    run.folder.mkdir()
    job = run.folder / "job.json"
    job.write_bytes(msgspec.json.encode(run.job))
    run.lines.touch()
    with (run.folder / "log.txt").open("wb") as log:
        run.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sdk.evaluate.worker", str(job), str(run.lines)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(run),
            start_new_session=True,
        )
    return run


def _environment(run: Run) -> dict[str, str]:
    """Threads that wait for each other sleep: where another process has a core, those that spin take five times as
    long, as each keeps from the other the core that it waits for."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    threads = {"OMP_NUM_THREADS": str(run.job.threads), "OMP_WAIT_POLICY": "PASSIVE"}
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    return os.environ | threads | quiet | {"PYTHONPATH": path, "TMPDIR": str(run.folder)}


def _tell(run: Run, watch: Watch) -> None:
    """Count what is new, and tell of it."""
    with run.lines.open("rb") as file:
        file.seek(run.offset)
        new = file.read()
    run.offset += len(new)
    run.written += new.count(b"\n")
    done = min(max(run.written - 1, 0), run.samples)  # the first line is no sample's, and neither is the last
    if done != run.done:
        run.done = done
        watch(run.name, done, run.samples)


def _finish(run: Run, code: int) -> None:
    run.process = None
    for line in _decoded(run.lines):
        if isinstance(line, Loaded):
            run.loaded = line
        elif isinstance(line, Unread):
            run.unread[line.key] = line.why
        elif isinstance(line, Done):
            run.seconds = line.seconds
            return
        elif isinstance(line, Failed):
            run.error = line.error
            return
    log = (run.folder / "log.txt").read_text(errors="replace").strip().splitlines()
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    given = f"the process ended with {how} after {max(run.done, 0)} of {run.samples} samples"
    run.error = {
        "id": "worker-crashed",
        "given": given + (":\n  " + "\n  ".join(log[-3:]) if log else ""),
        "expected": "an answer to each",
        "hint": "close other programs, or --jobs 1: it was probably out of memory" if code == -9 else "",
    }


def _decoded(path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # a crash may leave half a line
                yield decoder.decode(line)


def _kill(run: Run) -> None:
    if run.process is None or run.process.poll() is not None:
        return
    with suppress(psutil.Error):  # what ended by itself needs no kill
        for child in psutil.Process(run.process.pid).children(recursive=True):
            child.kill()
    run.process.kill()
    run.process.wait()
