"""The process that answers all samples with one artifact: `python -m sdk.evaluate.worker JOB.json LINES.jsonl`.

Runtimes crash and change global state. Samples are read one by one, so that memory does not grow with their number.
"""

import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from runtime_py.errors import SdkError
from sdk.evaluate.datasets import Sample
from sdk.evaluate.messages import Answer, Done, EvalJob, Failed, Loaded, Unread
from sdk.parent import end_with_parent

if TYPE_CHECKING:
    from runtime_py.session import Session

Write = Callable[[msgspec.Struct], None]


def main() -> None:
    """Answer a job; each line is on disk before the next sample is read."""
    end_with_parent()
    warnings.simplefilter("ignore")  # a runtime's deprecations are not the user's business
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=EvalJob)
    with open(sys.argv[2], "wb", buffering=0) as lines:

        def write(message: msgspec.Struct) -> None:
            lines.write(msgspec.json.encode(message) + b"\n")

        try:
            _answer_all(job, write)
        except SdkError as error:
            write(Failed(error.to_dict()))
        except Exception as error:  # whatever a runtime raises becomes this target's failure
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
            write(Failed({"id": "worker-failed", "given": reason[:2000], "expected": "", "hint": ""}))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # some runtimes hang or crash in their exit handlers, after the answers are safe


def _answer_all(job: EvalJob, write: Write) -> None:
    from runtime_py.preprocess import BadImage
    from runtime_py.video import BadLatent
    from sdk.evaluate.answers import answer_of
    from sdk.evaluate.datasets import BadData

    samples = msgspec.json.decode(Path(job.samples).read_bytes(), type=list[Sample])
    session, loaded = _session(job)
    write(loaded)
    started = time.monotonic()
    if session is not None:
        with session:
            answer: Callable[[Sample], Answer] = answer_of(session)
            for sample in samples:
                try:
                    write(answer(sample))
                except (BadImage, BadData, BadLatent) as error:
                    write(Unread(sample.key, error.given.replace(sample.file, sample.name)))
    write(Done(time.monotonic() - started))


def _session(job: EvalJob) -> "tuple[Session | None, Loaded]":
    """The artifact in its own runtime, Core ML's in the interpreter elsewhere, or why there is none."""
    from runtime_py.bundle import check_files, open_bundle
    from runtime_py.engines import available, load_engine
    from runtime_py.session import Session

    bundle = open_bundle(job.bundle)
    if job.artifact is None:
        return _reference(job)
    artifact = bundle.manifest.artifacts[job.artifact]
    check_files(bundle, [artifact])
    path, why_not = bundle.file(artifact), available(artifact.target)
    if why_not is None:
        engine = load_engine(artifact.target).load(path, artifact, bundle.manifest, job.threads)
        return Session(bundle, artifact, engine, ""), Loaded("executed")
    if artifact.target != "coreml":
        return None, Loaded("converted", why_not)
    import torch

    from sdk.interpreted import Interpreted, Uninterpretable

    torch.set_num_threads(job.threads)
    try:
        interpreted = Interpreted(path, artifact, bundle.manifest)
    except Uninterpretable as error:
        return None, Loaded("converted", f"{error.given}; {error.hint} executes it")
    return Session(bundle, artifact, interpreted, ""), Loaded("interpreted")


def _reference(job: EvalJob) -> "tuple[Session | None, Loaded]":
    """PyTorch, from a saved program or built again; what cannot be is a failure only where the user said how to."""
    import torch

    from runtime_py.bundle import check_files, open_bundle
    from sdk.evaluate.reference import AnotherNetwork, program_session, torch_session

    torch.set_num_threads(job.threads)
    bundle = open_bundle(job.bundle)
    check_files(bundle, [])
    if job.program:
        return program_session(bundle, Path(job.program)), Loaded("executed")
    try:
        return torch_session(bundle, job.model, job.weights), Loaded("executed")
    except AnotherNetwork:
        raise
    except SdkError as error:
        if job.model or job.weights:
            raise
        return None, Loaded("missing", error.given + (f"; {error.hint}" if error.hint else ""))


if __name__ == "__main__":
    main()
