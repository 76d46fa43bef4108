"""The files that a plan is about: ready bundles, and exports of the zoo's networks, which are kept for the next run."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import sdk
from exporters import TARGETS
from models_zoo import MODELS
from runtime_py.bundle import check_files, open_bundle
from runtime_py.errors import SdkError
from runtime_py.manifest import Artifact, Manifest
from sdk.bench.plan import Network
from sdk.bench.results import Made, Outcome
from sdk.exporting import versions
from sdk.matrix.calibration import calibration_options
from sdk.matrix.runner import REFUSALS
from sdk.quantize.scheme import LACKING, SCHEMES

MADE_WITH = ("edge-sdk", "torch", "coremltools", "litert-torch", "ai-edge-litert", "ai-edge-quantizer", "executorch",
             "openvino", "onnx", "onnxscript", "nncf", "torchao")  # fmt: skip
"""A file that other versions of these made is another file."""
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Found:
    """An artifact of a bundle."""

    bundle: Path
    made: Made


@dataclass(frozen=True)
class Unmade:
    """A file that there is not, and why."""

    outcome: Outcome
    why: str
    hint: str = ""


Maker = Callable[[Network, str, Sequence[str], Path, Callable[[str], None]], Mapping[str, Found | Unmade]]
"""Finds or makes a network's files: its precision, the targets, the folder that keeps exports, and who is told."""


def subject_of(network: Network, precision: str, target: str) -> str:
    """The hash of what determines a file: of an export all that it is made of, of a bundle's artifact its content."""
    if network.bundle:
        held = open_bundle(network.bundle).manifest.artifacts
        return next((one.sha256 for one in held if (one.precision, one.target) == (precision, target)), "")
    return _key(network, precision)


def find_or_make(
    network: Network, precision: str, targets: Sequence[str], folder: Path, say: Callable[[str], None]
) -> dict[str, Found | Unmade]:
    """Each target's file: a ready bundle's, one that an earlier run exported into `folder`, or a new export."""
    if network.bundle:
        return _ready(network, precision, targets)
    able = [target for target in targets if precision in TARGETS[target].precisions]
    found: dict[str, Found | Unmade] = {
        target: Unmade("absent", LACKING.get((target, precision)) or f"{target} has no {precision}", "sdk targets")
        for target in targets
        if target not in able
    }
    key = _key(network, precision)
    kept = folder / f"{network.model}-{precision}-{key[:12]}"
    found |= _kept(kept, able)
    missing = [target for target in able if target not in found]
    if missing:
        say(f"exporting {network.name} {precision}: {', '.join(missing)}")
        found |= _exported(network, precision, missing, kept, key)
    return found


def _ready(network: Network, precision: str, targets: Sequence[str]) -> dict[str, Found | Unmade]:
    path = Path(network.bundle)
    manifest = open_bundle(path).manifest
    held = {one.target: one for one in manifest.artifacts if one.precision == precision and one.status != "failed"}
    return {
        target: Found(path, _made(held[target], manifest))
        if target in held
        else Unmade("failed", f"the bundle's {target} in {precision} has failed when it was made")
        for target in targets
    }


def _kept(folder: Path, targets: Sequence[str]) -> dict[str, Found | Unmade]:
    """What earlier runs exported; a bundle that is damaged is made anew."""
    found: dict[str, Found | Unmade] = {}
    for path in sorted(folder.glob("*/*.bundle")):
        try:
            bundle = open_bundle(path)
            check_files(bundle)
        except SdkError:
            continue
        for one in bundle.manifest.artifacts:
            if one.target in targets and one.status != "failed":
                found[one.target] = Found(path, _made(one, bundle.manifest))
    return found


def _made(artifact: Artifact, manifest: Manifest) -> Made:
    return Made(sha256=artifact.sha256, bytes=artifact.bytes, status=artifact.status, sqnr_db=artifact.sqnr_db,
                weights=manifest.weights)  # fmt: skip


def _exported(
    network: Network, precision: str, targets: Sequence[str], kept: Path, key: str
) -> dict[str, Found | Unmade]:
    """By `sdk export` in a process of its own, so that nothing that it leaves or breaks reaches the measurement."""
    which = hashlib.sha256(f"{key} {' '.join(sorted(targets))}".encode()).hexdigest()[:8]
    command = [sys.executable, "-m", "sdk", "export", network.model, "--json", "--precision", precision]
    command += ["--target", ",".join(targets), "--out", str(kept / which)]
    command += ["--name", f"{network.model}-{precision}-{which}"]  # one name each, as a device has one folder for all
    command += ["--weights", network.weights] if network.weights else []
    command += ["--input-size", str(network.input_size)] if network.input_size else []
    with tempfile.TemporaryDirectory() as work:
        if SCHEMES[precision].calibrated:
            own = ["--calibration", network.calibration]
            command += own if network.calibration else calibration_options(MODELS[network.model], Path(work) / "photos")
        answer = _answer(command)
    if "error" in answer:
        return dict.fromkeys(targets, _unmade(answer["error"]))
    rows = {row["target"]: row for row in answer["targets"]}
    made = _kept(kept, targets)
    return {target: made.get(target) or _unmade(rows[target].get("error") or {}) for target in targets}


def _unmade(error: Mapping[str, str]) -> Unmade:
    outcome: Outcome = "refused" if error.get("id") in REFUSALS else "failed"
    return Unmade(outcome, error.get("given") or "the export gave no file and no reason", error.get("hint", ""))


def _answer(command: Sequence[str]) -> dict[str, Any]:
    """What the command prints as JSON, or an error. It tidies up after itself where it is interrupted."""
    paths = os.pathsep.join(filter(None, [str(Path(sdk.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONPATH": paths})  # fmt: skip
    try:
        out, err = process.communicate()
    except BaseException:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
    try:
        found: dict[str, Any] = json.loads(out)
    except json.JSONDecodeError:
        said = [line.strip() for line in err.splitlines() if line.strip()]
        return {"error": {"given": said[-1] if said else f"the export ended with code {process.returncode}"}}
    return found


def _key(network: Network, precision: str) -> str:
    parts = [network.model, network.weights, _stamp(network.weights), network.input_size, precision]
    if SCHEMES[precision].calibrated:
        parts += [network.calibration, _stamp(network.calibration)]
    return hashlib.sha256(msgspec.json.encode([parts, sorted(versions(MADE_WITH).items())])).hexdigest()


def _stamp(path: str) -> list[tuple[str, int, int]]:
    """Names, sizes and dates of a file or of what is in a folder: enough to see that it is another one."""
    place = Path(path)
    if not path or not place.exists():
        return []
    files = sorted(one for one in place.rglob("*") if one.is_file()) if place.is_dir() else [place]
    return [(one.relative_to(place).as_posix(), one.stat().st_size, one.stat().st_mtime_ns) for one in files]
