"""Operators of several runtimes side by side, by the network's own modules."""

from collections.abc import Sequence
from dataclasses import dataclass

from runtime_py.manifest import OperatorRow, ProfileRow


@dataclass(frozen=True)
class Spent:
    """What one target spends on one module: its operators, those that the runtime adds before them included."""

    ms: float
    share: float
    gmacs_per_s: float | None
    roof: float | None
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """One module of the network, and what each row of the profile spends on it, None where it has no operator of it."""

    name: str
    macs: int
    spent: tuple[Spent | None, ...]

    @property
    def slowest_ms(self) -> float:
        """Of the targets."""
        return max((one.ms for one in self.spent if one is not None), default=0.0)


def side_by_side(rows: Sequence[ProfileRow]) -> tuple[Module, ...]:
    """The modules of rows that have operators, in the network's order."""
    grouped = [_grouped(row.operators) for row in rows]
    totals = [sum(one.ms for one in row.operators) for row in rows]
    first: dict[str, int] = {}
    for row in rows:
        for one in row.operators:
            place = -1 if one.node is None else one.node
            first[one.module] = min(first.get(one.module, place), place)
    return tuple(
        Module(
            name or "(the network itself)",
            max((sum(one.macs for one in found.get(name, ())) for found in grouped), default=0),
            tuple(
                _spent(found[name], total) if name in found else None
                for found, total in zip(grouped, totals, strict=True)
            ),
        )
        for name in sorted(first, key=lambda name: first[name])
    )


def _grouped(operators: Sequence[OperatorRow]) -> dict[str, list[OperatorRow]]:
    found: dict[str, list[OperatorRow]] = {}
    for one in operators:
        found.setdefault(one.module, []).append(one)
    return found


def _spent(operators: Sequence[OperatorRow], total: float) -> Spent:
    ms, macs = sum(one.ms for one in operators), sum(one.macs for one in operators)
    counted = sum(one.ms for one in operators if one.macs)
    possible = sum(one.ms * one.roof for one in operators if one.roof is not None)
    return Spent(
        ms=ms, share=ms / total if total else 0.0, gmacs_per_s=macs / counted / 1e6 if counted else None,
        roof=possible / counted if counted and possible else None, operators=tuple(one.kind for one in operators),
    )  # fmt: skip
