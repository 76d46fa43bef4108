"""`sdk.export`: capture once, lower and prove each target in processes of their own, write the bundle."""

import os
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from exporters import ALL, TARGETS, get_target
from exporters.base import McuOptions
from runtime_py.bundle import describe, write_bundle
from runtime_py.errors import SdkError, missing_extra
from runtime_py.manifest import Artifact, Failure, File, Io, Manifest
from sdk.commits import commit_of
from sdk.progress import Progress
from sdk.quantising import PathLike, job_of, shrink_weights
from sdk.quantize.edges import check_pixels
from sdk.quantize.scheme import check_io, check_scheme
from sdk.results import ExportResult, TargetResult
from sdk.rounds import Plan, lower, quantised
from sdk.source import Fetching, Source, Wishes
from sdk.sources import find_source
from sdk.staging import publish, staging

if TYPE_CHECKING:
    from runtime_py.golden import Golden
    from sdk.capture import Captured

LONGEST_FIRST = ("mcu", "executorch", "tflite", "coreml", "onnx", "openvino")


def export(
    model: Any,
    targets: str | Sequence[str] = "all",
    *,
    weights: str | None = None,
    precision: str = "fp32",
    input_size: int | None = None,
    inputs: Iterable[Sequence[int]] = (),
    labels: Sequence[str] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    out: str | os.PathLike[str] = ".",
    name: str | None = None,
    jobs: int | None = None,
    calibration: PathLike | None = None,
    images: PathLike | None = None,
    calibration_size: int = 300,
    eval_data: PathLike | None = None,
    eval_images: PathLike | None = None,
    max_drop: float = 1.0,
    max_size: int | None = None,
    max_mac_share: float | None = None,
    io: Io = "float32",
    mcu: McuOptions | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Export a network to `targets`, prove each file in its own runtime, and write OUT/NAME.bundle.

    `model` is a zoo name, `package.module:factory`, `file.py:factory`, a .pt2 file, or a live nn.Module.
    A target that fails is in the result with its error and leaves the others alone; SdkError is raised where
    nothing could start (unknown names, weights that do not fit, a network that torch.export refuses).

    Weights alone (`w8`, `w4`) are rounded once and need no data. With activations they are quantised once, on
    `calibration_size` samples of `calibration` (a COCO json's images in `images`). With `eval_data` every artifact is
    then scored in its own runtime, and one that loses more than `max_drop` (points of the task's metric, or dB) has
    failed; `mixed` keeps layers in float until none does, at most `max_mac_share` of the multiply-accumulates, and
    weights of at most `max_size` bytes.

    `io` is the type of inputs and outputs, where a target has activations in integers: `int8`, by the scale and zero
    point in the manifest, or `uint8`, pixels that the network normalises. What is computed in float stays float32.

    `mcu` says what a microcontroller's program may take, where that is among the targets; `all` leaves it out.
    """
    started, progress = time.monotonic(), progress or Progress()
    names = _targets(targets)
    scheme = check_scheme(precision, names)
    check_io(io, precision, names)
    quantising = job_of(
        scheme, precision, calibration=calibration, images=images, size=calibration_size, eval_data=eval_data,
        eval_images=eval_images, max_drop=max_drop, max_size=max_size, max_mac_share=max_mac_share,
    )  # fmt: skip
    _check_installed()
    wishes = Wishes(
        weights, input_size, tuple(tuple(shape) for shape in inputs), tuple(labels),
        tuple(mean) if mean else None, tuple(std) if std else None,
    )  # fmt: skip
    progress.say(f"capturing {model if isinstance(model, str) else type(model).__name__}")
    source = find_source(model, wishes, Fetching(progress.fetch, progress.say))
    if source.weights == "random":
        progress.say("the weights are random, and so will its answers be: --weights for trained ones")
    out, name = Path(out), name or source.name
    with staging(out, name) as work:
        folder = work / "bundle"
        folder.mkdir()
        captured, golden, manifest = _prepare(source, folder, work, model)
        plan = Plan(names, precision, name, jobs or _default_jobs(), eval_data, eval_images, max_drop, mcu)
        if quantising is not None:
            check_pixels(io, manifest)
            made = quantised(plan, quantising, io, golden, manifest, work, progress)
        else:
            if scheme.quantised:
                progress.say(f"rounding weights: {scheme.what}")
                golden, manifest = shrink_weights(precision, captured, golden, manifest, folder, work)
            made = lower(plan, work, folder, golden, manifest, progress)
        manifest = _complete(made.manifest, made.rows, made.folder, precision, name)
        seconds = time.monotonic() - started
        if not manifest.artifacts:
            return ExportResult(None, None, None, made.rows, seconds, made.peak_mb)
        progress.say("writing the report")
        _finish(manifest, made.golden, captured, made.folder)
        final = out / f"{name}.bundle"
        publish(made.folder, final)
    return ExportResult(final, final / "report.html", manifest, made.rows, time.monotonic() - started, made.peak_mb)


def _targets(targets: str | Sequence[str]) -> list[str]:
    names = targets.split(",") if isinstance(targets, str) else list(targets)
    names = list(ALL) if names == ["all"] else [name.strip() for name in names]
    if not any(names):
        raise SdkError("no target was given", expected=f"all, or some of {', '.join(TARGETS)}")
    for name in names:
        get_target(name)
    return sorted(set(names), key=LONGEST_FIRST.index)


def _check_installed() -> None:
    from importlib.util import find_spec

    for package in ("torch", "psutil", "jinja2"):
        if find_spec(package) is None:
            raise missing_extra(package, "sdk", "exporting")


def _default_jobs() -> int:
    return max(1, min(len(TARGETS), os.cpu_count() or 1))


def _prepare(source: Source, folder: Path, work: Path, model: Any) -> "tuple[Captured, Golden, Manifest]":
    from PIL import Image

    from sdk.capture import capture
    from sdk.golden import PHOTO, make_golden, save_golden
    from sdk.nodes import nodes_of
    from sdk.programs import save_program

    captured = capture(source)
    save_program(captured.program, work / "program.pt2")
    preprocessing = source.preprocessing(captured.inputs[0].name)
    with Image.open(PHOTO) as photo:
        golden = make_golden(captured, preprocessing, photo.convert("RGB"))
    save_golden(golden, folder / "golden.npz")
    postprocessing = source.postprocessing(captured.inputs, captured.outputs)
    manifest = Manifest(
        model=source.name,
        task=source.task,
        weights=source.weights,
        source=source.kind,
        source_commit=commit_of(_place_of(source, model)),
        licence=source.licence,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs=captured.inputs,
        outputs=captured.outputs,
        preprocessing=preprocessing,
        postprocessing=postprocessing,
        labels=source.labels,
        parameters=captured.parameters,
        network=nodes_of(captured.program),
        published=source.published or {},
        tool_versions=versions(),
        host=_host(),
    )
    return captured, golden, manifest


def _complete(manifest: Manifest, rows: tuple[TargetResult, ...], folder: Path, precision: str, name: str) -> Manifest:
    """Keep what succeeded; the files of failed targets leave the bundle."""
    import shutil

    kept: list[Artifact] = []
    for row in rows:
        if row.status != "failed" and row.artifact:
            kept.append(row.artifact)
            continue
        path = folder / TARGETS[row.target].file(name)
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    failures = tuple(Failure(target=row.target, precision=precision, error=row.error) for row in rows if row.error)
    return msgspec.structs.replace(manifest, artifacts=tuple(kept), failures=failures)


def _finish(manifest: Manifest, golden: "Golden", captured: "Captured", folder: Path) -> None:
    from sdk.reporting import report_of

    report_of(manifest, golden, folder)
    files = []
    for name in ("golden.npz", "report.html"):
        size, sha256 = describe(folder / name)
        files.append(File(file=name, bytes=size, sha256=sha256))
    write_bundle(folder, msgspec.structs.replace(manifest, files=tuple(files)))


def _place_of(source: Source, model: Any) -> Path:
    """The folder of the user's own source, or of this package."""
    return Path(str(model).partition(":")[0]).parent if source.kind.endswith((".py", ".pt2")) else Path(__file__).parent


def versions(packages: Sequence[str] = ("edge-sdk", "torch", "numpy", "Pillow")) -> dict[str, str]:
    """The installed version of each package."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a source tree that was never installed
            found[package] = "not installed"
    return found


def _host() -> dict[str, str]:
    from runtime_py.host import probe

    return probe().to_dict()
