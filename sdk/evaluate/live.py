"""Shows an evaluation on stderr: a bar a target on a terminal, a line at every tenth elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sdk.evaluate.processes import Watch


@contextmanager
def live_bars(quiet: bool = False) -> Iterator[Watch]:
    """A Watch to pass on; `quiet` shows nothing."""
    if quiet:
        yield lambda *_: None
    elif sys.stderr.isatty():
        with _bars() as watch:
            yield watch
    else:
        yield _lines()


def _lines() -> Watch:
    started, tenths = time.monotonic(), dict[str, int]()

    def watch(name: str, done: int, of: int) -> None:
        tenth = done * 10 // max(of, 1)
        if tenth > tenths.get(name, -1):
            tenths[name] = tenth
            print(f"[{time.monotonic() - started:5.1f} s] {name}: {done:,} of {of:,}", file=sys.stderr, flush=True)

    return watch


@contextmanager
def _bars() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = dict[str, TaskID]()

        def watch(name: str, done: int, of: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=of)
            progress.update(tasks[name], completed=done)

        yield watch
