"""What an evaluation returns: a row a target, and PyTorch's."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

PYTORCH = "pytorch"
MAIN = {"classify": "top1", "detect": "map50_95", "decode_video": "psnr_db"}
"""By task, the metric that a drop is told in."""


@dataclass(frozen=True)
class Score:
    """`metrics` are shares of 1, and dB; `sizes` and `classes` are a detector's AP by area and by class."""

    metrics: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    classes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EvalRow:
    """One target's score on `images` samples; `drop` is PyTorch's main metric less its own, None without PyTorch.

    `interval` is the drop's 95 % interval, by a paired bootstrap over the samples; None where it is not known.
    `status` is `executed`, `interpreted`, `converted` (nothing here runs it), `missing` (PyTorch's network cannot be
    built again) or `failed`; `reason` says why it has no score. `seconds` are of reading, running and writing.
    """

    target: str
    precision: str
    status: str
    images: int = 0
    seconds: float = 0.0
    score: Score = Score()
    drop: float | None = None
    interval: tuple[float, float] | None = None
    reason: str = ""
    error: dict[str, str] | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """By name: `top1`, `top5`, `map50_95`, `map50` and `ssim` as shares of 1, `psnr_db` in dB."""
        return self.score.metrics

    def to_dict(self, *, details: bool = False) -> dict[str, Any]:
        """Flat, for `--json`; with `details` a detector's AP by size and class."""
        row: dict[str, Any] = {"target": self.target, "precision": self.precision, "status": self.status}
        low, high = self.interval or (None, None)
        row |= self.metrics | {"drop": self.drop, "drop_low": low, "drop_high": high}
        row |= {"images": self.images, "seconds": round(self.seconds, 3)}
        if details:
            row |= {"ap_by_size": self.score.sizes, "ap_by_class": self.score.classes}
        return row | {"reason": self.reason, "error": self.error}


@dataclass(frozen=True)
class EvalResult:
    """PyTorch's row, where it was asked for, then each target's; iterates over them.

    `left_out` names the samples that no row is scored on, and why; `notes` is what a reader of the numbers must know.
    """

    task: str
    rows: tuple[EvalRow, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed; what cannot run here is no failure."""
        return all(row.status != "failed" for row in self.rows)

    @property
    def worst(self) -> EvalRow | None:
        """The target with the largest drop; None where none is known."""
        return max((row for row in self.rows if row.drop is not None), key=lambda row: row.drop or 0.0, default=None)

    def __iter__(self) -> Iterator[EvalRow]:
        return iter(self.rows)
