"""How well latency is predicted on this machine: every network of the zoo from all the others, by its operators.

python tests/benchmarks/predict.py FOLDER [--target tflite,onnx,openvino] [--only-check] [--again]

Exports to FOLDER what is not there yet, measures each network's operators and whole inferences (in six rounds at most,
of what was disturbed in those before), and leaves each one out in turn: at least 80 % within 15 % is the bar, for each
target. Exits 1 where one misses it. With --again all are first measured once more, and the quicker rows kept. It takes
half an hour of exports, and a quarter of measuring on a quiet machine.
"""

import argparse
import sys
from math import inf
from pathlib import Path

from devices.profiling import profile
from models_zoo import MODELS
from runtime_py.bundle import open_bundle
from runtime_py.manifest import ProfileRow
from sdk import export
from sdk.predicting.answer import Checked, check
from sdk.predicting.bank import SIZES
from sdk.predicting.sources import fastest, speed_of
from sdk.profiles import save_profiles

BAR, ROUNDS = 0.8, 6
SAMPLES, SECONDS = 10, 1.0
"""Of the row's other figures, which are not looked at."""


def export_to(folder: Path, name: str, targets: list[str]) -> Path:
    """The bundle of a network, which is exported where it is not there yet."""
    bundle = folder / f"{name}.bundle"
    if not bundle.is_dir() and name.startswith("bank_"):
        side = SIZES[int(name.removeprefix("bank_"))]
        export(f"sdk.predicting.bank:{name}", ",".join(targets), inputs=[(1, 3, side, side)], out=folder)
    elif not bundle.is_dir():
        export(name, ",".join(targets), out=folder)
    return bundle


def missing(found: list[Path], targets: list[str]) -> dict[Path, list[str]]:
    """By bundle, targets of which it has no sound row with operators."""
    best = fastest_of(found)
    sound = {
        bundle: [row.target for row in open_bundle(bundle).manifest.profiles if took_ms(row, best) < inf]
        for bundle in found
    }
    wanted = {bundle: [name for name in targets if name not in sound[bundle]] for bundle in found}
    return {bundle: left for bundle, left in wanted.items() if left}


def took_ms(row: ProfileRow, best: float) -> float:
    """Its whole inference at the device's full speed; infinite where it is not sound."""
    speed = speed_of(row, best)
    return speed * row.whole_ms if speed and row.whole_ms is not None else inf


def fastest_of(found: list[Path]) -> float:
    """The least pulse of the rows of all bundles."""
    return fastest(row for bundle in found for row in open_bundle(bundle).manifest.profiles)


def measure(bundle: Path, targets: list[str], best: float) -> None:
    """Profile one network; its bundle keeps the quicker one of two rows of a target, as disturbances only slow."""
    found = profile(bundle, targets, samples=SAMPLES, seconds=SECONDS, operators=True)
    kept = {row.target: took_ms(row, best) for row in open_bundle(bundle).manifest.profiles}
    save_profiles(bundle, [row for row in found.rows if took_ms(row, best) <= kept.get(row.target, inf)])
    for row in found.rows:
        whole = f"{row.whole_ms:8.2f} ms" if row.whole_ms else "slowed down"
        total = sum(one.ms for one in row.operators)
        said = f"{whole} of which operators {total:8.2f} ms, pulse {row.pulse_us or 0:.1f} us"
        print(f"{bundle.stem:28} {row.target:10} {said}", file=sys.stderr)
    for one in found.failed:
        print(f"{bundle.stem:28} {one.target:10} {one.error['given']}", file=sys.stderr)
    sys.stderr.flush()


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
    parser.add_argument("--again", action="store_true", help="first measure all anew, and keep the quicker rows")
    options = parser.parse_args()
    targets = options.target.split(",")
    names = [f"bank_{seed}" for seed in range(len(SIZES))]
    names += [name for name, spec in MODELS.items() if spec.task != "decode_video"]  # those take a minute an inference
    found = [] if options.only_check else [export_to(options.folder, name, targets) for name in names]
    for bundle in found if options.again else ():
        measure(bundle, targets, fastest_of(found))
    for _ in range(ROUNDS):
        for bundle, left in missing(found, targets).items():
            measure(bundle, left, fastest_of(found))
    checked = [one for one in check("local", [options.folder]) if one.cell.target in targets]
    print("\n".join(map(table, checked)))
    return 0 if all(one.errors.within >= BAR for one in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
