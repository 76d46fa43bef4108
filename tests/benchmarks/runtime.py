"""What runtime_py costs on top of the runtime itself, all in turns in one run.

python tests/benchmarks/runtime.py BUNDLE [--runs 300] [--threads 1] [--json]

Of each target: the bare call of its runtime on the same object and array, `session.run`, and the median of the
differences between neighbours. And what comes before: an image of 1280 x 720 pixels to the network's input.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from profiling_bare import RUNTIMES, Bare

import runtime_py
from runtime_py.bundle import open_bundle

HELD = {"tflite": "_interpreter", "onnx": "session", "openvino": "request", "executorch": "module"}
"""What of an engine is the runtime's own."""


def beneath(session: runtime_py.Session, array: Any) -> Bare:
    """The runtime's calls on the very object that the session has: two of a kind, with their weights elsewhere, differ
    by more than a session adds."""
    return RUNTIMES[session.target][1](getattr(session._engine, HELD[session.target]), array)


def in_turns(calls: list[Callable[[], Any]], runs: int) -> list[list[float]]:
    """Microseconds of each call, `runs` times in turns after a tenth of them to warm up."""
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(runs + runs // 10):
        pairs = list(zip(times, calls, strict=True))
        for own, call in reversed(pairs) if turn % 2 else pairs:  # each is the first as often: caches favour one
            started = time.perf_counter()
            call()
            if turn >= runs // 10:
                own.append(1e6 * (time.perf_counter() - started))
    return times


def overheads(bundle: str, threads: int, runs: int) -> list[dict[str, Any]]:
    """A row a target of the bundle that has a bare call above."""
    opened, rows = open_bundle(bundle), []
    for artifact in opened.manifest.artifacts:
        if artifact.target not in HELD or artifact.status == "failed":
            continue
        with runtime_py.load(bundle, artifact.target, threads) as session:
            given = session.spec.inputs[0]
            random = np.random.default_rng(0).uniform(0, 1, given.shape)
            array = random.astype(given.dtype)
            bare = beneath(session, array).whole
            alone, ours = in_turns([bare, lambda array=array, given=given: session.run({given.name: array})], runs)
        differences = [own - other for own, other in zip(ours, alone, strict=True)]
        rows.append({
            "target": artifact.target, "bare_p50_us": statistics.median(alone),
            "session_p50_us": statistics.median(ours), "difference_p50_us": statistics.median(differences),
        })  # fmt: skip
    return rows


def preparing(bundle: str, runs: int) -> dict[str, float]:
    """Milliseconds from 1280 x 720 pixels to the network's input; the least is what a quiet machine would show."""
    pixels = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    photo = Image.fromarray(pixels)
    with runtime_py.load(bundle) as session:
        times = in_turns([lambda: session.prepare(photo), lambda: session.prepare(pixels)], runs)
    return {
        f"{name}_{kind}_ms": number(own) / 1e3
        for name, own in zip(("image", "array"), times, strict=True)
        for kind, number in (("p50", statistics.median), ("min", min))
    }


def main() -> None:
    """Both as a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = overheads(options.bundle, options.threads, options.runs)
    before = preparing(options.bundle, options.runs // 3) if open_bundle(options.bundle).manifest.preprocessing else {}
    if options.json:
        print(json.dumps({"run": rows, "prepare": before}, indent=2))
        return
    for row in rows:
        print(
            f"{row['target']:10} bare {row['bare_p50_us']:9.0f} us   session.run {row['session_p50_us']:9.0f} us   "
            f"difference {row['difference_p50_us']:6.0f} us"
        )
    for name, value in before.items():
        print(f"{name:14} {value:6.2f} ms")


if __name__ == "__main__":
    main()
