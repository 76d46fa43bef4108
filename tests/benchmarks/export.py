"""Wall seconds, peak memory of the process tree, and each target's SQNR, of an export with its proof.

python tests/benchmarks/export.py [--model NAME] [--target all --target coreml] [--json]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Export:
    """One run of `sdk export`. `peak_rss_mb` sums the resident memory of all its processes at one moment.

    Pages that processes share count once for each, so the sum is an upper bound. `sqnr_db` is None for an
    artifact that nothing here could run, and 200 for one whose answers are identical to PyTorch's.
    """

    target: str
    wall_s: float
    peak_rss_mb: float
    sqnr_db: dict[str, float | None]
    status: dict[str, str]


def measure(model: str, target: str, precision: str) -> Export:
    """Export into a temporary folder, sampling memory every 0.1 s."""
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("sdk")), "export", model]
        command += ["--target", target, "--precision", precision, "--out", folder, "--name", "measured"]
        started, peak = time.perf_counter(), 0
        with (Path(folder) / "log").open("w+") as log:
            process = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            while process.poll() is None:
                peak = max(peak, tree_rss(process))
                time.sleep(SAMPLE_SECONDS)
            wall = time.perf_counter() - started
            if process.returncode != 0:
                log.seek(0)
                sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read()}")
        manifest = json.loads((Path(folder) / "measured.bundle/manifest.json").read_text(encoding="utf-8"))
    artifacts = manifest["artifacts"]
    return Export(
        target,
        wall,
        peak / 2**20,
        {row["target"]: row.get("sqnr_db") for row in artifacts},
        {row["target"]: row["status"] for row in artifacts},
    )


def tree_rss(process: psutil.Popen) -> int:
    """Bytes that the process and its descendants hold now; one that ended meanwhile counts nothing."""
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def print_tables(rows: list[Export]) -> None:
    """Two markdown tables: cost of each run, and proof of each target."""
    print("| `sdk export --target` | wall, s | peak memory of all processes, MB |\n|---|---|---|")
    for row in rows:
        print(f"| {row.target} | {row.wall_s:.1f} | {row.peak_rss_mb:,.0f} |")
    proofs = {name: (row.status[name], row.sqnr_db[name]) for row in rows for name in row.status}
    print("\n| target | status | worst SQNR, dB |\n|---|---|---|")
    for name, (status, sqnr) in proofs.items():
        print(f"| {name} | {status} | {'-' if sqnr is None else f'{sqnr:.1f}'} |")


def main() -> None:
    """Print markdown tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mobilenetv4_conv_small")
    parser.add_argument("--target", action="append", help="repeat for several runs; all and coreml by default")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "fp16"])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    targets = options.target or ["all", "coreml"]
    rows = [measure(options.model, target, options.precision) for target in targets]
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "runs": [asdict(row) for row in rows]}, indent=2))
    else:
        print_tables(rows)


if __name__ == "__main__":
    main()
