"""Runs each target's chain of worker processes, some at a time, and watches their memory."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from sdk.jobs import Answer, Job

POLL_SECONDS = 0.2
FLOOR_MB = 400
"""With less free memory than this, the largest worker is stopped before the system stops something else."""
DISK_FLOOR_MB = 64
WORKER_MB = 1500
"""What one worker may need; another starts beside it only where this much is free."""


@dataclass
class Chain:
    """One target's jobs, made one after the other: `next_job(answer)` gives the next one, or None at the end."""

    target: str
    next_job: Callable[[Answer | None], Job | None]
    stage: str = "waiting"
    seconds: float = 0.0
    peak_mb: float = 0.0
    answer: Answer = field(default_factory=Answer)


Watcher = Callable[[list[Chain]], None]


@dataclass
class _Running:
    chain: Chain
    process: subprocess.Popen[bytes]
    folder: Path
    started: float


def run_chains(chains: list[Chain], work: Path, jobs: int, watch: Watcher) -> float:
    """Run all chains, `jobs` at a time; returns the peak memory in MB of this process and all workers together.

    Each chain ends with `answer` set, and `answer.error` where it failed; a crash of one touches no other.
    """
    waiting, running, peak = list(chains), list[_Running](), 0.0
    me = psutil.Process()
    try:
        while waiting or running:
            while waiting and len(running) < jobs and (not running or _free_mb() > WORKER_MB):
                running += _start(waiting.pop(0), None, work)
            watch(chains)
            time.sleep(POLL_SECONDS)
            peak = max(peak, _rss_mb(me) + sum(_measure(one) for one in running))
            _stop_the_largest(running)
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                one.chain.answer = _collect(one)
                running += _start(one.chain, one.chain.answer, work)
        watch(chains)
    finally:
        for one in running:
            _kill(one.process)
    return peak


def _start(chain: Chain, answer: Answer | None, work: Path) -> Iterator[_Running]:
    job = None if answer and answer.error else chain.next_job(answer)
    if job is None:
        chain.stage = "failed" if chain.answer.error else "done"
        return
    chain.stage = "lowering" if job.program else "proving"
    folder = work / f"{chain.target}.{chain.stage}"
    folder.mkdir()
    (folder / "job.json").write_bytes(msgspec.json.encode(job))
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sdk.worker", str(folder / "job.json"), str(folder / "answer.json")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(folder),
            start_new_session=True,
        )
    yield _Running(chain, process, folder, time.monotonic() - chain.seconds)


def _environment(folder: Path) -> dict[str, str]:
    scratch = folder / "tmp"
    scratch.mkdir()
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TOKENIZERS_PARALLELISM": "false", "PYTHONWARNINGS": "ignore"}
    own = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH", "")]))
    waiting = {"OMP_WAIT_POLICY": "PASSIVE"}  # beside other workers, threads that spin slow each other down
    return os.environ | quiet | waiting | {"PYTHONPATH": path, "TMPDIR": str(scratch)}


def _collect(one: _Running) -> Answer:
    one.chain.seconds = time.monotonic() - one.started
    answer = one.folder / "answer.json"
    if answer.is_file():
        shutil.rmtree(one.folder / "tmp", ignore_errors=True)
        found = msgspec.json.decode(answer.read_bytes(), type=Answer)
        return msgspec.structs.replace(found, error=_mind_the_disk(found.error, one.folder)) if found.error else found
    code = one.process.returncode
    log = (one.folder / "log.txt").read_text(errors="replace").strip().splitlines()
    hint = "--jobs 1, or close other programs: it was probably out of memory" if code in (-9, 137) else ""
    given = f"the {one.chain.stage} process ended with {'signal' if code < 0 else 'exit code'} {abs(code)}"
    error = {"id": "worker-crashed", "given": given + _tail(log), "expected": "an answer", "hint": hint}
    return Answer(error=_mind_the_disk(error, one.folder))


def _mind_the_disk(error: dict[str, str], folder: Path) -> dict[str, str]:
    """Converters crash in many ways on a full disk, and none of them says so."""
    free = shutil.disk_usage(folder).free / 2**20
    if free > DISK_FLOOR_MB:
        return error
    return error | {"id": "disk-full", "hint": f"only {free:.0f} MB are free here: free some, or --out DIR elsewhere"}


def _tail(log: list[str]) -> str:
    return ":\n  " + "\n  ".join(log[-3:]) if log else ""


def _measure(one: _Running) -> float:
    one.chain.seconds = time.monotonic() - one.started
    try:
        process = psutil.Process(one.process.pid)
        now = _rss_mb(process) + sum(_rss_mb(child) for child in process.children(recursive=True))
    except psutil.Error:  # it ended between the poll and this line
        return 0.0
    one.chain.peak_mb = max(one.chain.peak_mb, now)
    return now


def _rss_mb(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / 2**20
    except psutil.Error:  # ended meanwhile
        return 0.0


def _free_mb() -> float:
    return float(psutil.virtual_memory().available) / 2**20


def _stop_the_largest(running: list[_Running]) -> None:
    if running and _free_mb() < FLOOR_MB:
        _kill(max(running, key=_measure).process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with suppress(psutil.Error):  # what ended by itself needs no kill
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()
