"""What the page says of a quantised bundle: its facts and tables, and the three drawings."""

from dataclasses import dataclass
from pathlib import Path

from runtime_py.manifest import Artifact, LayerError, Manifest, Quantization
from sdk.report import words
from sdk.report.drops import Drops, plot_drops
from sdk.report.front import Front, plot_front
from sdk.report.layers import DRAWN, Sensitivity, labels, plot_sensitivity
from sdk.report.microcontroller import flash_of

STYLE = Path(__file__).parent / "quantization.css"


@dataclass(frozen=True)
class Inside:
    """One artifact's content in words: sizes, shares and counts."""

    title: str
    artifact: Artifact
    bytes: int
    int8: str
    layers: str
    against_fp32: str


@dataclass(frozen=True)
class Quantised:
    """All that the template of the quantised sections needs."""

    record: Quantization
    facts: tuple[tuple[str, str], ...]
    artifacts: tuple[tuple[str, Artifact], ...]
    measured: bool
    unmeasured: str
    """What is known where no accuracy was measured; empty otherwise."""
    drops: Drops | None
    inside: tuple[Inside, ...]
    has_fp32: bool
    sensitivity: Sensitivity | None
    drawn: str
    layers: tuple[tuple[str, LayerError], ...]
    front: Front | None
    has_files: bool


def quantised(manifest: Manifest, titled: list[tuple[str, Artifact]]) -> Quantised | None:
    """The sections of titled artifacts; None where nothing was quantised."""
    record = manifest.quantization
    if record is None:
        return None
    measured = any(artifact.accuracy for _, artifact in titled)
    plot = plot_sensitivity(record.layers, record.sqnr_db)
    names = labels(record.layers)
    fp32 = next((trial.bytes for trial in record.trials if trial.name == "fp32" and trial.bytes), None)
    known = [(title, a) for title, a in titled if a.contents is not None or a.fidelity_db is not None]
    return Quantised(
        record=record,
        facts=_facts(record),
        artifacts=tuple(titled),
        measured=measured,
        unmeasured="" if measured else _unmeasured(record),
        drops=plot_drops(titled, record.max_drop),
        inside=tuple(_inside(title, artifact, fp32) for title, artifact in known),
        has_fp32=fp32 is not None,
        sensitivity=plot,
        drawn="" if plot is None else _drawn(plot),
        layers=tuple((names[layer.name], layer) for layer in record.layers),
        front=plot_front(record) if record.trials else None,
        has_files=any(trial.files_drop is not None for trial in record.trials),
    )


def _facts(record: Quantization) -> tuple[tuple[str, str], ...]:
    found = record.calibration
    facts = {
        "scheme": record.scheme,
        "calibrated on": f"{found.count:,} samples of {found.data}" if found else "no data",
        "skipped": f"{len(found.skipped):,} that could not be read" if found and found.skipped else "",
        "ranges": record.ranges,
        "MACs in int8": words.share(record.int8_macs),
        "program": record.program_sha256[:12],
    }
    return tuple((name, value) for name, value in facts.items() if value)


def _unmeasured(record: Quantization) -> str:
    known = []
    if record.sqnr_db is not None:
        known.append(f"an SQNR of {words.sqnr(record.sqnr_db)} dB")
    if record.agreement is not None:
        known.append(f"the same best class on {words.share(record.agreement)} of them")
    if not known:
        return "Accuracy was not measured: the bundle says nothing of what the integers cost."
    return (
        "Accuracy was not measured. Known is only how the quantised program answers beside the float network, on "
        f"samples that it was not calibrated on: {' and '.join(known)}."
    )


def _inside(title: str, artifact: Artifact, fp32: int | None) -> Inside:
    found = artifact.contents
    size = flash_of(artifact)[0] if artifact.mcu else artifact.bytes  # sources are text: several times what they make
    return Inside(
        title=title,
        artifact=artifact,
        bytes=size,
        int8="–" if found is None or not found.weights else words.share(found.int8_share),
        layers="–" if found is None else f"{found.integer_layers:,} of {found.layers:,}",
        against_fp32="–" if fp32 is None else words.share(size / fp32),
    )


def _drawn(plot: Sensitivity) -> str:
    """Which layers are drawn, where not all are."""
    if not plot.left_out:
        return ""
    total, more = len(plot.rows) + plot.left_out, len(plot.rows) - DRAWN
    kept = f", and the {more} others that are kept" if more > 1 else ", and the other that is kept" if more else ""
    return f"Drawn are the {DRAWN} most sensitive of {total} layers{kept}, in the network’s order; the table has all."
