"""Gathers what the report shows: the golden photo and each target's answers to it."""

from pathlib import Path
from typing import Any

from runtime_py.golden import Golden
from runtime_py.manifest import Manifest
from runtime_py.proof import top5_of


def report_of(manifest: Manifest, golden: Golden, folder: Path) -> Path:
    """Write FOLDER/report.html from the manifest, the golden inputs and the artifacts' own answers."""
    from PIL import Image

    from sdk.report import write_report

    path = folder / "report.html"
    photo = Image.fromarray(golden.photo) if golden.photo is not None else None
    write_report(manifest, path, photo, _top5(manifest, golden))
    return path


def _top5(manifest: Manifest, golden: Golden) -> dict[str, list[tuple[str, float]]]:
    if manifest.task != "classify" or "photo" not in golden.outputs:
        return {}
    answers = {"pytorch": _best(golden.outputs["photo"][manifest.outputs[0].name], manifest)}
    for artifact in manifest.artifacts:
        photo = next((proof for proof in artifact.proofs if proof.input == "photo"), None)
        if photo is not None and photo.top5:
            answers[artifact.target] = [(manifest.labels[row.index], row.score) for row in photo.top5]
    return answers


def _best(logits: Any, manifest: Manifest) -> list[tuple[str, float]]:
    return [(manifest.labels[row.index], row.score) for row in top5_of(logits)]
