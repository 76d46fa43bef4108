"""Latency of .tflite files in LiteRT on one thread, in turns, so that all see the same machine; ratios to the first.

python tests/benchmarks/latency.py ours.tflite theirs.tflite [...] [--runs 200] [--threads 1] [--json]
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def load(path: Path, threads: int) -> Any:
    """An interpreter with random numbers in its inputs."""
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        dtype = np.dtype(detail["dtype"])
        floats = np.issubdtype(dtype, np.floating)
        values = rng.random(detail["shape"]) if floats else rng.integers(0, 100, detail["shape"])
        interpreter.set_tensor(detail["index"], values.astype(dtype))
    return interpreter


def measure(paths: list[Path], runs: int, threads: int) -> list[dict[str, Any]]:
    """Milliseconds of each file, of `runs` turns after a twentieth of them to warm up."""
    interpreters = [load(path, threads) for path in paths]
    times: list[list[float]] = [[] for _ in paths]
    for turn in range(runs + runs // 20):
        for index, interpreter in enumerate(interpreters):
            started = time.perf_counter()
            interpreter.invoke()
            if turn >= runs // 20:
                times[index].append(1e3 * (time.perf_counter() - started))
    first = statistics.median(times[0])
    return [
        {
            "file": path.name,
            "bytes": path.stat().st_size,
            "p50_ms": round(statistics.median(own), 3),
            "p90_ms": round(float(np.percentile(own, 90)), 3),
            "min_ms": round(min(own), 3),
            "ratio": round(statistics.median(own) / first, 3),
        }
        for path, own in zip(paths, times, strict=True)
    ]


def main() -> None:
    """Print a markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.files, options.runs, options.threads)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print("| file | bytes | p50, ms | p90, ms | best, ms | p50 over the first's |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        cells = (row["file"], f"{row['bytes']:,}", row["p50_ms"], row["p90_ms"], row["min_ms"], row["ratio"])
        print(f"| {' | '.join(map(str, cells))} |")


if __name__ == "__main__":
    main()
