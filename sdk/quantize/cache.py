"""Quantised programs by what they were made from, so that a second export need not calibrate again."""

import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runtime_py.manifest import Calibrated, Quantization
from sdk.quantize.job import PROGRAM, SAMPLES, QuantizeJob
from sdk.quantize.result import hash_of
from sdk.staging import replace_file

if TYPE_CHECKING:
    from torch.export import ExportedProgram

RECORD = "record.json"


def key_of(program: "ExportedProgram", calibration: Calibrated, job: QuantizeJob) -> str:
    """Of the float program, its inputs' and outputs' names, the calibration's samples, the options, this package's own
    code and its tools."""
    own = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256()
    for part in (
        hash_of(program.module(check_guards=False)),
        calibration.sha256,
        " ".join(io.name for io in (*job.manifest.inputs, *job.manifest.outputs)),  # samples are stored by them
        job.precision,
        _limits(job) if job.precision == "mixed" else "",
        *(path.read_text(encoding="utf-8") for path in own),
        *(version(name) for name in ("torch", "nncf", "torchao")),
    ):
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def _limits(job: QuantizeJob) -> str:
    """What `mixed` has to reach, on which data, and what it goes on from."""
    limits = f"{job.max_drop} {job.max_size} {job.max_float_macs} {len(job.tried)}"
    return f"{limits} {_signature(job.eval_data)}"


def _signature(place: str) -> str:
    """Of data that is scored on: names, sizes and times, as its bytes are read elsewhere."""
    path = Path(place)
    files = sorted(path.rglob("*")) if path.is_dir() else [path] if place else []
    return "\n".join(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)


def restored(key: str, cache: str, folder: Path) -> Quantization | None:
    """Copy what was stored under `key` into `folder`; None where there is nothing whole."""
    place = Path(cache, key)
    try:
        record = msgspec.json.decode((place / RECORD).read_bytes(), type=Quantization)
        for name in (PROGRAM, SAMPLES):
            shutil.copyfile(place / name, folder / name)
    except (OSError, msgspec.MsgspecError):
        return None
    return record


def stored(key: str, cache: str, folder: Path, record: Quantization) -> None:
    """Keep what `folder` holds. The record comes last: without it nothing counts."""
    place = Path(cache, key)
    for name in (PROGRAM, SAMPLES):
        replace_file(place / name, (folder / name).read_bytes())
    replace_file(place / RECORD, msgspec.json.encode(record))
