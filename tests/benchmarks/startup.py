"""Seconds of `sdk --help` and of `import runtime_py`, beside what the interpreter alone takes.

python tests/benchmarks/startup.py [--runs 10] [--json]
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


@dataclass(frozen=True)
class Startup:
    """Wall seconds of a fresh process."""

    command: str
    best_s: float
    median_s: float
    runs: int


def measure(title: str, runs: int) -> Startup:
    """Start the command `runs` times, after one that fills the file cache."""
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(COMMANDS[title], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - started)
    return Startup(title, min(seconds[1:]), statistics.median(seconds[1:]), runs)


def main() -> None:
    """Print a markdown table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
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
        print(f"| `{row.command}` | {row.best_s:.3f} | {row.median_s:.3f} | {above} |")


if __name__ == "__main__":
    main()
