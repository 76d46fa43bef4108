"""Fills the matrix: one process an export, so that nothing that one network leaks or breaks reaches the next."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from exporters import TARGETS
from sdk.matrix.cells import Cell, Matrix

Task = tuple[str, str, tuple[str, ...]]
"""A network, a precision, and the targets that still lack a proven cell."""


def open_tasks(matrix: Matrix, models: Sequence[str], precisions: Sequence[str], targets: Sequence[str]) -> list[Task]:
    """What is left to do: cells that were never tried, and those that failed."""
    tasks = []
    for precision in precisions:
        able = [target for target in targets if precision in TARGETS[target].precisions]
        for model in models:
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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = {"error": {"given": _last_line(done.stderr) or f"the process ended with code {done.returncode}"}}
    if "error" in answer:
        return tuple(
            Cell(model=model, precision=precision, target=target, status="failed", why=answer["error"]["given"])
            for target in targets
        )
    return tuple(_cell(model, precision, row) for row in answer["targets"])


def _cell(model: str, precision: str, row: dict[str, Any]) -> Cell:
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
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
