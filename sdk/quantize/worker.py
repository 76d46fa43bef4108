"""The process that quantises: `python -m sdk.quantize.worker JOB.json LINES.jsonl`.

NNCF changes global state and holds what it measures; a process of its own gives that back, and may be interrupted.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import msgspec

from runtime_py.errors import SdkError
from runtime_py.manifest import Quantization
from sdk.parent import end_with_parent
from sdk.quantize.job import PROGRAM, Counting, Message, Quantised, QuantizeJob, Refused, Saying

Write = Callable[[Message], None]


def main() -> None:
    """Do one job; each line is on disk before the next step."""
    end_with_parent()
    warnings.simplefilter("ignore")  # a tool's deprecations are not the user's business
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=QuantizeJob)
    with open(sys.argv[2], "wb", buffering=0) as lines:

        def write(message: Message) -> None:
            lines.write(msgspec.json.encode(message) + b"\n")

        try:
            _quantise(job, write)
        except SdkError as error:
            write(Refused(error.to_dict()))
        except Exception as error:  # whatever a tool raises becomes the export's failure
            traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
            write(Refused({"id": "quantising-failed", "given": reason[:2000], "expected": "", "hint": ""}))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # some tools hang in their exit handlers, after the answer is safe


def _quantise(job: QuantizeJob, write: Write) -> None:
    import torch

    from sdk.programs import load_program
    from sdk.quantize.cache import key_of, restored, stored
    from sdk.quantize.calibration import read_calibration
    from sdk.quantize.pipeline import Limits, Progress, mix, quantise
    from sdk.quantize.result import write_result
    from sdk.quantize.sensitivity import Sensitivity

    torch.set_num_threads(job.threads)
    folder = Path(job.folder)
    work = Path(mkdtemp(dir=folder))
    progress = Progress(lambda text: write(Saying(text)), lambda done, total: write(Counting(done, total)))
    progress.say(f"reading calibration data from {Path(job.data).name}")
    calibration = read_calibration(
        Path(job.data),
        job.manifest,
        images=Path(job.images) if job.images else None,
        size=job.size,
        work=work,
        tick=progress.tick,
    )
    for skipped in calibration.record.skipped[:5]:
        progress.say(f"skipped {skipped}")
    if len(calibration.record.skipped) > 5:
        progress.say(f"skipped {len(calibration.record.skipped) - 5} more")
    program = load_program(Path(job.program))
    example = program.example_inputs[0]

    def whole() -> Quantization:
        made = quantise(program, calibration, job.manifest, progress, wide=job.precision == "w8a16")
        return write_result(made, folder, job.manifest, example)

    def mixed() -> Quantization:
        record = kept(msgspec.structs.replace(job, precision="w8a8"), whole)  # what it starts from
        score = _score(job, work) if job.eval_data else None
        if score is None:
            progress.say("mixed without --eval-data: keeping the best class, or the objects found, not the accuracy")
        limits = Limits(job.max_drop, job.max_float_macs, _spare(program, job.max_size))
        network = load_program(folder / PROGRAM).module(check_guards=False)
        place = folder / "sensitivity.json"  # of the whole program, which stays the same
        known = msgspec.json.decode(place.read_bytes(), type=Sensitivity) if place.exists() else None
        whole_program = (network, record)
        made, found = mix(
            program, calibration, job.manifest, whole_program, limits, job.tried, known, score, progress
        )  # fmt: skip
        place.write_bytes(msgspec.json.encode(found))
        return write_result(made, folder, job.manifest, example)

    def kept(own: QuantizeJob, make: Callable[[], Quantization]) -> Quantization:
        """From the cache, or made and put there; `folder` holds its files either way."""
        key = key_of(program, calibration.record, own)
        record = restored(key, job.cache, folder)
        if record is not None:
            progress.say("this program was quantised before, on the same data: taken from the cache")
            return record
        record = make()
        stored(key, job.cache, folder, record)
        return record

    if job.precision == "mixed":
        _spare(program, job.max_size)  # refused before anything is calibrated
    write(Quantised(kept(job, mixed if job.precision == "mixed" else whole)))


def _spare(program: Any, max_size: int | None) -> int | None:
    """Bytes that float layers may take more, of a file that is no larger than `max_size`."""
    if max_size is None:
        return None
    whole = sum(tensor.numel() for tensor in program.state_dict.values())
    if whole > max_size:
        raise SdkError(
            f"--max-size {max_size:,} for a network of {whole:,} parameters",
            expected=f"{whole:,} bytes or more: one a parameter",
        )
    return max_size - int(whole)


def _score(job: QuantizeJob, work: Path) -> Callable[[Any], float]:
    """The task's metric of a network on the evaluation data, in this process."""
    from runtime_py.bundle import Bundle
    from runtime_py.manifest import Artifact
    from runtime_py.preprocess import BadImage
    from runtime_py.session import Session
    from sdk.evaluate.answers import answer_of
    from sdk.evaluate.datasets import BadData, read_dataset
    from sdk.evaluate.messages import Answer
    from sdk.evaluate.reference import TorchEngine
    from sdk.evaluate.results import MAIN
    from sdk.evaluate.scoring import score

    unpacked = work / "eval"
    unpacked.mkdir()
    dataset = read_dataset(
        job.manifest, Path(job.eval_data), images=Path(job.eval_images) if job.eval_images else None, work=unpacked
    )
    artifact = Artifact(target="pytorch", precision="fp32", file="", bytes=0, sha256="", status="executed")

    def metric(network: Any) -> float:
        answer = answer_of(Session(Bundle(work, job.manifest), artifact, TorchEngine(network, job.manifest), ""))
        found: list[Answer] = []
        for sample in dataset.samples:
            try:
                found.append(answer(sample))
            except (BadImage, BadData):
                continue  # the gate's own evaluation lists them
        return score(dataset, found).metrics[MAIN[job.manifest.task]]

    return metric


if __name__ == "__main__":
    main()
