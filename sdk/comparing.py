"""`sdk compare`: two bundles side by side, from their manifests, once every file is what its manifest says."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from runtime_py.bundle import check_files, open_bundle
from runtime_py.manifest import Artifact, LayerError, Manifest

LAYERS = 10
"""Layers that are listed: those whose error differs most."""
FileState = Literal["same", "changed", "only A", "only B"]


@dataclass(frozen=True)
class Pair:
    """One target's artifact in A and in B; None where a bundle has none that answers to the other's."""

    target: str
    a: Artifact | None
    b: Artifact | None

    @property
    def ratio(self) -> float | None:
        """B's size in units of A's."""
        return self.b.bytes / self.a.bytes if self.a and self.b and self.a.bytes else None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {"target": self.target, "ratio": self.ratio, "a": _artifact(self.a), "b": _artifact(self.b)}


@dataclass(frozen=True)
class FileRow:
    """A file that one of the bundles names, an artifact or a further one."""

    file: str
    state: FileState


@dataclass(frozen=True)
class Change:
    """Something that the manifests say differently; empty where one says nothing. `group` is such as `inputs`."""

    group: str
    name: str
    a: str
    b: str


@dataclass(frozen=True)
class LayerRow:
    """A layer that both bundles measured: its quality_db in each."""

    name: str
    module: str
    a_db: float
    b_db: float
    a_kept: bool
    b_kept: bool

    @property
    def difference_db(self) -> float:
        """B's less A's: above 0, B's answer suffers less from this layer."""
        return self.b_db - self.a_db


@dataclass(frozen=True)
class Comparison:
    """Two bundles, A and B. `layers` are the LAYERS with the largest difference, the largest first, of
    `layers_joined` that both measured."""

    a: Path
    b: Path
    warnings: tuple[str, ...]
    pairs: tuple[Pair, ...]
    files: tuple[FileRow, ...]
    changes: tuple[Change, ...]
    layers: tuple[LayerRow, ...]
    layers_joined: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "a": str(self.a),
            "b": str(self.b),
            "warnings": list(self.warnings),
            "artifacts": [pair.to_dict() for pair in self.pairs],
            "files": [asdict(row) for row in self.files],
            "changes": [asdict(row) for row in self.changes],
            "layers_joined": self.layers_joined,
            "layers": [asdict(row) | {"difference_db": row.difference_db} for row in self.layers],
        }


