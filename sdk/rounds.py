"""One program lowered to every target, proven and scored. For `mixed` another one, with more in float, while files lose
too much: runtimes round differently, and what counts is what they answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from exporters import TARGETS
from exporters.base import McuOptions
from runtime_py.errors import SdkError
from runtime_py.manifest import Io, Manifest, Trial
from sdk.gating import AccuracyLost, gated, unit_of, with_gate
from sdk.jobs import Answer, Job
from sdk.pool import Chain, run_chains
from sdk.progress import Progress
from sdk.quantising import PathLike, quantise
from sdk.quantize.job import NO_CHOICE, QuantizeJob
from sdk.results import TargetResult

if TYPE_CHECKING:
    from runtime_py.golden import Golden


@dataclass(frozen=True)
class Plan:
    """What is made of every program: files called `name`, and what they are scored on."""

    targets: Sequence[str]
    precision: str
    name: str
    jobs: int
    eval_data: PathLike | None
    eval_images: PathLike | None
    max_drop: float
    mcu: McuOptions | None = None


@dataclass(frozen=True)
class Round:
    """A bundle's folder as far as it is, with a row a target; `golden` and `manifest` are its program's."""

    folder: Path
    golden: "Golden"
    manifest: Manifest
    rows: tuple[TargetResult, ...]
    peak_mb: float

    def lost(self) -> tuple[int, float]:
        """How many targets failed, for whatever reason, and what the worst file loses (a share of 1, or dB)."""
        return sum(row.status == "failed" for row in self.rows), self.drop() or 0.0

    def losers(self) -> list[str]:
        """The targets whose files lose too much."""
        return [row.target for row in self.rows if (row.error or {}).get("id") == AccuracyLost.id]

    def drop(self) -> float | None:
        """Of the file that loses most."""
        found = [row.artifact.accuracy for row in self.rows if row.artifact is not None]
        return max((accuracy.drop for accuracy in found if accuracy is not None), default=None)

    def trials(self) -> tuple[Trial, ...]:
        """What was tried, the program that these files were lowered from with what they lose."""
        record = self.manifest.quantization
        rows = () if record is None else record.trials
        return tuple(
            msgspec.structs.replace(row, files_drop=self.drop()) if row.chosen and row.scored else row for row in rows
        )


def lower(plan: Plan, work: Path, folder: Path, golden: "Golden", manifest: Manifest, progress: Progress) -> Round:
    """The program in `work` as a file of every target, in `folder`, which holds golden.npz; beside it the processes'
    own files."""
    chains = [_chain(target, plan, folder, work / "program.pt2", manifest) for target in plan.targets]
    peak = run_chains(chains, folder.parent, plan.jobs, progress.watch)
    rows = tuple(_row(chain) for chain in sorted(chains, key=lambda chain: list(TARGETS).index(chain.target)))
    if plan.eval_data is not None:
        rows = gated(rows, manifest, folder, work, plan.eval_data, plan.eval_images, plan.max_drop, progress)
        manifest = with_gate(manifest, plan.max_drop)
    return Round(folder, golden, manifest, rows, peak)


def quantised(
    plan: Plan, job: QuantizeJob, io: Io, golden: "Golden", manifest: Manifest, work: Path, progress: Progress
) -> Round:
    """The program in `work` quantised, and its files; for `mixed` the round in which they lose least."""

    def one(job: QuantizeJob, number: int) -> Round:
        folder = work / f"round{number}" / "bundle"
        folder.mkdir(parents=True)
        own_golden, own_manifest = quantise(job, io, golden, manifest, folder, work, progress)
        return lower(plan, work, folder, own_golden, own_manifest, progress)

    return best_of(one, job, progress) if job.precision == "mixed" else one(job, 0)


def best_of(one: Callable[[QuantizeJob, int], Round], job: QuantizeJob, progress: Progress) -> Round:
    """The first round in which no file loses too much; else the one that loses least."""
    rounds = [one(job, 0)]
    while rounds[-1].losers():
        _tell(rounds[-1], progress)
        job = msgspec.structs.replace(job, tried=tuple(row for row in rounds[-1].trials() if row.scored))
        try:
            rounds.append(one(job, len(rounds)))
        except SdkError as error:
            if error.id != NO_CHOICE:
                raise
            progress.say(f"no more layers may stay in float: {error.given}")
            break
    best = min(rounds, key=Round.lost)
    return _with_trials(best, rounds)


def _tell(lost: Round, progress: Progress) -> None:
    unit = unit_of(lost.manifest.task)
    worst = f"{unit * (lost.drop() or 0.0):.2f} {'dB' if unit == 1.0 else 'points'}"
    progress.say(f"{', '.join(lost.losers())} lost up to {worst}: keeping more in float")


def _with_trials(best: Round, rounds: Sequence[Round]) -> Round:
    """With all that was tried, in whichever round."""
    own = best.manifest.quantization
    if own is None:
        return best
    at = next((index for index, row in enumerate(own.trials) if row.chosen and row.scored), None)
    trials = tuple(
        msgspec.structs.replace(row, chosen=index == at) if row.scored else row
        for index, row in enumerate(rounds[-1].trials())
    )
    record = msgspec.structs.replace(own, trials=trials)
    return replace(best, manifest=msgspec.structs.replace(best.manifest, quantization=record))


def _chain(target: str, plan: Plan, folder: Path, program: Path, manifest: Manifest) -> Chain:
    common = {
        "target": target,
        "precision": plan.precision,
        "folder": str(folder),
        "manifest": manifest,
        "file": TARGETS[target].file(plan.name),
        "mcu": plan.mcu if target == "mcu" else None,
    }

    def next_job(answer: Answer | None) -> Job | None:
        if answer is None:
            return Job(**common, program=str(program))  # type: ignore[arg-type]
        if answer.proofs or (answer.artifact and answer.artifact.reason):
            return None
        return Job(**common, artifact=answer.artifact, golden=str(folder / "golden.npz"))  # type: ignore[arg-type]

    return Chain(target, next_job)


def _row(chain: Chain) -> TargetResult:
    from runtime_py.proof import gate

    artifact, error = chain.answer.artifact, chain.answer.error
    if artifact is not None:
        artifact = msgspec.structs.replace(artifact, seconds=round(chain.seconds, 2), peak_mb=round(chain.peak_mb, 1))
        if artifact.proofs:
            try:
                gate(chain.target, artifact.precision, artifact.proofs)
            except SdkError as failed:
                error = failed.to_dict()
                artifact = msgspec.structs.replace(artifact, status="failed", reason=failed.given)
    status = "failed" if error or artifact is None else artifact.status
    return TargetResult(chain.target, status, round(chain.seconds, 2), round(chain.peak_mb, 1), artifact, error)
