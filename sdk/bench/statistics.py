"""Whether one run is slower than another, from the times of their repeats.

The times within one repeat share a state of the machine (its clock, its caches, where memory happened to lie), so
they are no independent samples: with thousands of them a test sees a difference between any two runs. The repeats are
what is drawn here, each a start of the process of its own. What a whole run shares is not seen: another day's
temperature, another kernel, a slow drift from one repeat to the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime_py.errors import missing_extra

RESAMPLES = 4000
LEVEL = 0.05
"""Of an interval's error, and of the test's after Holm's correction."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Repeats:
    """A row's repeats: the sorted times of each in milliseconds, or its median alone where the times were not kept."""

    times_ms: tuple[Floats, ...]

    @staticmethod
    def of(parts: Sequence[Sequence[float]]) -> "Repeats":
        """From each repeat's times, in any order."""
        return Repeats(tuple(np.sort(np.asarray(part, np.float64)) for part in parts if len(part)))

    @property
    def medians_ms(self) -> Floats:
        """Of each repeat, by the nearest rank."""
        return np.array([part[_middle(len(part))] for part in self.times_ms])

    @property
    def centre_ms(self) -> float:
        """The geometric mean of the medians."""
        return float(np.exp(np.log(self.medians_ms).mean()))

    @property
    def spread(self) -> float:
        """How much slower the slowest repeat is than the fastest, as a share: 0.03 is 3 %."""
        return float(self.medians_ms.max() / self.medians_ms.min() - 1)


@dataclass(frozen=True)
class Ratio:
    """How many times as long the new one takes; `low` and `high` are its 95 % interval."""

    value: float
    low: float
    high: float


def ratio_of(old: Repeats, new: Repeats, *, resamples: int = RESAMPLES, seed: int = 0) -> Ratio:
    """The ratio of the centres, with a bootstrap interval by repeats: drawn are repeats, then times within each.

    Few repeats spread less than what they were drawn from, and a percentile interval of them is too narrow: its ends
    are moved outwards as Student's t with Welch's degrees of freedom asks (the expanded percentile interval of
    Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 4). Both need two repeats or more. Raises
    MissingExtra without scipy.
    """
    norm, student = _scipy_stats("norm", "t")
    rng = np.random.default_rng(seed)
    drawn = _centres(rng, new, resamples) - _centres(rng, old, resamples)
    fewest = min(len(old.times_ms), len(new.times_ms))
    away = sqrt(fewest / (fewest - 1)) * student.ppf(1 - LEVEL / 2, _freedom(old, new))
    low, high = np.quantile(drawn, [norm.cdf(-away), norm.cdf(away)])
    return Ratio(new.centre_ms / old.centre_ms, exp(low), exp(high))


def rank_test(old: Repeats, new: Repeats) -> float:
    """The two-sided p-value of Mann and Whitney's U (1947) on the repeats' medians; exact where none are equal.

    With so few numbers it cannot fall below 2 / C(m + n, n): 0.00016 for 8 and 8, 0.008 for 5 and 5. Raises
    MissingExtra without scipy.
    """
    (test,) = _scipy_stats("mannwhitneyu")
    a, b = old.medians_ms, new.medians_ms
    distinct = len(np.unique(np.concatenate([a, b]))) == len(a) + len(b)
    return float(test(a, b, alternative="two-sided", method="exact" if distinct else "asymptotic").pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """The p-values of several tests, so corrected that LEVEL holds for all of them together (Holm, 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found, highest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - place) * values[index]))
        found[index] = highest
    return found


def _middle(count: int) -> int:
    """The nearest rank's median, as `devices.agent.percentile` takes it."""
    return (count + 1) // 2 - 1


def _centres(rng: np.random.Generator, repeats: Repeats, times: int) -> Floats:
    """Logarithms of the centres of resamples: (times,).

    A resample's median is one of the repeat's times, and its rank follows a beta distribution: the order statistic of
    as many uniform numbers (Maritz and Jarrett, 1978). So no times need be drawn one by one.
    """
    counts = np.array([len(part) for part in repeats.times_ms])
    chosen = rng.integers(len(counts), size=(times, len(counts)))
    rank = (counts[chosen] + 1) // 2
    places = (rng.beta(rank, counts[chosen] - rank + 1) * counts[chosen]).astype(np.intp)
    found = np.empty(chosen.shape)
    for index, part in enumerate(repeats.times_ms):
        mask = chosen == index
        found[mask] = np.log(part)[np.minimum(places[mask], len(part) - 1)]
    centres: Floats = found.mean(axis=1)
    return centres


def _freedom(old: Repeats, new: Repeats) -> float:
    """Welch's degrees of freedom of the two means of logarithms."""
    shares = [float(np.log(one.medians_ms).var(ddof=1)) / len(one.times_ms) for one in (old, new)]
    below = sum(share**2 / (len(one.times_ms) - 1) for share, one in zip(shares, (old, new), strict=True))
    fewest = min(len(old.times_ms), len(new.times_ms)) - 1
    return sum(shares) ** 2 / below if below > 0.0 else float(fewest)


def _scipy_stats(*names: str) -> list[Any]:
    try:
        from scipy import stats
    except ModuleNotFoundError:
        raise missing_extra("scipy", "bench", "comparing two runs") from None
    return [getattr(stats, name) for name in names]
