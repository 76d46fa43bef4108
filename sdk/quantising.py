"""The part of an export that makes one quantised program of the captured one."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from models_zoo.fetch import cache_folder
from runtime_py.errors import SdkError
from runtime_py.manifest import Manifest
from sdk.gating import check_quality, unit_of
from sdk.progress import Progress
from sdk.quantize.edges import told, with_edges
from sdk.quantize.job import PROGRAM, SAMPLES, QuantizeJob
from sdk.quantize.scheme import Scheme

if TYPE_CHECKING:
    from runtime_py.golden import Golden
    from sdk.capture import Captured

PathLike = str | os.PathLike[str]
NO_MANIFEST = Manifest(model="", inputs=(), outputs=())
"""Until the network is captured."""


def job_of(
    scheme: Scheme,
    precision: str,
    *,
    calibration: PathLike | None,
    images: PathLike | None,
    size: int,
    eval_data: PathLike | None,
    eval_images: PathLike | None,
    max_drop: float,
    max_size: int | None,
    max_mac_share: float | None,
) -> QuantizeJob | None:
    """What the quantising process will be asked; None where the precision needs none. Raises SdkError."""
    if not scheme.calibrated:
        if calibration is not None:
            raise SdkError(f"--calibration with --precision {precision}", expected="none: nothing is calibrated")
        return None
    if calibration is None:
        raise SdkError(
            f"--precision {precision} without --calibration",
            expected="a folder or .zip of images, a COCO json, or an .npz of arrays, like what the device will see",
            hint="--calibration DIR; 300 samples are taken from it",
        )
    return QuantizeJob(
        program="",
        manifest=NO_MANIFEST,
        precision=precision,
        folder="",
        data=_whole(calibration),
        images=_whole(images),
        size=size,
        eval_data=_whole(eval_data),
        eval_images=_whole(eval_images),
        max_drop=max_drop,
        max_size=max_size,
        max_float_macs=max_mac_share,
        threads=os.cpu_count() or 1,
        cache=str(cache_folder() / "quantized"),
    )


def _whole(path: PathLike | None) -> str:
    return "" if path is None else str(Path(path).resolve())


def quantise(
    job: QuantizeJob, io: str, golden: "Golden", manifest: Manifest, folder: Path, work: Path, progress: Progress
) -> "tuple[Golden, Manifest]":
    """The canonical quantised program in place of the captured one, which becomes float.pt2, and the samples that prove
    what is made of it. A further program of `mixed` takes the place of the one before.

    Its inputs and outputs are what `io` says, and so are the samples and the manifest.
    """
    from sdk.golden import quantised_golden, save_golden
    from sdk.nodes import nodes_of
    from sdk.programs import load_program
    from sdk.quantize.running import run

    place, captured = work / "quantising", work / "float.pt2"
    place.mkdir(exist_ok=True)
    if not captured.exists():
        (work / "program.pt2").rename(captured)
    job = msgspec.structs.replace(
        job,
        program=str(captured),
        manifest=manifest,
        folder=str(place),
        max_drop=job.max_drop / unit_of(manifest.task),
    )
    record = run(job, progress.say, progress.count)
    if not job.eval_data:  # which says more
        check_quality(record)
    golden = quantised_golden(golden, place / SAMPLES, place / PROGRAM, manifest)
    manifest = msgspec.structs.replace(manifest, quantization=record)
    if io != "float32":
        golden, manifest = _with_edges(io, golden, manifest, place / PROGRAM, captured)
        progress.say(f"--io {io}: {told(manifest)}")
    save_golden(golden, folder / "golden.npz")
    (place / PROGRAM).rename(work / "program.pt2")
    program = load_program(work / "program.pt2")  # layers that were split to keep their precision are two there
    return golden, msgspec.structs.replace(manifest, network=nodes_of(program))


def _with_edges(
    io: str, golden: "Golden", manifest: Manifest, program: Path, captured: Path
) -> "tuple[Golden, Manifest]":
    """Rewrite the saved `program`, and the samples in the types that it takes then."""
    from sdk.golden import taken_golden
    from sdk.programs import load_program, save_program
    from sdk.quantize.result import hash_of

    rewritten, manifest = with_edges(load_program(program), manifest, io)
    save_program(rewritten, program)
    if manifest.quantization is not None:
        own = hash_of(rewritten.module(check_guards=False))
        record = msgspec.structs.replace(manifest.quantization, program_sha256=own)
        manifest = msgspec.structs.replace(manifest, quantization=record)
    return taken_golden(golden, program, captured, manifest), manifest


def shrink_weights(
    precision: str, captured: "Captured", golden: "Golden", manifest: Manifest, folder: Path, work: Path
) -> "tuple[Golden, Manifest]":
    """The canonical program with small weights in place of the captured one. It takes no data, and some seconds."""
    from sdk.golden import save_golden, with_quantised
    from sdk.quantize.weights import write_small

    (work / "program.pt2").rename(work / "float.pt2")
    record = write_small(captured.program, precision, work / "program.pt2")
    golden = with_quantised(golden, work / "program.pt2", manifest)
    save_golden(golden, folder / "golden.npz")
    return golden, msgspec.structs.replace(manifest, quantization=record)
