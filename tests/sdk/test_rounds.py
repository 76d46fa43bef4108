"""Which of several quantised programs becomes the bundle: files decide, not the program."""

from pathlib import Path

import msgspec
import pytest

from runtime_py.errors import SdkError
from runtime_py.golden import Golden
from runtime_py.manifest import Accuracy, Artifact, Manifest, Quantization, Trial
from sdk.gating import AccuracyLost
from sdk.progress import Progress
from sdk.quantize.choice import NoChoice
from sdk.quantize.job import QuantizeJob
from sdk.results import TargetResult
from sdk.rounds import Round, best_of

LIMIT = 0.005
RECIPE = Trial(name="ranges searched", metric="sqnr_db", score=12.0, chosen=True)
FLOAT = Trial(name="fp32", metric="map50_95", score=0.34, drop=0.0)


def row(target: str, drop: float) -> TargetResult:
    accuracy = Accuracy(
        metric="map50_95", value=0.34 - drop, reference=0.34, drop=drop, low=-1.0, high=1.0, samples=9, data="coco"
    )
    artifact = Artifact(
        target=target, precision="mixed", file="f", bytes=1, sha256="0" * 64, status="executed", accuracy=accuracy
    )
    error = AccuracyLost("much").to_dict() if drop > LIMIT else None
    return TargetResult(target, "failed" if error else "executed", 1.0, 1.0, artifact, error)


class Maker:
    """Rounds whose files lose what `drops` says, one list a round; then there is no choice any more."""

    def __init__(self, *drops: tuple[float, ...]) -> None:
        self.drops, self.jobs = drops, list[QuantizeJob]()

    def __call__(self, job: QuantizeJob, number: int) -> Round:
        assert number == len(self.jobs)
        self.jobs.append(job)
        if number == len(self.drops):
            raise NoChoice("all were tried")
        before = job.tried or (FLOAT,)
        before = tuple(msgspec.structs.replace(trial, chosen=False) for trial in before)
        own = Trial(name=f"program {number}", metric="map50_95", score=0.339, drop=0.001, chosen=True)
        record = Quantization(scheme="mixed", program_sha256=f"{number}" * 64, trials=(RECIPE, *before, own))
        manifest = Manifest(model="m", task="detect", inputs=(), outputs=(), quantization=record)
        rows = tuple(row(f"target{at}", drop) for at, drop in enumerate(self.drops[number]))
        return Round(Path(f"round{number}"), Golden({}, {}, None), manifest, rows, 1.0)


def job() -> QuantizeJob:
    return QuantizeJob(
        program="", manifest=Manifest(model="m", inputs=(), outputs=()), precision="mixed", folder="", data=""
    )


def chosen(made: Round) -> list[str]:
    assert made.manifest.quantization is not None
    return [trial.name for trial in made.manifest.quantization.trials if trial.chosen]


def test_one_round_is_enough_where_no_file_loses_too_much() -> None:
    maker = Maker((0.004, 0.005))
    assert best_of(maker, job(), Progress()).folder.name == "round0"
    assert len(maker.jobs) == 1


def test_more_stays_in_float_until_every_file_is_good_enough() -> None:
    maker, said = Maker((0.001, 0.0075), (0.006, 0.002), (0.004, 0.003)), list[str]()
    made = best_of(maker, job(), Progress(say=said.append))
    assert made.folder.name == "round2"
    assert [[trial.files_drop for trial in job.tried] for job in maker.jobs] == [
        [],
        [None, 0.0075],
        [None, 0.0075, 0.006],
    ]
    assert said == [
        "target1 lost up to 0.75 points: keeping more in float",
        "target0 lost up to 0.60 points: keeping more in float",
    ]


def test_what_loses_least_is_kept_where_nothing_is_left_to_try() -> None:
    """Fewer failed files come before a smaller loss, and all that was tried stays in the record."""
    made = best_of(Maker((0.009, 0.008), (0.02, 0.001), (0.009, 0.007)), job(), Progress())
    assert made.folder.name == "round1"
    record = made.manifest.quantization
    assert record is not None
    assert record.program_sha256 == "1" * 64
    assert [trial.name for trial in record.trials] == [RECIPE.name, "fp32", "program 0", "program 1", "program 2"]
    assert [trial.files_drop for trial in record.trials] == [None, None, 0.009, 0.02, 0.009]
    assert chosen(made) == [RECIPE.name, "program 1"]


def test_any_other_error_is_not_taken_for_the_end() -> None:
    def crash(job: QuantizeJob, number: int) -> Round:
        if number:
            raise SdkError("out of memory")
        return Maker((0.02,))(job, 0)

    with pytest.raises(SdkError, match="out of memory"):
        best_of(crash, job(), Progress())
