"""What quantising costs, network by network: size and accuracy of every target's file, in its own runtime.

python tests/benchmarks/quantised.py NETWORK --calibration DATA [--eval-data DATA] [--weights FILE] [--input-size N]
    [--precision w8a8] [--max-drop 1.0] [--max-mac-share 0.15] [--calibration-size 300] [--target all] [--out runs]

Exports NETWORK in fp32 (for its size) and in the precision, and prints a markdown table. The data may be anything that
`sdk export` takes. Without --eval-data nothing is scored, and the seconds are those of calibrating, lowering and
proving; the memory is the largest process's. The cache of quantised programs is not used.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import sdk
from sdk.live import live_progress
from sdk.results import ExportResult


def main() -> None:
    """Export twice, print once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("--weights")
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--calibration", required=True)
    parser.add_argument("--calibration-size", type=int, default=300)
    parser.add_argument("--eval-data")
    parser.add_argument("--precision", default="w8a8")
    parser.add_argument("--max-drop", type=float, default=1.0)
    parser.add_argument("--max-mac-share", type=float)
    parser.add_argument("--target", default="all")
    parser.add_argument("--out", type=Path, default=Path("runs"))
    options = parser.parse_args()
    common = {"weights": options.weights, "input_size": options.input_size, "out": options.out}
    with tempfile.TemporaryDirectory() as cache, live_progress() as progress:
        os.environ["EDGE_SDK_CACHE"] = cache
        whole = sdk.export(options.network, options.target, name="fp32", progress=progress, **common)
        started = time.monotonic()
        result = sdk.export(
            options.network, options.target, precision=options.precision, calibration=options.calibration,
            calibration_size=options.calibration_size, eval_data=options.eval_data, max_drop=options.max_drop,
            max_mac_share=options.max_mac_share, name=options.precision, progress=progress, **common,
        )  # fmt: skip
        seconds = time.monotonic() - started
    print_table(whole, result)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\n{seconds:.0f} s, {peak:,.0f} MB in the largest process")


def print_table(whole: ExportResult, result: ExportResult) -> None:
    """A row a target."""
    sizes = {row.target: row.artifact.bytes for row in whole if row.artifact}
    print("| target | status | bytes | of fp32 | metric, % | drop, points | 95 % interval |")
    print("|---|---|---:|---:|---:|---:|---|")
    for row in result:
        if row.artifact is None:
            print(f"| {row.target} | {row.status}: {(row.error or {}).get('given', '')} | | | | | |")
            continue
        found, size = row.artifact.accuracy, row.artifact.bytes
        ratio = f"1 / {sizes[row.target] / size:.2f}" if row.target in sizes else "-"
        cells = [row.target, row.status, f"{size:,}", ratio]
        if found is not None:
            cells += [f"{100 * found.value:.2f}", f"{100 * found.drop:+.2f}"]
            cells.append(f"{100 * found.low:+.2f} .. {100 * found.high:+.2f}")
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
