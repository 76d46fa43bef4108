"""A classifier's answers over time: the mean of all, in which the past counts half as much for every half-life."""

import math

import numpy as np
import numpy.typing as npt

from runtime_py.errors import SdkError
from runtime_py.results import Classification


class BadHalfLife(SdkError):
    """A half-life that is no time."""

    id = "bad-half-life"


class Smoothing:
    """An exponential moving average by time, so that dropped frames and irregular cameras change nothing.

    Called with each answer and its frame's `time_s`, it gives the smoothed answer. `half_life_s` seconds after a
    change, the new answer has half of the weight. Raises BadHalfLife.
    """

    def __init__(self, half_life_s: float = 0.5) -> None:
        if not 0 < half_life_s < math.inf:
            raise BadHalfLife(f"half_life_s={half_life_s}", expected="seconds, over 0")
        self.half_life_s = half_life_s
        self._mean: npt.NDArray[np.float64] | None = None
        self._labels: tuple[str, ...] = ()
        self._time_s = -math.inf

    def __call__(self, found: Classification, time_s: float) -> Classification:
        """The mean up to now. It starts afresh where time runs backwards, or with another network's labels."""
        now = found.scores.astype(np.float64)
        if self._mean is None or time_s < self._time_s or found.labels != self._labels:
            self._mean = now
        else:
            past = 0.5 ** ((time_s - self._time_s) / self.half_life_s)
            self._mean = past * self._mean + (1 - past) * now
        self._time_s, self._labels = time_s, found.labels
        return Classification(found.labels, self._mean.astype(np.float32))
