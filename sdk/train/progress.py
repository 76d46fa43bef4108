"""One progress line a stage: loss, learning rate, images a second, time left."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class StageProgress:
    """On stderr, so that `--json` output stays clean. `rate` is in images a second since the start."""

    def __init__(self, name: str, steps: int, start: int, batch: int) -> None:
        self._start, self._batch, self._began = start, batch, time.perf_counter()
        self.rate = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} loss {task.fields[loss]:.3f} lr {task.fields[lr]:.1e}"),
            TextColumn("{task.fields[rate]:,.0f} images/s{task.fields[top1]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        fields: dict[str, Any] = {"loss": float("nan"), "lr": 0.0, "rate": 0.0, "top1": ""}
        self._task = self._bar.add_task(name, total=steps, completed=start, **fields)

    def show(self, step: int, loss: float, lr: float) -> None:
        self.rate = (step - self._start) * self._batch / (time.perf_counter() - self._began)
        self._bar.update(self._task, completed=step, loss=loss, lr=lr, rate=self.rate)

    def note(self, top1: float) -> None:
        self._bar.update(self._task, top1=f" top-1 {top1:.1%}")

    def __enter__(self) -> "StageProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
