"""What a stream counts and measures."""

import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SETTLED = ("answered", "dropped", "thinned", "skipped")
"""What can become of a frame that was read."""
STAGES = ("decode", "prepare", "infer", "answer")
KEPT = 1000
"""Times per stage that percentiles are taken over: a stream may run for days."""
RATE_FRAMES = 100
"""Answers that the rate is taken over."""


@dataclass(frozen=True)
class Milliseconds:
    """Half and nine tenths of the last thousand frames took no longer than this."""

    p50: float
    p90: float


@dataclass(frozen=True)
class Stats:
    """A stream's counters at one moment; once it has ended, `read` is `answered + dropped + thinned + skipped`.

    `dropped`: newer frames took their place (policy `latest`); `thinned`: left out by `fps`; `skipped`: pictures that
    could not be read (`on_error="skip"`); `damaged`: packets of a video that could not be decoded; `truncated`: a video
    ended before the time that it promises. `stages` says how long each works on a frame, without waiting; `latency` is
    from the source to the answer; `fps` is that of the last hundred answers.
    """

    read: int = 0
    dropped: int = 0
    thinned: int = 0
    answered: int = 0
    skipped: int = 0
    damaged: int = 0
    reconnects: int = 0
    truncated: bool = False
    fps: float = 0.0
    stages: dict[str, Milliseconds] | None = None
    latency: Milliseconds | None = None

    @property
    def in_flight(self) -> int:
        """Frames that were read and are not answered yet; after `close`, those that never will be."""
        return self.read - self.answered - self.dropped - self.thinned - self.skipped

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Meter:
    """Collects what `Stats` shows; every thread of a stream writes here."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts = dict.fromkeys(("read", *SETTLED, "damaged", "reconnects"), 0)
        self.truncated = False
        self._took: dict[str, deque[float]] = {name: deque(maxlen=KEPT) for name in (*STAGES, "latency")}
        self._answers: deque[float] = deque(maxlen=RATE_FRAMES)

    def count(self, name: str, more: int = 1) -> None:
        with self.lock:
            self.counts[name] += more

    def took(self, stage: str, seconds: float) -> None:
        self._took[stage].append(seconds)

    def answered(self, latency_s: float) -> None:
        with self.lock:
            self.counts["answered"] += 1
            self._answers.append(time.monotonic())
        self.took("latency", latency_s)

    def in_flight(self) -> int:
        """Call with the lock held, where a later frame must not slip in."""
        return self.counts["read"] - sum(self.counts[name] for name in SETTLED)

    def fps(self) -> float:
        """Answers a second, over the last RATE_FRAMES."""
        with self.lock:
            count = len(self._answers)
            span = self._answers[-1] - self._answers[0] if count else 0.0
        return (count - 1) / span if span > 0 else 0.0

    def stats(self) -> Stats:
        with self.lock:
            counts = dict(self.counts)
        rows = {name: _percentiles(times) for name, times in self._took.items()}
        return Stats(
            **counts,
            truncated=self.truncated,
            fps=self.fps(),
            stages={name: row for name in STAGES if (row := rows[name]) is not None},
            latency=rows["latency"],
        )


def _percentiles(times: deque[float]) -> Milliseconds | None:
    taken = times.copy()  # in one step, while another thread appends
    if not taken:
        return None
    p50, p90 = np.percentile(np.fromiter(taken, float), (50, 90)) * 1e3
    return Milliseconds(round(float(p50), 3), round(float(p90), 3))
