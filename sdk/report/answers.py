"""Each target's top-5 beside PyTorch's, and where they part."""

from dataclasses import dataclass

Top5 = dict[str, list[tuple[str, float]]]
REFERENCE = "pytorch"
SAME_SCORE = 0.005
"""Scores further apart than half a percent point are marked; less could not be seen in a bar."""


@dataclass(frozen=True)
class Answer:
    """One line of a top-5. `differs` where the label or score is not PyTorch's at that rank."""

    label: str
    score: float
    differs: bool


@dataclass(frozen=True)
class Answers:
    """One runtime's top-5; `verdict` says in words how it stands to PyTorch's."""

    title: str
    rows: tuple[Answer, ...]
    verdict: str
    differs: bool
    is_reference: bool = False


def side_by_side(top5: Top5, titles: dict[str, str]) -> list[Answers]:
    """PyTorch's answers first, then each target's with differences marked. Scores are shares of 1."""
    reference = top5.get(REFERENCE, [])
    exact = tuple(Answer(label, score, False) for label, score in reference)
    first = Answers("PyTorch", exact, "the reference", False, is_reference=True)
    others = [_compare(titles.get(name, name), rows, reference) for name, rows in top5.items() if name != REFERENCE]
    return [first, *others] if reference else others


def _compare(title: str, rows: list[tuple[str, float]], reference: list[tuple[str, float]]) -> Answers:
    if not reference:
        return Answers(title, tuple(Answer(label, score, False) for label, score in rows), "", False)
    padded = [*reference, *[("", 0.0)] * (len(rows) - len(reference))]
    marked = tuple(
        Answer(label, score, label != known or abs(score - known_score) > SAME_SCORE)
        for (label, score), (known, known_score) in zip(rows, padded, strict=False)
    )
    return Answers(title, marked, _verdict(rows, reference), any(row.differs for row in marked))


def _verdict(rows: list[tuple[str, float]], reference: list[tuple[str, float]]) -> str:
    if [label for label, _ in rows] == [label for label, _ in reference]:
        largest = max((abs(a - b) for (_, a), (_, b) in zip(rows, reference, strict=True)), default=0.0)
        return "same scores" if largest < 1e-7 else f"same order, scores within {100 * largest:.2g} points"
    if rows and reference and rows[0][0] == reference[0][0]:
        return "same first answer, other order below"
    return "another first answer"
