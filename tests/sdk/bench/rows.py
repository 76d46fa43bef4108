"""Rows and runs as a device would give them, with times that are made up."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from devices.agent import Job, timing
from devices.profiling import Launch
from runtime_py.manifest import ProfileRow
from sdk.bench.database import Run
from sdk.bench.results import Made, Result


def row_of(medians_ms: Sequence[float] = (1.0,) * 8, **fields: Any) -> ProfileRow:
    """A row of a repeat for each median, whose times lie evenly around it."""
    parts = [[median * (1 + 0.001 * step) for step in range(-5, 6)] for median in medians_ms]
    given: dict[str, Any] = {
        "target": "onnx", "precision": "fp32", "threads": 1, "device": "a processor", "valid": True,
        "infer": timing([value for part in parts for value in part]), "repeats_p50_ms": tuple(medians_ms),
        "samples_ms": tuple(map(tuple, parts)), "conditions": {"runtime": "1.0"},
        "created": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    return ProfileRow(**given | fields)


def result_of(medians_ms: Sequence[float] = (1.0,) * 8, **fields: Any) -> Result:
    """A measured result, or what `fields` make of it."""
    given: dict[str, Any] = {
        "network": "colours", "precision": "fp32", "target": "onnx", "threads": 1, "device": "local",
        "address": "local", "subject": "s", "outcome": "measured", "attempts": 1,
        "made": Made(sha256="0" * 64, bytes=1_000_000, status="executed"), "row": row_of(medians_ms),
    }  # fmt: skip
    return Result(**given | fields)


def run_of(**fields: Any) -> Run:
    given: dict[str, Any] = {"name": "b", "file": "/b.toml", "protocol": "{}", "commit": "c", "sdk": "1", "host": {}}
    return Run(**given | fields)


def answering(told: Callable[[Job], ProfileRow | dict[str, Any]], seen: list[Job] | None = None) -> Launch:
    """An agent that gives a row, or a message, for a job; it notes the jobs."""

    def launch(job: Job) -> Iterator[bytes]:
        if seen is not None:
            seen.append(job)
        yield b"INFO: a runtime says hello\n"
        yield msgspec.json.encode({"progress": 0.5, "doing": "infer"})
        found = told(job)
        yield msgspec.json.encode({"row": found} if isinstance(found, ProfileRow) else found)

    return launch


def steady(job: Job) -> ProfileRow:
    """A valid row of one repeat, as the agent gives for one start."""
    return row_of([1.0], target=job.target, threads=job.threads)


def times(rng: np.random.Generator, *, mean: float = 1.0, repeats: int = 8, count: int = 130) -> list[Any]:
    """Times of repeats that share a state each: 1 % from repeat to repeat, and a tail of 3 % within."""
    levels = mean * np.exp(0.01 * rng.standard_normal(repeats))
    return [level * np.exp(0.03 * np.abs(rng.standard_normal(count))) for level in levels]