def compare_bundles(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> Comparison:
    """Compare two bundles; nothing is run.

    Raises NotABundle, NewerBundle or CorruptBundle, of either. Bundles of other networks or tasks are compared too,
    with a warning.
    """
    first, second = open_bundle(a), open_bundle(b)
    check_files(first)
    check_files(second)
    one, other = first.manifest, second.manifest
    joined = _joined(one, other)
    return Comparison(
        a=first.path,
        b=second.path,
        warnings=_warnings(one, other),
        pairs=tuple(pair_up(one.artifacts, other.artifacts)),
        files=_files(one, other),
        changes=tuple(_changes(one, other)),
        layers=tuple(sorted(joined, key=lambda row: -abs(row.difference_db))[:LAYERS]),
        layers_joined=len(joined),
    )


def pair_up(a: Sequence[Artifact], b: Sequence[Artifact]) -> list[Pair]:
    """By target: first those of the same precision, then the rest in order; what finds no partner stands alone."""
    pairs: list[Pair] = []
    for target in dict.fromkeys(artifact.target for artifact in (*a, *b)):
        left = [artifact for artifact in a if artifact.target == target]
        right = [artifact for artifact in b if artifact.target == target]
        partners: list[Artifact | None] = [_take(right, artifact.precision) for artifact in left]
        partners = [partner or (right.pop(0) if right else None) for partner in partners]
        pairs += [Pair(target, artifact, partner) for artifact, partner in zip(left, partners, strict=True)]
        pairs += [Pair(target, None, artifact) for artifact in right]
    return pairs


def _take(artifacts: list[Artifact], precision: str) -> Artifact | None:
    found = next((artifact for artifact in artifacts if artifact.precision == precision), None)
    if found is not None:
        artifacts.remove(found)
    return found


def _artifact(artifact: Artifact | None) -> dict[str, Any] | None:
    if artifact is None:
        return None
    plain = artifact.to_dict()
    names = ("precision", "status", "file", "bytes", "sha256", "sqnr_db", "fidelity_db", "accuracy")
    share = artifact.contents.int8_share if artifact.contents else None
    return {name: plain[name] for name in names} | {"int8_share": share}


def _warnings(a: Manifest, b: Manifest) -> tuple[str, ...]:
    pairs = (("model", a.model, b.model), ("task", a.task, b.task))
    return tuple(
        f"the bundles differ in their {name}: A {one}, B {other}; their numbers may not be comparable"
        for name, one, other in pairs
        if one != other
    ) + _measured_otherwise(a, b)


def _measured_otherwise(a: Manifest, b: Manifest) -> tuple[str, ...]:
    """Scores on other samples are no scores of the same thing."""
    one, other = (
        {(row.accuracy.metric, row.accuracy.data, row.accuracy.samples) for row in m.artifacts if row.accuracy}
        for m in (a, b)
    )
    if not one or not other or one == other:
        return ()
    return ("accuracy was measured on other data, or by another metric: compare the drops with care",)


def _files(a: Manifest, b: Manifest) -> tuple[FileRow, ...]:
    one, other = _hashes(a), _hashes(b)

    def state(name: str) -> FileState:
        if name not in other:
            return "only A"
        if name not in one:
            return "only B"
        return "same" if one[name] == other[name] else "changed"

    return tuple(FileRow(name, state(name)) for name in dict.fromkeys((*one, *other)))


def _hashes(manifest: Manifest) -> dict[str, str]:
    artifacts = {row.file: row.sha256 for row in manifest.artifacts}
    return artifacts | {row.file: row.sha256 for row in manifest.files}


def _changes(a: Manifest, b: Manifest) -> list[Change]:
    """Group by group, what the manifests say differently."""
    readers: tuple[tuple[str, Callable[[Manifest], dict[str, Any]]], ...] = (
        ("network", _network),
        ("inputs", lambda m: {tensor.name: _tensor(tensor.to_dict()) for tensor in m.inputs}),
        ("outputs", lambda m: {tensor.name: _tensor(tensor.to_dict()) for tensor in m.outputs}),
        ("preprocessing", lambda m: m.preprocessing.to_dict() if m.preprocessing else {}),
        ("postprocessing", lambda m: m.postprocessing.to_dict() if m.postprocessing else {}),
        ("labels", lambda m: {str(index): label for index, label in enumerate(m.labels)}),
        ("tools", _tools),
        ("calibration", _calibration),
    )
    changes: list[Change] = []
    for group, read in readers:
        rows = _differences(group, read(a), read(b))
        changes += _counted(rows, a, b) if group == "labels" else rows
    return changes


def _differences(group: str, a: dict[str, Any], b: dict[str, Any]) -> list[Change]:
    return [
        Change(group, name, _text(a.get(name)), _text(b.get(name)))
        for name in dict.fromkeys((*a, *b))
        if a.get(name) != b.get(name)
    ]


def _counted(rows: list[Change], a: Manifest, b: Manifest) -> list[Change]:
    """A thousand other labels are one line, with the first that differs."""
    if len(rows) < 2:
        return rows
    first = rows[0]
    counts = [f"{len(manifest.labels)} labels" for manifest in (a, b)]
    name = f"{len(rows)} differ, first {first.name}"
    return [Change("labels", name, f"{counts[0]}: {first.a}", f"{counts[1]}: {first.b}")]


def _network(manifest: Manifest) -> dict[str, Any]:
    names = ("model", "task", "weights", "source", "source_commit", "parameters")
    return {name: getattr(manifest, name) for name in names}


def _tensor(plain: dict[str, Any]) -> str:
    shape = " x ".join(map(str, plain["shape"]))
    own = plain["quantization"]
    scaled = f"scale {own['scale']:g}, zero point {own['zero_point']}" if own else ""
    return ", ".join(filter(None, (f"{shape} {plain['dtype']}", plain["layout"], scaled)))


def _tools(manifest: Manifest) -> dict[str, Any]:
    tools: dict[str, Any] = dict(manifest.tool_versions)
    for artifact in manifest.artifacts:
        tools |= artifact.tool_versions
    return dict(sorted(tools.items()))


def _calibration(manifest: Manifest) -> dict[str, Any]:
    record = manifest.quantization
    if record is None:
        return {}
    names = ("scheme", "ranges", "int8_macs", "max_drop", "sqnr_db", "program_sha256")
    said = {name: getattr(record, name) for name in names}
    return said | (record.calibration.to_dict() if record.calibration else {})


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _joined(a: Manifest, b: Manifest) -> list[LayerRow]:
    one, other = ({row.name: row for row in _layers(manifest)} for manifest in (a, b))
    return [
        LayerRow(
            name=name,
            module=row.module,
            a_db=row.quality_db,
            b_db=other[name].quality_db,
            a_kept=row.kept,
            b_kept=other[name].kept,
        )
        for name, row in one.items()
        if name in other
    ]


def _layers(manifest: Manifest) -> Iterable[LayerError]:
    return manifest.quantization.layers if manifest.quantization else ()
