"""Shows long work on stderr: a live table on a terminal, one line a change elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sdk.progress import Progress

if TYPE_CHECKING:
    from sdk.pool import Chain


@contextmanager
def live_progress(quiet: bool = False) -> Iterator[Progress]:
    """A Progress that a command may pass on; `quiet` shows nothing."""
    if quiet:
        yield Progress()
    elif sys.stderr.isatty():
        with _live_table() as progress:
            yield progress
    else:
        yield _lines()


def _lines() -> Progress:
    started, seen = time.monotonic(), dict[str, str]()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {text}", file=sys.stderr, flush=True)

    def watch(chains: "list[Chain]") -> None:
        for chain in chains:
            if chain.stage != seen.get(chain.target, "waiting"):
                seen[chain.target] = chain.stage
                say(f"{chain.target}: {chain.stage}")

    def fetch(done: int, total: int) -> None:
        tenth = done * 10 // total if total else done // 10_000_000
        if seen.get("fetched") != str(tenth):
            seen["fetched"] = str(tenth)
            say(f"fetching weights: {_bytes(done, total)}")

    def count(done: int, total: int) -> None:
        tenth = done * 10 // max(total, 1)
        if seen.get("counted") != str(tenth):
            seen["counted"] = str(tenth)
            say(f"  {done} of {total}")

    def score(name: str, done: int, total: int) -> None:
        if done == total and seen.get(f"scored {name}") != str(total):
            seen[f"scored {name}"] = str(total)
            say(f"{name}: scored")

    return Progress(say, watch, fetch, count, score)


@contextmanager
def _live_table() -> Iterator[Progress]:
    from rich.console import Console
    from rich.live import Live
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar
    from rich.spinner import Spinner
    from rich.table import Table
    from rich.text import Text

    console, spinner = Console(stderr=True), Spinner("dots")
    styles = {"done": "green", "failed": "bold red", "waiting": "dim"}

    def table(chains: "list[Chain]") -> Any:
        grid = Table.grid(padding=(0, 2))
        for chain in chains:
            busy = chain.stage in ("lowering", "proving")
            memory = f"{chain.peak_mb:,.0f} MB" if chain.peak_mb else ""
            seconds = f"{chain.seconds:.0f} s" if chain.seconds else ""
            mark = spinner if busy else Text("✓" if chain.stage == "done" else "·", style=styles.get(chain.stage, ""))
            grid.add_row(mark, chain.target, Text(chain.stage, style=styles.get(chain.stage, "")), seconds, memory)
        return grid

    with Live(console=console, refresh_per_second=8, transient=True) as live:

        def say(text: str) -> None:
            console.print(Text(text, style="dim"))

        def fetch(done: int, total: int) -> None:
            columns = (TextColumn("fetching weights"), BarColumn(), TextColumn(_bytes(done, total)))
            bar = Bar(*columns)
            bar.add_task("", total=total or None, completed=done)
            live.update("" if done == total else bar.get_renderable())

        def bar(text: str, done: int, total: int) -> None:
            shown = Bar(TextColumn(text), BarColumn(), TextColumn(f"{done:,} of {total:,}"), transient=True)
            shown.add_task("", total=total, completed=done)
            live.update("" if done == total else shown.get_renderable())

        yield Progress(
            say,
            lambda chains: live.update(table(chains)),
            fetch,
            lambda done, total: bar("", done, total),
            bar,
        )


def _bytes(done: int, total: int) -> str:
    return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{done / 1e6:.1f} MB"
