"""The matrix's cells, and the file that holds them between runs."""

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from runtime_py.errors import SdkError
from runtime_py.manifest import Status
from sdk.quantize.scheme import SCHEMES
from sdk.staging import replace_file


class Integers(msgspec.Struct, frozen=True, kw_only=True):
    """Of a network in integers: how the quantised program answers, and how the file that was lowered from it does."""

    program_db: float | None = None
    """SQNR of the quantised program against the float network, on samples that it was not calibrated on."""
    agreement: float | None = None
    """On those: the share of a classifier's best classes, or of a detector's objects, that are the same."""
    fidelity_db: float | None = None
    """SQNR of the file against the quantised program, the worst golden input's."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One network in one precision on one target. `sqnr_db` is the worst golden input's, None where nothing ran.

    `refused`: nothing broke, and the SDK would not make the file, as it would answer unlike the network.
    """

    model: str
    precision: str
    target: str
    status: Status | Literal["refused"]
    sqnr_db: float | None = None
    bytes: int | None = None
    seconds: float = 0.0
    peak_mb: float = 0.0
    why: str = ""
    """Of a cell that is not proven: the reason, with the operator's name."""
    integers: Integers | UnsetType = UNSET

    @property
    def proven(self) -> bool:
        """Whether the file ran, and agreed with PyTorch."""
        return self.status in ("executed", "interpreted")


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """All cells so far, and the tools that made them."""

    versions: dict[str, str]
    quantisers: dict[str, str] = {}
    """The further tools that made the cells of integers."""
    cells: tuple[Cell, ...] = ()

    def of(self, model: str, precision: str, target: str) -> Cell | None:
        """The cell of that name, or None where it was not tried yet."""
        return next((c for c in self.cells if (c.model, c.precision, c.target) == (model, precision, target)), None)

    def with_cells(self, cells: tuple[Cell, ...]) -> "Matrix":
        """The matrix with `cells` in place of those of the same names."""
        new = {(cell.model, cell.precision, cell.target) for cell in cells}
        kept = tuple(cell for cell in self.cells if (cell.model, cell.precision, cell.target) not in new)
        return msgspec.structs.replace(self, cells=kept + cells)


def read_matrix(path: Path, versions: dict[str, str], quantisers: dict[str, str]) -> Matrix:
    """The cells of an earlier run that the same tools made: other quantisers forget the integers, others all cells.

    Raises SdkError.
    """
    if not path.exists():
        return Matrix(versions=versions, quantisers=quantisers)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Matrix)
    except msgspec.DecodeError as error:
        raise SdkError(f"{path} is no matrix: {error}", hint="remove it, or --fresh") from error
    if found.versions != versions:
        return Matrix(versions=versions, quantisers=quantisers)
    if found.quantisers == quantisers:
        return found
    kept = tuple(cell for cell in found.cells if cell.precision in SCHEMES and not SCHEMES[cell.precision].quantised)
    return Matrix(versions=versions, quantisers=quantisers, cells=kept)


def write_matrix(matrix: Matrix, path: Path) -> None:
    """Write the cells, sorted by name, so that two runs differ only where the results do."""
    order = sorted(matrix.cells, key=lambda cell: (cell.model, cell.precision, cell.target))
    plain = msgspec.structs.replace(matrix, cells=tuple(order))
    replace_file(path, msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n")
