"""A linear axis with round ticks, for drawings whose places are percent across and px down."""

import math
from dataclasses import dataclass

STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Axis:
    """Values `low` to `high` from `start` to `end`, in percent or px; `ticks` are (place, text)."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Where a value stands; one beyond the axis stands at its end."""
        return _place(value, self.low, self.high, self.start, self.end)


def round_axis(low: float, high: float, start: float, end: float, parts: int = 4) -> Axis:
    """The axis that holds `low` to `high` in about `parts` steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        low, high = low - (abs(low) / 20 or 0.5), low + (abs(low) / 20 or 0.5)
    size = 10.0 ** math.floor(math.log10((high - low) / parts))
    step = next(size * factor for factor in STEPS if size * factor >= (high - low) / parts * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    ends = (first * step, last * step)
    ticks = tuple(
        (_place(index * step, *ends, start, end), minus(f"{index * step:.{digits}f}"))
        for index in range(first, last + 1)
    )
    return Axis(*ends, start, end, ticks)


def minus(number: str) -> str:
    """The number with a minus as wide as a plus."""
    return number.replace("-", "−")


def _place(value: float, low: float, high: float, start: float, end: float) -> float:
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return round(start + (end - start) * share, 3)
