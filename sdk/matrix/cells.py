"""The matrix's cells, and the file that holds them between runs."""

from pathlib import Path

import msgspec

from runtime_py.errors import SdkError
from runtime_py.manifest import Status
from sdk.staging import replace_file


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One network in one precision on one target. `sqnr_db` is the worst golden input's, None where nothing ran."""

    model: str
    precision: str
    target: str
    status: Status
    sqnr_db: float | None = None
    bytes: int | None = None
    seconds: float = 0.0
    peak_mb: float = 0.0
    why: str = ""
    """Of a failed cell: the reason, with the operator's name."""

    @property
    def proven(self) -> bool:
        """Whether the file ran, and agreed with PyTorch."""
        return self.status in ("executed", "interpreted")


class Matrix(msgspec.Struct, frozen=True, kw_only=True):
    """All cells so far, and the tools that made them."""

    versions: dict[str, str]
    cells: tuple[Cell, ...] = ()

    def of(self, model: str, precision: str, target: str) -> Cell | None:
        """The cell of that name, or None where it was not tried yet."""
        return next((c for c in self.cells if (c.model, c.precision, c.target) == (model, precision, target)), None)

    def with_cells(self, cells: tuple[Cell, ...]) -> "Matrix":
        """The matrix with `cells` in place of those of the same names."""
        new = {(cell.model, cell.precision, cell.target) for cell in cells}
        kept = tuple(cell for cell in self.cells if (cell.model, cell.precision, cell.target) not in new)
        return msgspec.structs.replace(self, cells=kept + cells)


def read_matrix(path: Path, versions: dict[str, str]) -> Matrix:
    """The cells of an earlier run, or none where there was none or other tools made it. Raises SdkError."""
    if not path.exists():
        return Matrix(versions=versions)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Matrix)
    except msgspec.DecodeError as error:
        raise SdkError(f"{path} is no matrix: {error}", hint="remove it, or --fresh") from error
    return found if found.versions == versions else Matrix(versions=versions)


def write_matrix(matrix: Matrix, path: Path) -> None:
    """Write the cells, sorted by name, so that two runs differ only where the results do."""
    order = sorted(matrix.cells, key=lambda cell: (cell.model, cell.precision, cell.target))
    plain = msgspec.structs.replace(matrix, cells=tuple(order))
    replace_file(path, msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n")
