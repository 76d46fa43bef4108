"""The matrix as docs/matrix.md and as a picture."""

from collections.abc import Sequence
from pathlib import Path

from exporters import ALL, TARGETS
from models_zoo import MODELS
from sdk.gating import AGREEMENT, QUALITY_DB
from sdk.matrix.calibration import COUNT, LATENT
from sdk.matrix.cells import Cell, Integers, Matrix
from sdk.matrix.columns import HINTS, has_row
from sdk.quantize.scheme import SCHEMES
from sdk.templates import template

HERE = Path(__file__).parent
GREENS = ("#1a7f4b", "#57b37c", "#b5d99c")
FLOATS, INTEGERS = (100.0, 60.0, 40.0), (30.0, 20.0, 10.0)
"""From this many dB on, that green; the last is the gate of fp16, and of w8a8."""
FAILED, REFUSED, ABSENT = "#d9534f", "#e5a03c", "#e8e8e8"


def markdown(matrix: Matrix, models: Sequence[str], precisions: Sequence[str]) -> str:
    """The page: a sentence on what was measured, the picture, one table a precision, and every failure's reason."""
    *most, last = precisions
    page: str = template(HERE, "matrix.md.j2").render(
        precisions=precisions,
        named=f"{', '.join(most)} and {last}" if most else last,
        calibrated=[precision for precision in precisions if SCHEMES[precision].calibrated],
        targets=[(name, TARGETS[name].title) for name in ALL],
        models=models,
        cells=_by_name(matrix),
        counts=_counts(matrix),
        worst={precision: _worst(matrix, precision) for precision in precisions},
        failures=_failures(matrix),
        versions=matrix.versions | matrix.quantisers,
        samples=COUNT,
        quality=f"{QUALITY_DB:.0f}",
        agreement=f"{AGREEMENT:.0%}",
        latent=" x ".join(map(str, LATENT)),
        text=_text,
        program=lambda model, precision: _program(matrix, model, precision),
        has_row=has_row,
    )
    return page


def picture(matrix: Matrix, models: Sequence[str], precisions: Sequence[str]) -> str:
    """An SVG: a row a network, a block of columns a precision, a cell's colour its SQNR."""
    columns = [(precision, target) for precision in precisions for target in ALL]
    kinds = {_steps(precision): [other for other in precisions if _steps(other) == _steps(precision)]
             for precision in precisions}  # fmt: skip
    drawing: str = template(HERE, "matrix.svg.j2").render(
        columns=columns,
        precisions=precisions,
        models=[(name, MODELS[name].task) for name in models],
        cells=_by_name(matrix),
        shade=_shade,
        pale=(*GREENS[1:], REFUSED, ABSENT),
        legends=[(" and ".join(names), list(zip(steps, GREENS, strict=True))) for steps, names in kinds.items()],
        others=[("failed", FAILED), ("refused", REFUSED), ("not in this column, or not tried", ABSENT)],
        has_row=has_row,
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


def _failures(matrix: Matrix) -> list[tuple[Cell, str]]:
    """Each reason once, with the targets that it was given for."""
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in matrix.cells:
        if not cell.proven:
            found.setdefault((cell.model, cell.precision, cell.why), []).append(cell)
    return [(cells[0], ", ".join(cell.target for cell in cells)) for cells in found.values()]


def _text(cell: Cell | None, wanted: bool) -> str:
    """A cell of the table: SQNR, size and seconds, or how it failed. `wanted`: the column has the network."""
    if cell is None:
        return "not tried" if wanted else "–"
    if cell.status == "refused" and cell.integers and cell.integers.program_db is not None:
        return f"**refused** at {cell.integers.program_db:.1f} dB"
    if not cell.proven or cell.sqnr_db is None or cell.bytes is None:
        return f"**{cell.status}**"
    kept = cell.integers.fidelity_db if cell.integers else None
    program = "" if kept is None else f" ({kept:.0f})"
    return f"{cell.sqnr_db:.0f} dB{program}, {cell.bytes / 1e6:.1f} MB, {cell.seconds:.0f} s"


def _program(matrix: Matrix, model: str, precision: str) -> str:
    """What a row of integers says of its quantised program, or why nothing came of it."""
    if not has_row(precision, model):
        return "–"
    row = [cell for cell in matrix.cells if (cell.model, cell.precision) == (model, precision)]
    found: Integers | None = next((c.integers for c in row if c.integers and c.integers.program_db is not None), None)
    if found is not None:
        same = "" if found.agreement is None else f", {found.agreement:.0%} the same"
        return f"{found.program_db:.1f} dB{same}"
    hint = HINTS.get(MODELS[model].factory, "") if row else ""
    return f"none: {hint}" if hint else "–"


def _steps(precision: str) -> tuple[float, ...]:
    return INTEGERS if SCHEMES[precision].quantised else FLOATS


def _shade(cell: Cell | None) -> str:
    if cell is None:
        return ABSENT
    if cell.status == "refused":
        return REFUSED
    if not cell.proven or cell.sqnr_db is None:
        return FAILED
    steps = zip(_steps(cell.precision), GREENS, strict=True)
    return next((colour for least, colour in steps if cell.sqnr_db >= least), FAILED)
