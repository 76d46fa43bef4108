"""Tiny bundles, made without a runtime: their artifacts hold a few bytes that nothing reads but a hash."""

from pathlib import Path

from runtime_py.bundle import describe, write_bundle
from runtime_py.manifest import (
    Accuracy,
    Artifact,
    Calibrated,
    Classify,
    Contents,
    File,
    LayerError,
    Manifest,
    Preprocessing,
    Quantization,
    Tensor,
)


def write_artifact(folder: Path, target: str, precision: str = "fp32", size: int = 100, **more: object) -> Artifact:
    path = folder / f"net.{precision}.{target}"
    path.write_bytes(bytes([len(precision)]) * size)
    fields: dict[str, object] = {
        "target": target, "precision": precision, "file": path.name, "bytes": size, "sha256": describe(path)[1],
        "status": "executed", "sqnr_db": 120.0,
    }  # fmt: skip
    return Artifact(**(fields | more))  # type: ignore[arg-type]


def make_tiny(folder: Path, artifacts: list[tuple[str, str, int, dict[str, object]]], **changes: object) -> Path:
    """A bundle of (target, precision, size, further fields) rows; `golden` is the text of a further file."""
    folder.mkdir(parents=True)
    (folder / "golden.npz").write_text(str(changes.pop("golden", "golden")))
    size, sha256 = describe(folder / "golden.npz")
    rows = [write_artifact(folder, target, precision, length, **more) for target, precision, length, more in artifacts]
    fields: dict[str, object] = {
        "model": "net",
        "task": "classify",
        "weights": "trained",
        "inputs": (Tensor(name="photo", shape=(1, 3, 8, 12), layout="NCHW"),),
        "outputs": (Tensor(name="logits", shape=(1, 3)),),
        "preprocessing": Preprocessing(input="photo", width=12, height=8),
        "postprocessing": Classify(output="logits"),
        "labels": ("red", "green", "blue"),
        "artifacts": tuple(rows),
        "files": (File(file="golden.npz", bytes=size, sha256=sha256),),
        "tool_versions": {"torch": "2.13.0"},
    }
    write_bundle(folder, Manifest(**(fields | changes)))  # type: ignore[arg-type]
    return folder


def accuracy(drop: float, data: str = "photos") -> Accuracy:
    return Accuracy(
        metric="top1", value=0.7 - drop, reference=0.7, drop=drop, low=drop - 0.002, high=drop + 0.003, samples=500,
        data=data,
    )  # fmt: skip


def quantization(qualities: dict[str, float], kept: tuple[str, ...] = (), data: str = "photos") -> Quantization:
    return Quantization(
        scheme="mixed" if kept else "w8a8",
        program_sha256="0" * 64,
        calibration=Calibrated(data=data, count=64, sha256="1" * 64),
        layers=tuple(
            LayerError(name=name, module=f"m.{name}", macs=10, weights=5, quality_db=db, content=0.0, kept=name in kept)
            for name, db in qualities.items()
        ),
    )


INT8 = Contents(weights={"int8": 75, "float32": 25}, integer_layers=3, layers=4)
