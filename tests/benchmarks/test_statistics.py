"""Medians, intervals, exponents, and what bars make of them."""

from __future__ import annotations

import random
import statistics

import pytest

from benchmarks.statistics import Estimate, estimate, exponent, judge


def test_the_interval_of_fifteen_leaves_three_out_at_each_end() -> None:
    found = estimate([float(number) for number in range(15)])
    assert (found.median, found.low, found.high, found.exact) == (7, 3, 11, True)


def test_the_interval_of_five_is_all_of_them_and_fewer_have_none() -> None:
    assert estimate([3, 1, 2, 5, 4]) == Estimate(3, 1, 5, 5, exact=True)
    assert estimate([4, 1, 2, 3]) == Estimate(2.5, 1, 4, 4, exact=False)
    assert estimate([2]) == Estimate(2, 2, 2, 1, exact=False)


def test_nothing_cannot_be_estimated() -> None:
    with pytest.raises(ValueError, match="nothing to estimate"):
        estimate([])


@pytest.mark.parametrize("count", [5, 9, 15, 30])
def test_the_interval_holds_the_true_median_as_often_as_it_says(count: int) -> None:
    chance = random.Random(count)
    true = 1.0  # of a lognormal distribution, which is far from symmetric
    estimates = (estimate([chance.lognormvariate(0, 1) for _ in range(count)]) for _ in range(2000))
    held = statistics.fmean(one.low <= true <= one.high for one in estimates)
    assert 0.88 < held < 0.98


@pytest.mark.parametrize(
    ("low", "high", "at_most", "verdict"),
    [
        (0.9, 1.1, True, "met"), (1.0, 1.3, True, "undecided"), (1.21, 1.3, True, "missed"),
        (1.3, 1.4, False, "met"), (1.1, 1.3, False, "undecided"), (0.9, 1.1, False, "missed"),
    ],
)  # fmt: skip
def test_a_bar_is_missed_only_beyond_the_whole_interval(low: float, high: float, at_most: bool, verdict: str) -> None:
    assert judge(Estimate((low + high) / 2, low, high, 15, exact=True), 1.2, at_most=at_most) == verdict
    assert judge(Estimate((low + high) / 2, low, high, 3, exact=False), 1.2, at_most=at_most) == "undecided"


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_the_exponent_of_growth(power: float) -> None:
    sizes = [16, 64, 256, 1024]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)
