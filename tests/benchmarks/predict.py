"""How well latency is predicted on this machine: every network of the zoo from all the others, by its operators.

python tests/benchmarks/predict.py FOLDER [--target tflite,onnx,openvino] [--only-check]

Exports to FOLDER what is not there yet, measures each network's operators and whole inferences (a network again while
other work disturbs it, three times at most), and leaves each one out in turn: at least 80 % within 15 % is the bar, for
each target. Exits 1 where one misses it. It takes half an hour on a quiet machine, most of it exports.
"""

import argparse
import sys
from pathlib import Path

from devices.profiling import profile
from models_zoo import MODELS
from runtime_py.bundle import open_bundle
from sdk import export
from sdk.predicting.answer import Checked, check
from sdk.predicting.bank import SIZES
from sdk.profiles import save_profiles

BAR, MOST_TRIES = 0.8, 3
SAMPLES, SECONDS = 50, 4.0


def missing(bundle: Path, targets: list[str]) -> list[str]:
    """Targets of which no valid row with operators is in the bundle."""
    rows = open_bundle(bundle).manifest.profiles
    return [name for name in targets if not any(r.target == name and r.valid and r.operators for r in rows)]


def measure(name: str, folder: Path, targets: list[str]) -> None:
    """Export and profile one network, as far as that was not done."""
    bundle = folder / f"{name}.bundle"
    if not bundle.is_dir() and name.startswith("bank_"):
        side = SIZES[int(name.removeprefix("bank_"))]
        export(f"sdk.predicting.bank:{name}", ",".join(targets), inputs=[(1, 3, side, side)], out=folder)
    elif not bundle.is_dir():
        export(name, ",".join(targets), out=folder)
    for _ in range(MOST_TRIES):
        left = missing(bundle, targets)
        if not left:
            return
        found = profile(bundle, left, samples=SAMPLES, seconds=SECONDS, operators=True)
        save_profiles(bundle, found.rows)
        for row in found.rows:
            whole = f"{row.infer.p50_ms:8.2f} ms" if row.infer else "–"
            print(f"{name:28} {row.target:10} {whole} {row.why or 'valid'}", file=sys.stderr, flush=True)
        for one in found.failed:
            print(f"{name:28} {one.target:10} {one.error['given']}", file=sys.stderr, flush=True)


def table(checked: Checked) -> str:
    """A markdown table of one target."""
    cell, errors = checked.cell, checked.errors
    lines = [f"| {cell.target}, {cell.precision} | measured, ms | predicted, ms | off by |", "|---|---|---|---|"]
    for row in sorted(checked.rows, key=lambda row: row.measured_ms):
        lines.append(f"| {row.name} | {row.measured_ms:.2f} | {row.predicted_ms:.2f} | {row.error:+.1%} |")
    held = "holds" if errors.within >= BAR else "does not hold"
    said = f"{errors.within:.0%} of {errors.networks} within 15% (bar {BAR:.0%}: {held}), median {errors.median:.1%}, "
    return "\n".join([*lines, "", said + f"90th percentile {errors.p90:.1%}, worst {errors.worst:.1%}", ""])


def main() -> int:
    """Print a table for each target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="tflite,onnx,openvino")
    parser.add_argument("--only-check", action="store_true", help="measure nothing, take what FOLDER's bundles have")
    options = parser.parse_args()
    targets = options.target.split(",")
    names = [f"bank_{seed}" for seed in range(len(SIZES))]
    names += [name for name, spec in MODELS.items() if spec.task != "decode_video"]  # those take a minute an inference
    for name in () if options.only_check else names:
        measure(name, options.folder, targets)
    checked = [one for one in check("local", [options.folder]) if one.cell.target in targets]
    print("\n".join(map(table, checked)))
    return 0 if all(one.errors.within >= BAR for one in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
