"""Medians, and how far they can be trusted.

Rules of this file:
- What is compared was measured in pairs, so a figure is the median of the pairs' ratios, never a ratio of medians.
- The interval is that of order statistics: between which of the sorted values the median lies with a probability of at least 90 %.  It
  takes nothing for granted about how they are distributed.  Of fewer than five values there is none: the range stands in.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ("Estimate", "Verdict", "estimate", "exponent", "judge")

CONFIDENCE: Final = 0.90

Verdict = Literal["met", "missed", "undecided"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median with its interval.

    :ivar exact: whether ``low`` to ``high`` holds the true median with a probability of 90 %; otherwise they are the extremes
    """

    median: float
    low: float
    high: float
    count: int
    exact: bool


def interval_rank(count: int) -> int | None:
    """How many of ``count`` sorted values lie outside of the interval at each end; None where even all of them are not enough."""
    best = None
    for rank in range(count // 2):
        # The median lies below the value at ``rank`` when at most ``rank`` of the values do.
        outside = sum(math.comb(count, below) for below in range(rank + 1)) / 2**count
        if 1 - 2 * outside < CONFIDENCE:
            break
        best = rank
    return best


def estimate(values: Sequence[float]) -> Estimate:
    """The median of values and its 90 % interval.

    :raises ValueError: there are none
    """
    if not values:
        raise ValueError("there is nothing to estimate")
    ordered = sorted(values)
    rank = interval_rank(len(ordered))
    outside = rank or 0
    low, high = ordered[outside], ordered[len(ordered) - 1 - outside]
    return Estimate(statistics.median(ordered), low, high, len(ordered), rank is not None)


def judge(figure: Estimate, limit: float, *, at_most: bool) -> Verdict:
    """Whether a bar is met: where the whole interval lies on its good side; missed only where the whole interval lies beyond it; undecided
    otherwise, and where there is no interval."""
    beyond = [value > limit if at_most else value < limit for value in (figure.low, figure.high)]
    if not figure.exact or any(beyond) != all(beyond):
        return "undecided"
    return "missed" if all(beyond) else "met"


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """How time grows with size: the slope of a straight line through the logarithms, 1 for linear growth."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(each) for each in times]).slope
