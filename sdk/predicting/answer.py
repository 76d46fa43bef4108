"""Predictions of a bundle on a device, each with how far such predictions were off where it could be checked."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devices.profiling import called
from runtime_py.bundle import open_bundle
from runtime_py.manifest import Manifest
from sdk.predicting.kernels import operators_of
from sdk.predicting.model import Measured, Model
from sdk.predicting.sources import Cell, Found, NoMeasurements, find, name_of
from sdk.predicting.testing import LEAST_NETWORKS, Errors, Left, errors_of, leave_one_out
from sdk.progress import Progress

QUIET = Progress()


@dataclass(frozen=True)
class Row:
    """An undisturbed inference of one way to run; nine of ten networks left out lay from `low_ms` to `high_ms`."""

    target: str
    precision: str
    threads: int
    predicted_ms: float
    low_ms: float
    high_ms: float
    looked_up: float
    outside: float
    measured_ms: float | None
    """Of this very network on that device, where it is among the measurements: the prediction made no use of it."""
    errors: Errors


@dataclass(frozen=True)
class Prediction:
    """A bundle's rows on one device, and why others are not there."""

    model: str
    device: str
    rows: tuple[Row, ...]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; field names carry units."""
        return asdict(self)


@dataclass(frozen=True)
class Checked:
    """How well one cell's networks are predicted from one another."""

    cell: Cell
    rows: tuple[Left, ...]
    errors: Errors

    def to_dict(self) -> dict[str, Any]:
        """Plain data; field names carry units."""
        return asdict(self) | {"rows": [asdict(row) | {"error": row.error} for row in self.rows]}


def predict(bundle: Path, device: str, measured: Sequence[Path], progress: Progress = QUIET) -> Prediction:
    """What an inference takes: every artifact of `bundle` for which operators of enough networks were measured there.

    Raises NoMeasurements where there is none, or NotABundle.
    """
    manifest, found = open_bundle(bundle).manifest, find(measured, device)
    if not manifest.network:
        raise NoMeasurements(
            f"{bundle} says nothing of its network's operators", expected="a bundle of schema 1.4 or newer",
            hint="export it again",
        )  # fmt: skip
    rows, missing = list[Row](), list[str]()
    for artifact in manifest.artifacts:
        cells = [one for one in found.cells if (one.target, one.precision) == (artifact.target, artifact.precision)]
        for cell in cells:
            row = _row(manifest, cell, found, progress)
            if isinstance(row, Row):
                rows.append(row)
            else:
                missing.append(row)
        if not cells:
            missing.append(f"{artifact.target}, {artifact.precision}: no operators were measured there")
    if not rows:
        raise NoMeasurements(
            f"nothing can be predicted on {device!r}: {'; '.join(missing)}",
            expected=f"operators of at least {LEAST_NETWORKS} other networks, measured on a device of that kind",
            hint="there: sdk profile BUNDLE --device ... --layers --save, for several networks",
        )
    return Prediction(name_of(manifest), device, tuple(rows), tuple(missing))


def check(device: str, measured: Sequence[Path], progress: Progress = QUIET) -> tuple[Checked, ...]:
    """Leave-one-network-out over all that was measured on `device`. Raises NoMeasurements."""
    found = find(measured, device)
    rows = [(cell, _left_out(cell, networks, progress)) for cell, networks in found.cells.items()]
    checked = tuple(Checked(cell, left, errors_of(left)) for cell, left in rows if len(left) >= LEAST_NETWORKS)
    if not checked:
        raise NoMeasurements(
            f"too few networks were measured on {device!r}", expected=f"at least {LEAST_NETWORKS} for one target",
            hint="there: sdk profile BUNDLE --device ... --layers --save, for several networks",
        )  # fmt: skip
    return checked


def _left_out(cell: Cell, networks: Sequence[Measured], progress: Progress) -> tuple[Left, ...]:
    progress.say(f"{called(cell.target, cell.threads)}: each network from the others")
    return leave_one_out(networks, progress.count)


def _row(manifest: Manifest, cell: Cell, found: Found, progress: Progress) -> Row | str:
    own = name_of(manifest)
    others = [one for one in found.cells[cell] if one.name.split()[0] != own.split()[0]]
    if len(others) < LEAST_NETWORKS:
        return (
            f"{called(cell.target, cell.threads)}, {cell.precision}: {len(others)} other networks were measured,"
            f" and {LEAST_NETWORKS} are the least"
        )
    made, errors = Model(others).predict(operators_of(manifest.network)), errors_of(_left_out(cell, others, progress))
    same = next((one.whole_ms for one in found.cells[cell] if one.name == own), None)
    return Row(
        cell.target, cell.precision, cell.threads, made.ms, made.ms / (1 + errors.p90), made.ms * (1 + errors.p90),
        made.looked_up, made.outside, same, errors,
    )  # fmt: skip
