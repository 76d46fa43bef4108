"""Fills the matrix: one process an export, so that nothing that one network leaks or breaks reaches the next."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from exporters import TARGETS
from models_zoo import MODELS
from runtime_py.bundle import open_bundle
from sdk.matrix.calibration import calibration_options
from sdk.matrix.cells import Cell, Integers, Matrix
from sdk.matrix.columns import has_row
from sdk.quantize.scheme import SCHEMES

Task = tuple[str, str, tuple[str, ...]]
"""A network, a precision, and the targets that still lack a proven cell."""
REFUSALS = ("accuracy-lost", "precision-refused", "nothing-to-quantise")
"""The errors by which the SDK declines what it could do."""


def open_tasks(matrix: Matrix, models: Sequence[str], precisions: Sequence[str], targets: Sequence[str]) -> list[Task]:
    """What is left to do: cells of the column that were never tried, and those that failed or were refused."""
    tasks = []
    for precision in precisions:
        able = [target for target in targets if precision in TARGETS[target].precisions]
        for model in (name for name in models if has_row(precision, name)):
            found = {target: matrix.of(model, precision, target) for target in able}
            left = tuple(target for target, cell in found.items() if cell is None or not cell.proven)
            if left:
                tasks.append((model, precision, left))
    return tasks


def run_tasks(tasks: Sequence[Task], jobs: int | None, begin: Callable[[Task], None]) -> Iterator[tuple[Cell, ...]]:
    """Each task's cells as soon as they are known; `begin` is told of each task before it starts."""
    for task in tasks:
        begin(task)
        with tempfile.TemporaryDirectory() as out:
            yield _export(task, jobs, Path(out))


def _export(task: Task, jobs: int | None, out: Path) -> tuple[Cell, ...]:
    model, precision, targets = task
    command = [sys.executable, "-m", "sdk", "export", model, "--json", "--precision", precision]
    command += ["--target", ",".join(targets), "--out", str(out), *(["--jobs", str(jobs)] if jobs else [])]
    if precision in SCHEMES and SCHEMES[precision].calibrated and model in MODELS:
        command += calibration_options(MODELS[model], out / "calibration")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = {"error": {"given": _last_line(done.stderr) or f"the process ended with code {done.returncode}"}}
    if "error" in answer:
        return tuple(_unmade(model, precision, target, answer["error"]) for target in targets)
    program = _program(answer["bundle"])
    return tuple(_cell(model, precision, row, program) for row in answer["targets"])


def _unmade(model: str, precision: str, target: str, error: dict[str, str]) -> Cell:
    """A cell of an export that ended before any target was lowered."""
    why = error["given"]
    if error.get("id") not in REFUSALS:
        return Cell(model=model, precision=precision, target=target, status="failed", why=why)
    # the figures are in the words alone, as in AccuracyLost of sdk/gating.py
    sqnr, same = re.search(r"SQNR (-?[\d.]+) dB", why), re.search(r"(\d+)% of the answers", why)
    program = Integers(program_db=float(sqnr[1]) if sqnr else None, agreement=int(same[1]) / 100 if same else None)
    return Cell(model=model, precision=precision, target=target, status="refused", why=why, integers=program)


def _program(bundle: str | None) -> Integers | None:
    """What a bundle says of its quantised program; None where it has none."""
    record = open_bundle(bundle).manifest.quantization if bundle else None
    return Integers(program_db=record.sqnr_db, agreement=record.agreement) if record else None


def _cell(model: str, precision: str, row: dict[str, Any], program: Integers | None) -> Cell:
    integers: Integers | UnsetType = UNSET
    if program is not None or row.get("fidelity_db") is not None:
        integers = msgspec.structs.replace(program or Integers(), fidelity_db=row.get("fidelity_db"))
    return Cell(
        model=model,
        precision=precision,
        target=row["target"],
        status=row["status"],
        sqnr_db=row.get("sqnr_db"),
        bytes=row.get("bytes"),
        seconds=row["seconds"],
        peak_mb=row["peak_mb"],
        why=(row.get("error") or {}).get("given", ""),
        integers=integers,
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
