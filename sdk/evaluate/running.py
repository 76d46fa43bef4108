"""`evaluate`: every artifact on the same samples, each in a process of its own, then all scored alike."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from runtime_py.bundle import Bundle, open_bundle
from runtime_py.errors import SdkError, unknown_name
from runtime_py.manifest import Artifact
from sdk.evaluate.bootstrap import drop_intervals
from sdk.evaluate.datasets import BadData, Dataset, read_dataset
from sdk.evaluate.messages import Answer, EvalJob
from sdk.evaluate.processes import Run, Watch, run_all
from sdk.evaluate.results import MAIN, PYTORCH, EvalResult, EvalRow
from sdk.evaluate.saving import save_predictions
from sdk.evaluate.scoring import score

__all__ = ["EvalResult", "EvalRow", "evaluate"]


def evaluate(
    bundle: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str] | None = None,
    classes: str | os.PathLike[str] | None = None,
    targets: str | Sequence[str] = "all",
    limit: int | None = None,
    threads: int | None = None,
    jobs: int = 1,
    model: str = "",
    weights: str = "",
    program: str | os.PathLike[str] | None = None,
    pytorch: bool = True,
    interval: bool = True,
    save: str | os.PathLike[str] | None = None,
    watch: Watch = lambda *_: None,
) -> EvalResult:
    """Score every artifact of `bundle` on `data`, each in its own runtime, beside PyTorch.

    `data` is a folder (or a .zip of one) with a folder for each class, COCO's instances json (its images in `images`,
    or beside it), or a folder of .npz with `latent` (C, t, h, w) float32 and `video` (T, H, W, 3) uint8. `model` and
    `weights` say how to build PyTorch's network where the bundle cannot; `program` is a .pt2 of this project that is
    the network. With `interval` each drop gets its 95 % interval. What cannot be read is left out of every row. A
    target that fails is in the result with its error; SdkError is raised where nothing could start.
    """
    opened = open_bundle(bundle)
    chosen = _chosen(opened, targets)
    if not chosen and not pytorch:
        raise SdkError("there is nothing to run", expected="a target, or PyTorch")
    with tempfile.TemporaryDirectory(prefix="sdk-eval-") as place:
        work = Path(place)
        (work / "images").mkdir()
        dataset = read_dataset(
            opened.manifest,
            Path(data),
            images=Path(images) if images else None,
            classes=Path(classes) if classes else None,
            limit=limit,
            work=work / "images",
        )
        (work / "samples.json").write_bytes(msgspec.json.encode(dataset.samples))
        common = {
            "bundle": str(opened.path.resolve()),
            "samples": str(work / "samples.json"),
            "threads": threads or max(1, (os.cpu_count() or 1) // jobs),
        }
        runs = [_run(dataset, work, index, opened.manifest.artifacts[index], common) for index in chosen]
        if pytorch:
            saved = str(Path(program).resolve()) if program else ""
            job = EvalJob(artifact=None, model=model, weights=weights, program=saved, **common)  # type: ignore[arg-type]
            runs.insert(0, Run(PYTORCH, job, len(dataset.samples), work / PYTORCH))
        run_all(runs, jobs, watch)
        return _result(opened, dataset, runs, Path(save) if save else None, interval)


def _chosen(bundle: Bundle, targets: str | Sequence[str]) -> list[int]:
    """Places in the manifest of the artifacts of `targets`."""
    present = [artifact.target for artifact in bundle.manifest.artifacts]
    names = targets.split(",") if isinstance(targets, str) else list(targets)
    names = present if names == ["all"] else [name.strip() for name in names]
    for name in names:
        if name not in present:
            raise unknown_name("target of this bundle", name, sorted(set(present)))
    return [index for index, target in enumerate(present) if target in names]


def _run(dataset: Dataset, work: Path, index: int, artifact: Artifact, common: dict[str, object]) -> Run:
    job = EvalJob(artifact=index, **common)  # type: ignore[arg-type]
    name = artifact.target if artifact.precision == "fp32" else f"{artifact.target} {artifact.precision}"
    return Run(name, job, len(dataset.samples), work / str(index))


def _result(bundle: Bundle, dataset: Dataset, runs: list[Run], save: Path | None, interval: bool) -> EvalResult:
    names = {sample.key: sample.name for sample in dataset.samples}
    unread = {key: why for run in runs for key, why in sorted(run.unread.items())}
    if not set(names) - set(unread):
        first = next(iter(dataset.damaged or unread.values()), "there are none")
        raise BadData(f"none of {len(names) + len(dataset.damaged)} samples could be read; the first: {first}")
    rows = [_row(bundle, dataset, run, set(unread)) for run in runs]
    main = MAIN[bundle.manifest.task]
    reference = next((row.metrics.get(main) for row in rows if row.target == PYTORCH), None)
    if reference is not None:
        rows = [row if row.target == PYTORCH or not row.metrics else _with_drop(row, reference, main) for row in rows]
        rows = _with_intervals(dataset, rows, runs, set(unread)) if interval else rows
    if save is not None:
        scored = [(row, _kept(run, set(unread))) for row, run in zip(rows, runs, strict=True) if row.metrics]
        save_predictions(save, dataset, scored)
    return EvalResult(bundle.manifest.task, tuple(rows), (*dataset.damaged, *unread.values()), dataset.notes)


def _row(bundle: Bundle, dataset: Dataset, run: Run, unread: set[int]) -> EvalRow:
    at = run.job.artifact
    artifact = None if at is None else bundle.manifest.artifacts[at]
    row = EvalRow(artifact.target if artifact else PYTORCH, artifact.precision if artifact else "fp32", "failed")
    if run.error is not None or run.loaded is None:
        return replace(row, seconds=run.seconds, error=run.error)
    row = replace(row, status=run.loaded.status, reason=run.loaded.reason)
    if row.reason:
        return row
    images = len(dataset.samples) - len(unread)
    return replace(row, images=images, seconds=run.seconds, score=score(dataset, _kept(run, unread)))


def _kept(run: Run, unread: set[int]) -> Iterator[Answer]:
    return (answer for answer in run.answers() if answer.key not in unread)


def _with_drop(row: EvalRow, reference: float, main: str) -> EvalRow:
    return replace(row, drop=reference - row.metrics[main])


def _with_intervals(dataset: Dataset, rows: list[EvalRow], runs: list[Run], unread: set[int]) -> list[EvalRow]:
    """The rows with the intervals of their drops, from one row's answers at a time."""
    reference = next(run for row, run in zip(rows, runs, strict=True) if row.target == PYTORCH)
    compared = [at for at, row in enumerate(rows) if row.drop is not None]
    found = drop_intervals(dataset, _kept(reference, unread), (_kept(runs[at], unread) for at in compared))
    intervals = dict(zip(compared, found, strict=True))
    return [replace(row, interval=intervals.get(at)) for at, row in enumerate(rows)]
