"""Two runs side by side: each row's ratio, what is to be thought of it, and what one of the runs lacks."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Literal

from runtime_py.manifest import ProfileRow
from sdk.bench.database import Database, Run
from sdk.bench.plan import Cell
from sdk.bench.repeating import SLOWER
from sdk.bench.results import Result
from sdk.bench.statistics import LEVEL, Repeats, holm, rank_test, ratio_of

Verdict = Literal["slower", "faster", "no difference seen", "not decided"]
FEWEST = 2
"""Repeats of a row that decides; with so few, no test can call it slower."""


@dataclass(frozen=True)
class Pair:
    """A cell of both runs. `ratio` is new time over old; `low` and `high` are its 95 % interval, `p` the rank test's
    value and `p_holm` the same with Holm's correction. `spread` is that of the run whose repeats differ more.

    Where `verdict` is `not decided`, `why` says why, and there are no figures but the medians that there may be.
    """

    cell: Cell
    verdict: Verdict
    why: str = ""
    old_ms: float | None = None
    new_ms: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    spread: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def decides(self) -> bool:
        """Whether both rows are valid, and of the same processor at the same speed."""
        return self.verdict != "not decided"

    def above(self, limit: float) -> bool:
        """Whether it is slower than `limit` times for certain: the interval's lower end is above."""
        return self.low is not None and self.low > limit


@dataclass(frozen=True)
class Compared:
    """Two runs. `only_old` and `only_new` have a result in one of them alone."""

    old: Run
    new: Run
    pairs: tuple[Pair, ...]
    only_old: tuple[Cell, ...]
    only_new: tuple[Cell, ...]
    warnings: tuple[str, ...]

    @property
    def deciding(self) -> tuple[Pair, ...]:
        """The pairs that decide."""
        return tuple(pair for pair in self.pairs if pair.decides)

    def above(self, limit: float) -> tuple[Pair, ...]:
        """The pairs that are slower than `limit` times for certain."""
        return tuple(pair for pair in self.deciding if pair.above(limit))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `--json`."""
        return {
            "old": self.old.id,
            "new": self.new.id,
            "warnings": list(self.warnings),
            "pairs": [asdict(pair) | {"cell": pair.cell._asdict()} for pair in self.pairs],
            "only_old": [cell._asdict() for cell in self.only_old],
            "only_new": [cell._asdict() for cell in self.only_new],
        }


def compare_runs(database: Database, old: Run, new: Run, only: Mapping[str, Sequence[str]] | None = None) -> Compared:
    """Every cell that both runs measured, tested. Raises BadDatabase, or MissingExtra without scipy."""
    before, after = ({one.cell: one for one in database.results(run, only, samples=True)} for run in (old, new))
    pairs = [_pair(before[cell], after[cell]) for cell in before if cell in after]
    return Compared(
        old, new, tuple(_judged([pair for pair in pairs if pair is not None])),
        tuple(cell for cell in before if cell not in after), tuple(cell for cell in after if cell not in before),
        tuple(_warnings(old, new)),
    )  # fmt: skip


def _pair(old: Result, new: Result) -> Pair | None:
    """The figures without a verdict; None where neither run could measure it, and there was nothing wrong."""
    if old.outcome == new.outcome == "absent":
        return None
    a, b = (one.row.infer.p50_ms if one.row and one.row.infer else None for one in (old, new))
    why = _why_not(old, new)
    if why or old.row is None or new.row is None:
        return Pair(old.cell, "not decided", why, old_ms=a, new_ms=b)
    before, after = _repeats(old.row), _repeats(new.row)
    ratio = ratio_of(before, after)
    return Pair(
        old.cell, "no difference seen", old_ms=before.centre_ms, new_ms=after.centre_ms, ratio=ratio.value,
        low=ratio.low, high=ratio.high, p=rank_test(before, after), spread=max(before.spread, after.spread),
        notes=tuple(_notes(old, new)),
    )  # fmt: skip


def _why_not(old: Result, new: Result) -> str:
    """Why two results cannot be compared; empty where they can."""
    for which, one in (("old", old), ("new", new)):
        if one.outcome == "invalid":
            return f"{which} is no valid measurement: {one.why}"
        if one.row is None:
            return f"{which} was not measured ({one.outcome}): {one.why}"
        if one.row.kind == "emulated":
            return f"{which} is of an emulator, whose times mean nothing"
        if len(_repeats(one.row).times_ms) < FEWEST:
            return f"{which} has fewer than {FEWEST} repeats"
    if old.row and new.row and old.row.device != new.row.device:
        return f"two processors: {old.row.device} and {new.row.device}"
    return _slowed(old.row, new.row) if old.row and new.row else ""


def _slowed(old: ProfileRow, new: ProfileRow) -> str:
    """Whether the processor's own speed differed beside the two, by the agent's pulse; empty where nothing says so."""
    if not (old.repeats_pulse_us and new.repeats_pulse_us):
        return ""
    slower = median(new.repeats_pulse_us) / median(old.repeats_pulse_us)
    if 1 / SLOWER <= slower <= SLOWER:
        return ""
    which, times = ("new", slower) if slower > 1 else ("old", 1 / slower)
    return f"the processor itself was {times:.2f} times slower beside {which}, whatever ran on it"


def _repeats(row: ProfileRow) -> Repeats:
    return Repeats.of(row.samples_ms or [(value,) for value in row.repeats_p50_ms])


def _judged(pairs: Sequence[Pair]) -> list[Pair]:
    """With verdicts: the test, corrected for all pairs, and a ratio beyond what the repeats of one run spread."""
    tested = [pair for pair in pairs if pair.p is not None]
    corrected = dict(zip([pair.cell for pair in tested], holm([pair.p or 0.0 for pair in tested]), strict=True))
    return [replace(pair, p_holm=corrected[pair.cell], verdict=_verdict(pair, corrected[pair.cell]))
            if pair.cell in corrected else pair for pair in pairs]  # fmt: skip


def _verdict(pair: Pair, p: float) -> Verdict:
    assert pair.ratio is not None
    assert pair.spread is not None
    if p >= LEVEL or max(pair.ratio, 1 / pair.ratio) <= 1 + pair.spread:
        return "no difference seen"
    return "slower" if pair.ratio > 1 else "faster"


def _notes(old: Result, new: Result) -> list[str]:
    """What else differs between the rows."""
    found = []
    if old.made and new.made and old.made.sha256 != new.made.sha256:
        found.append("another file")
    for name in ("runtime", "governor", "os", "python"):
        a, b = (one.row.conditions.get(name, "") if one.row else "" for one in (old, new))
        if a != b:
            found.append(f"{name} {a or '–'} → {b or '–'}")
    return found


def _warnings(old: Run, new: Run) -> list[str]:
    found = []
    if old.protocol != new.protocol:
        found.append(f"the runs were measured differently: {old.protocol} and {new.protocol}")
    if old.id == new.id:
        found.append("both are the same run")
    return found
