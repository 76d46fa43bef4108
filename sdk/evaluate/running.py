"""`sdk.evaluate`: a process a target, one after the other, then the metrics of all on the same samples."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runtime_py.bundle import open_bundle
from runtime_py.errors import SdkError
from sdk.evaluate.datasets import BadData, Dataset, read_dataset
from sdk.evaluate.metrics import MAIN, Prediction, score
from sdk.evaluate.worker import EvalJob

POLL_SECONDS = 0.1
Watch = Callable[[str, int, int], None]
"""Told of a target, how many samples it answered, and how many there are."""


@dataclass(frozen=True)
class EvalRow:
    """One target's metrics (shares of 1, `psnr_db` in dB) and its drop against PyTorch's in the main one."""

    target: str
    precision: str
    status: str
    images: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    drop: float | None = None
    error: dict[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Flat, for `--json`."""
        own = {"target": self.target, "precision": self.precision, "status": self.status}
        rest = {"drop": self.drop, "images": self.images, "seconds": round(self.seconds, 2), "error": self.error}
        return own | self.metrics | rest


@dataclass(frozen=True)
class EvalResult:
    """PyTorch's row, where there is one, and then each target's. `left_out` says which files could not be read."""

    task: str
    rows: tuple[EvalRow, ...]
    left_out: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every target answered; PyTorch's own row may be missing."""
        return all(row.error is None for row in self.rows if row.target != "pytorch")


def evaluate(
    bundle: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    targets: str | Sequence[str] = "all",
    limit: int | None = None,
    threads: int | None = None,
    model: str = "",
    weights: str = "",
    pytorch: bool = True,
    watch: Watch = lambda *_: None,
) -> EvalResult:
    """Score every artifact of `bundle` in its own runtime on the same samples.

    `data` is a folder (or .zip) with a folder for each class, a COCO json (its images beside it or in `images`),
    or a folder of .npz with `latent` and `video`. Raises SdkError where nothing could start.
    """
    opened = open_bundle(bundle)
    artifacts = {artifact.target: artifact for artifact in opened.manifest.artifacts}
    names = _names(targets, list(artifacts))
    threads = threads or os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as work:
        dataset = read_dataset(
            opened.manifest, Path(data), Path(images) if images else None, Path(classes) if classes else None,
            limit, Path(work, "unpacked"),
        )  # fmt: skip
        answers = {}
        for name in (["pytorch"] if pytorch else []) + names:
            job = EvalJob(
                str(bundle), name, threads, [(sample.key, sample.file) for sample in dataset.samples], model, weights
            )
            answers[name] = _run(job, Path(work), watch)
        bad = {key: why for found in answers.values() for key, why in found.unread.items()}
        if len(bad) == len(dataset.samples):
            raise BadData(f"none of {len(bad)} files could be read; the first: {next(iter(bad.values()))}")
        rows = [
            _row(name, answers[name], opened.manifest.task, dataset, set(bad), artifacts.get(name)) for name in answers
        ]
    return EvalResult(opened.manifest.task, _with_drops(rows, MAIN[opened.manifest.task]), tuple(bad.values()))


@dataclass(frozen=True)
class _Answers:
    found: dict[int, Prediction]
    unread: dict[int, str]
    error: dict[str, str] | None
    seconds: float


def _run(job: EvalJob, work: Path, watch: Watch) -> _Answers:
    """One worker from its start to its end, told of as it goes."""
    job_file, out = work / f"{job.target}.json", work / f"{job.target}.jsonl"
    job_file.write_bytes(msgspec.json.encode(job))
    out.touch()
    started, done = time.monotonic(), 0
    with (work / f"{job.target}.log").open("w+") as log:
        command = [sys.executable, "-m", "sdk.evaluate.worker", str(job_file), str(out)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            while process.poll() is None:
                done = out.read_bytes().count(b"\n")
                watch(job.target, min(done, len(job.samples)), len(job.samples))
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    found, unread = dict[int, Prediction](), dict[int, str]()
    fatal: dict[str, str] | None = None
    for line in out.read_bytes().splitlines():
        row = msgspec.json.decode(line)
        if "fatal" in row:
            fatal = row["fatal"]
        elif "error" in row:
            unread[row["key"]] = row["error"]
        else:
            found[row["key"]] = row
    if fatal is None and len(found) + len(unread) < len(job.samples):
        code = process.returncode
        fatal = SdkError(f"the process of {job.target} ended with code {code} after {len(found)} answers").to_dict()
    watch(job.target, len(job.samples), len(job.samples))
    return _Answers(found, unread, fatal, time.monotonic() - started)


def _row(name: str, answers: _Answers, task: str, dataset: Dataset, left_out: set[int], artifact: Any) -> EvalRow:
    precision = artifact.precision if artifact else "fp32"
    if answers.error is not None:
        return EvalRow(name, precision, "failed", seconds=answers.seconds, error=answers.error)
    kept = {key: row for key, row in answers.found.items() if key not in left_out}
    status = artifact.status if artifact else "executed"
    return EvalRow(name, precision, status, len(kept), answers.seconds, score(task, dataset, kept))


def _with_drops(rows: list[EvalRow], main: str) -> tuple[EvalRow, ...]:
    from dataclasses import replace

    reference = next((row.metrics for row in rows if row.target == "pytorch" and row.metrics), None)
    if reference is None:
        return tuple(rows)
    return tuple(
        replace(row, drop=reference[main] - row.metrics[main]) if row.metrics and row.target != "pytorch" else row
        for row in rows
    )


def _names(targets: str | Sequence[str], present: list[str]) -> list[str]:
    from runtime_py.errors import unknown_name

    names = targets.split(",") if isinstance(targets, str) else list(targets)
    names = present if names == ["all"] else [name.strip() for name in names]
    for name in names:
        if name not in present:
            raise unknown_name("target of this bundle", name, present)
    return names
