"""What a session answers: frozen results of numpy arrays."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Label:
    """One class of a classifier: its name, probability and index."""

    name: str
    score: float
    index: int


@dataclass(frozen=True, eq=False)
class Classification:
    """The probabilities `scores` (classes,), float32, of the classes `labels`; iterates over classes, best first."""

    labels: tuple[str, ...]
    scores: npt.NDArray[np.float32]

    def top(self, k: int = 5) -> tuple[Label, ...]:
        """The `k` most probable classes, best first."""
        best = np.argsort(-self.scores, kind="stable")[: max(k, 0)]
        return tuple(Label(self.labels[index], float(self.scores[index]), int(index)) for index in best)

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.top(1)[0].name

    @property
    def score(self) -> float:
        """The most probable class's probability."""
        return self.top(1)[0].score

    def __iter__(self) -> Iterator[Label]:
        return iter(self.top(len(self.labels)))

    def __len__(self) -> int:
        return len(self.labels)

    def __str__(self) -> str:
        return ", ".join(f"{row.name} {row.score:.1%}" for row in self.top(3))

    def to_dict(self) -> dict[str, Any]:
        """The five best classes as plain data."""
        return {"top": [{"label": row.name, "score": row.score, "index": row.index} for row in self.top(5)]}


def classification(logits: npt.NDArray[Any], labels: tuple[str, ...], softmax: bool) -> Classification:
    """A Classification of a network's output (1, classes)."""
    values = logits.astype(np.float64).ravel()
    if softmax:
        values = np.exp(values - values.max())
        values /= values.sum()
    return Classification(labels, values.astype(np.float32))
