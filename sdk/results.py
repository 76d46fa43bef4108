"""What export and verify return: frozen rows of plain data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from runtime_py.manifest import Artifact, Manifest
from runtime_py.signing import Statement


@dataclass(frozen=True)
class TargetResult:
    """How one target went; `artifact` is set even where it failed its proof, `error` only where it failed."""

    target: str
    status: str
    seconds: float
    peak_mb: float
    artifact: Artifact | None = None
    error: dict[str, str] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The artifact's fields with status, seconds and error."""
        row = self.artifact.to_dict() if self.artifact else {"target": self.target}
        own = {"status": self.status, "seconds": self.seconds, "peak_mb": self.peak_mb, "error": self.error}
        return row | own


@dataclass(frozen=True)
class ExportResult:
    """An export: `bundle` is None where no target succeeded; iterates over its targets."""

    bundle: Path | None
    report: Path | None
    manifest: Manifest | None
    targets: tuple[TargetResult, ...]
    seconds: float
    peak_mb: float

    @property
    def ok(self) -> bool:
        """Whether every target that was asked for is in the bundle."""
        return all(target.status != "failed" for target in self.targets)

    def __iter__(self) -> Iterator[TargetResult]:
        return iter(self.targets)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "bundle": str(self.bundle) if self.bundle else None,
            "report": str(self.report) if self.report else None,
            "ok": self.ok,
            "seconds": self.seconds,
            "peak_mb": self.peak_mb,
            "targets": [target.to_dict() for target in self.targets],
        }


@dataclass(frozen=True)
class VerifyResult:
    """What a bundle's artifacts answer today, on this machine."""

    bundle: Path
    targets: tuple[TargetResult, ...]
    signed: Statement | None = None
    """What its signature says, where a key was given to check it."""

    @property
    def ok(self) -> bool:
        """Whether nothing failed; what cannot run here is not a failure."""
        return all(target.status != "failed" for target in self.targets)

    def __iter__(self) -> Iterator[TargetResult]:
        return iter(self.targets)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "bundle": str(self.bundle),
            "ok": self.ok,
            "signed": None if self.signed is None else msgspec.to_builtins(self.signed),
            "targets": [target.to_dict() for target in self.targets],
        }
