"""Seconds of `sdk --help` and of `import runtime_py`, beside what the interpreter alone takes.

python tests/benchmarks/startup.py [--runs 10] [--json] [--bundle BUNDLE --target tflite --photo PHOTO]

With a bundle also from nothing to its first answer, and that process's peak of resident memory.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "sdk --help": [str(Path(sys.executable).with_name("sdk")), "--help"],
    "import runtime_py": [sys.executable, "-c", "import runtime_py"],
    "import runtime_py, ready to load": [sys.executable, "-c", "import runtime_py; runtime_py.load"],
}


FIRST_ANSWER = "import, load, first answer"
ANSWER = """
import resource, sys, runtime_py
session = runtime_py.load(sys.argv[1], sys.argv[2] or None)
print(session(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@dataclass(frozen=True)
class Startup:
    """Wall seconds of a fresh process."""

    command: str
    best_s: float
    median_s: float
    runs: int
    peak_rss_mb: float | None = None


def measure(title: str, runs: int) -> Startup:
    """Start the command `runs` times, after one that fills the file cache."""
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        done = subprocess.run(COMMANDS[title], check=True, capture_output=True, text=True)
        seconds.append(time.perf_counter() - started)
    last = done.stdout.split()[-1:] if title == FIRST_ANSWER else []
    peak = int(last[0]) / 1024 if last else None
    return Startup(title, min(seconds[1:]), statistics.median(seconds[1:]), runs, peak)


def main() -> None:
    """Print a markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bundle")
    parser.add_argument("--target", default="")
    parser.add_argument("--photo", default="sdk/photos/chelsea.png")
    options = parser.parse_args()
    if options.bundle:
        COMMANDS[FIRST_ANSWER] = [sys.executable, "-c", ANSWER, options.bundle, options.target, options.photo]
    if options.runs < 1:
        parser.error(f"{options.runs} runs; 1 or more are needed")
    rows = [measure(title, options.runs) for title in COMMANDS]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    base = rows[0]
    print("| fresh process | best, s | median, s | median above the interpreter, s |\n|---|---|---|---|")
    for row in rows:
        above = "" if row is base else f"{row.median_s - base.median_s:.3f}"
        memory = "" if row.peak_rss_mb is None else f" {row.peak_rss_mb:.0f} MB at most"
        print(f"| `{row.command}` | {row.best_s:.3f} | {row.median_s:.3f} | {above}{memory} |")


if __name__ == "__main__":
    main()
