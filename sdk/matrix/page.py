"""The matrix as docs/matrix.md and as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporters import TARGETS
from models_zoo import MODELS
from sdk.matrix.cells import Cell, Matrix

SHADES = ((100.0, "#1a7f4b"), (60.0, "#57b37c"), (40.0, "#b5d99c"))
"""From this many dB on, this colour; FAILED for what was not proven, which the last, fp16's gate, tells apart."""
FAILED, ABSENT = "#d9534f", "#e8e8e8"


def markdown(matrix: Matrix, models: Sequence[str], precisions: Sequence[str]) -> str:
    """The page: a sentence on what was measured, the picture, one table a precision, and every failure's reason."""
    page: str = _template("matrix.md.j2").render(
        precisions=precisions,
        targets=[(name, row.title) for name, row in TARGETS.items()],
        models=models,
        cells=_by_name(matrix),
        counts=_counts(matrix),
        worst={precision: _worst(matrix, precision) for precision in precisions},
        failures=[cell for cell in matrix.cells if not cell.proven],
        versions=matrix.versions,
        text=_text,
    )
    return page


def picture(matrix: Matrix, models: Sequence[str], precisions: Sequence[str]) -> str:
    """An SVG: a row a network, a block of columns a precision, a cell's colour its SQNR."""
    columns = [(precision, target) for precision in precisions for target in TARGETS]
    drawing: str = _template("matrix.svg.j2").render(
        columns=columns,
        precisions=precisions,
        models=[(name, MODELS[name].task) for name in models],
        cells=_by_name(matrix),
        shade=_shade,
        shades=SHADES,
        failed=FAILED,
    )
    return drawing


def _by_name(matrix: Matrix) -> dict[tuple[str, str, str], Cell]:
    return {(cell.model, cell.precision, cell.target): cell for cell in matrix.cells}


def _counts(matrix: Matrix) -> dict[str, int]:
    found: dict[str, int] = {}
    for cell in matrix.cells:
        found[cell.status] = found.get(cell.status, 0) + 1
    return dict(sorted(found.items()))


def _worst(matrix: Matrix, precision: str) -> Cell | None:
    proven = [cell for cell in matrix.cells if cell.precision == precision and cell.sqnr_db is not None]
    return min(proven, key=lambda cell: cell.sqnr_db or 0.0, default=None)


def _text(cell: Cell | None) -> str:
    """A cell of the table: SQNR, size and seconds, or how it failed."""
    if cell is None:
        return "–"
    if not cell.proven or cell.sqnr_db is None or cell.bytes is None:
        return f"**{cell.status}**"
    return f"{cell.sqnr_db:.0f} dB, {cell.bytes / 1e6:.1f} MB, {cell.seconds:.0f} s"


def _shade(cell: Cell | None) -> str:
    if cell is None:
        return ABSENT
    if not cell.proven or cell.sqnr_db is None:
        return FAILED
    return next((colour for least, colour in SHADES if cell.sqnr_db >= least), FAILED)


def _template(name: str) -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=name.endswith(".svg.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)
