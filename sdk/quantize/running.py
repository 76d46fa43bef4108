"""Starts the quantising process, and passes on what it says."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from runtime_py.errors import SdkError
from runtime_py.manifest import Quantization
from sdk.quantize.job import Counting, Line, Quantised, QuantizeJob, Refused, Saying

POLL_SECONDS = 0.1


class QuantisingFailed(SdkError):
    """Nothing could be quantised; `id` is that of the reason."""

    def __init__(self, error: dict[str, str]) -> None:
        super().__init__(error["given"], expected=error.get("expected", ""), hint=error.get("hint", ""))
        self.id = error.get("id", "quantising-failed")


def run(job: QuantizeJob, say: Callable[[str], None], count: Callable[[int, int], None]) -> Quantization:
    """Quantise in a process of its own. Raises QuantisingFailed with that process's reason."""
    folder = Path(job.folder)
    job_file, lines = folder / "job.json", folder / "lines.jsonl"
    job_file.write_bytes(msgspec.json.encode(job))
    lines.write_bytes(b"")  # not those of an earlier job in this folder
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sdk.quantize.worker", str(job_file), str(lines)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=_environment(folder, job.threads),
            start_new_session=True,
        )
    try:
        for line in _lines(process, lines):
            match line:
                case Saying():
                    say(line.text)
                case Counting():
                    count(line.done, line.total)
                case Refused():
                    raise QuantisingFailed(line.error)
                case Quantised():
                    return line.record
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
    raise QuantisingFailed(_crash(process.returncode, folder / "log.txt"))


def _lines(process: subprocess.Popen[bytes], path: Path) -> Iterator[Line]:
    """What the process writes, until it ends."""
    decoder = msgspec.json.Decoder(Line)
    with path.open("rb") as file:
        rest = b""
        while True:
            ended = process.poll() is not None  # before the last look at what it wrote
            rest += file.read()
            *whole, rest = rest.split(b"\n")
            for line in whole:
                yield decoder.decode(line)
            if ended:
                return
            time.sleep(POLL_SECONDS)


def _environment(folder: Path, threads: int) -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    own = {"PYTHONPATH": path, "TMPDIR": str(folder), "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return os.environ | own | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}


def _crash(code: int, log: Path) -> dict[str, str]:
    tail = log.read_text(errors="replace").strip().splitlines()[-3:]
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return {
        "id": "worker-crashed",
        "given": f"the quantising process ended with {how}" + (":\n  " + "\n  ".join(tail) if tail else ""),
        "expected": "a quantised program",
        "hint": "close other programs: it was probably out of memory" if code == -9 else "",
    }
