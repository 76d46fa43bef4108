"""No quantised artifact leaves without its accuracy, measured in its own runtime; without data SQNR is the gate."""

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runtime_py.bundle import describe, write_bundle
from runtime_py.errors import SdkError
from runtime_py.manifest import Accuracy, File, Manifest, Quantization, Task
from sdk.progress import Progress
from sdk.results import TargetResult

if TYPE_CHECKING:
    from sdk.evaluate.results import EvalRow

QUALITY_DB = 6.0
"""Of the quantised program on held-out samples, where accuracy is not measured: half the signal's amplitude is error.
LeYOLO at 4 dB has lost half of its mAP, at 9 dB a tenth."""
AGREEMENT = 0.6
"""The share of held-out answers that must stay the same then: a classifier's best class, or an object found. MCUNet,
with 1000 classes, keeps 0.85 and loses no accuracy."""


class AccuracyLost(SdkError):
    """An artifact whose metric drops by more than its user allows."""

    id = "accuracy-lost"


def check_quality(record: Quantization) -> None:
    """Refuse a quantised program that answers unlike the network on samples that it was not calibrated on.

    Raises AccuracyLost, before anything is lowered.
    """
    low = record.sqnr_db is not None and record.sqnr_db < QUALITY_DB
    other = record.agreement is not None and record.agreement < AGREEMENT
    if low or other:
        kept = "" if record.agreement is None else f", and {record.agreement:.0%} of the answers are the same"
        raise AccuracyLost(
            f"the quantised network answers unlike the float one on samples that it was not calibrated on: "
            f"SQNR {record.sqnr_db:.1f} dB{kept}",
            expected=f"{QUALITY_DB:.0f} dB or more" + (f", and {AGREEMENT:.0%}" if kept else ""),
            hint="calibrate on data like the device's, and more of it; --precision mixed or fp16",
        )


def unit_of(task: Task) -> float:
    """How a drop is given: points of a share, or dB."""
    return 1.0 if task == "decode_video" else 100.0


def with_gate(manifest: Manifest, max_drop: float) -> Manifest:
    """The manifest with its gate, which is given in points or dB and kept in shares of 1 or dB."""
    if manifest.quantization is None:
        return manifest
    record = msgspec.structs.replace(manifest.quantization, max_drop=max_drop / unit_of(manifest.task))
    return msgspec.structs.replace(manifest, quantization=record)


def gated(
    rows: tuple[TargetResult, ...],
    manifest: Manifest,
    folder: Path,
    work: Path,
    data: str | PathLike[str],
    images: str | PathLike[str] | None,
    max_drop: float,
    progress: Progress,
) -> tuple[TargetResult, ...]:
    """Each artifact with its accuracy; one that loses more than `max_drop` points (or dB) has failed.

    `folder` is the bundle as it is so far, `work` holds the float program.
    """
    from sdk.evaluate import evaluate

    alive = [row for row in rows if row.status != "failed" and row.artifact is not None]
    if not alive:
        return rows
    progress.say(f"scoring each target on {Path(data).name}")
    size, sha256 = describe(folder / "golden.npz")
    golden = File(file="golden.npz", bytes=size, sha256=sha256)
    artifacts = tuple(row.artifact for row in alive if row.artifact is not None)
    write_bundle(folder, msgspec.structs.replace(manifest, artifacts=artifacts, files=(golden,)))
    reference = work / "float.pt2" if (work / "float.pt2").exists() else work / "program.pt2"
    found = evaluate(folder, data, images=images, program=reference, watch=progress.score)
    scored = {row.target: row for row in found}
    return tuple(_with_accuracy(row, scored, Path(data).name, max_drop) if row in alive else row for row in rows)


def _with_accuracy(row: TargetResult, scored: "dict[str, EvalRow]", data: str, max_drop: float) -> TargetResult:
    from sdk.evaluate.results import MAIN, PYTORCH

    found, reference = scored[row.target], scored[PYTORCH]
    if found.error is not None:
        return replace(row, status="failed", error=found.error)
    main = next((name for name in MAIN.values() if name in reference.metrics), "")
    if found.drop is None or found.interval is None or row.artifact is None:
        return row
    accuracy = Accuracy(
        metric=main,
        value=found.metrics[main],
        reference=reference.metrics[main],
        drop=found.drop,
        low=found.interval[0],
        high=found.interval[1],
        samples=found.images,
        data=data,
    )
    artifact = msgspec.structs.replace(row.artifact, accuracy=accuracy)
    unit = 1.0 if main == "psnr_db" else 100.0
    if unit * accuracy.drop <= max_drop + 1e-9:  # a drop of exactly as much is none too many
        return replace(row, artifact=artifact)
    error = AccuracyLost(
        f"{row.target} loses {unit * accuracy.drop:.2f} {'dB' if unit == 1.0 else 'points'} of {main} "
        f"({unit * accuracy.reference:.2f} to {unit * accuracy.value:.2f}, 95 % interval of the drop "
        f"{unit * accuracy.low:+.2f} .. {unit * accuracy.high:+.2f}, {accuracy.samples:,} samples of {data})",
        expected=f"at most {max_drop:g} (--max-drop)",
        hint="--precision mixed keeps layers in float where they need it",
    )
    failed = msgspec.structs.replace(artifact, status="failed", reason=error.given)
    return replace(row, status="failed", artifact=failed, error=error.to_dict())
