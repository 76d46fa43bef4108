"""The process that lowers or proves one target: `python -m sdk.worker JOB.json ANSWER.json`.

Converters leak memory, crash and change global state, and proofs must start from nothing but the file.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runtime_py.errors import SdkError
from runtime_py.manifest import Artifact, Proof, Task
from sdk.jobs import Answer, Job
from sdk.parent import end_with_parent

if TYPE_CHECKING:
    from runtime_py.engines import Engine


def main() -> None:
    """Do one job; the answer is written beside its final name and renamed."""
    end_with_parent()
    job_file, answer_file = map(Path, sys.argv[1:3])
    warnings.simplefilter("ignore")  # a converter's deprecations are not the user's business
    job = msgspec.json.decode(job_file.read_bytes(), type=Job)
    try:
        answer = _lower(job) if job.program else _prove(job)
    except SdkError as error:
        answer = Answer(error=error.to_dict())
    except Exception as error:  # whatever a converter or a runtime raises becomes this target's failure
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        answer = Answer(error={"id": "worker-failed", "given": reason[:2000], "expected": "", "hint": ""})
    beside = answer_file.with_suffix(".part")
    beside.write_bytes(msgspec.json.encode(answer))
    beside.rename(answer_file)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # some runtimes hang or crash in their exit handlers, after the answer is safe


def _lower(job: Job) -> Answer:
    from exporters import load_exporter
    from exporters.base import Options
    from exporters.contents import contents
    from runtime_py.bundle import describe
    from sdk.golden import first_input
    from sdk.programs import load_program

    exporter = load_exporter(job.target)
    program = load_program(Path(job.program))  # type: ignore[arg-type]  # _lower runs only with a program
    names = [tuple(tensor.name for tensor in side) for side in (job.manifest.inputs, job.manifest.outputs)]
    path = Path(job.folder, job.file)
    golden = Path(job.folder, "golden.npz")
    example = first_input(golden, job.manifest) if job.target == "mcu" and golden.is_file() else None
    lowered = exporter.lower(program, Options(job.precision, names[0], names[1], example, job.mcu), path)
    size, sha256 = describe(path)
    return Answer(
        artifact=Artifact(
            target=job.target,
            precision=job.precision,
            file=job.file,
            bytes=size,
            sha256=sha256,
            status="converted",
            contents=contents(job.target, path),
            **{name: getattr(lowered, name) for name in lowered.__dataclass_fields__},
        )
    )


def _prove(job: Job) -> Answer:
    from runtime_py.golden import load_golden
    from runtime_py.proof import prove

    artifact = job.artifact
    if artifact is None or job.golden is None:
        raise SdkError("a job without a program and without an artifact", expected="one of them")
    golden = load_golden(Path(job.golden), job.manifest)
    try:
        engine, artifact = _engine(job, artifact)
    except CannotRun as why:
        return Answer(artifact=msgspec.structs.replace(artifact, status="converted", reason=why.given))
    proofs = prove(engine.run, golden, job.manifest)
    proven = msgspec.structs.replace(
        artifact,
        proofs=proofs,
        sqnr_db=round(min(proof.sqnr_db for proof in proofs), 2),
        cosine=min(proof.cosine for proof in proofs),
        max_error=max(proof.max_error for proof in proofs),
        top1_agreement=_agreement(job.manifest.task, proofs),
        fidelity_db=_least(proof.fidelity_db for proof in proofs),
    )
    return Answer(artifact=proven, proofs=proofs)


def _agreement(task: Task, proofs: tuple[Proof, ...]) -> float | None:
    """The mean share of rows whose largest element agrees; None for boxes and frames, where it means nothing."""
    return None if task in ("detect", "decode_video") else sum(proof.top1 for proof in proofs) / len(proofs)


def _least(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(min(known), 2) if known else None


class CannotRun(SdkError):
    """Nothing on this machine can run the artifact; `given` says why."""

    id = "cannot-run"


def _engine(job: Job, artifact: Artifact) -> "tuple[Engine, Artifact]":
    """The artifact's own runtime, or Core ML's interpreter where there is no Core ML. Raises CannotRun."""
    from runtime_py.engines import available, load_engine

    path, why_not = Path(job.folder, job.file), available(job.target)
    if why_not is None:
        engine = load_engine(job.target).load(path, artifact, job.manifest, None)
        return engine, msgspec.structs.replace(artifact, status="executed", reason="")
    if job.target != "coreml":
        raise CannotRun(why_not)
    from sdk.interpreted import Interpreted, Uninterpretable

    try:
        interpreted = Interpreted(path, artifact, job.manifest)
    except Uninterpretable as error:
        raise CannotRun(f"{error.given}; {error.hint} executes it") from error
    return interpreted, msgspec.structs.replace(
        artifact,
        status="interpreted",
        reason="Core ML itself runs on Apple systems only; `sdk verify` there executes it",
        operators_total=interpreted.operators,
    )


if __name__ == "__main__":
    main()
