"""From measurements to figures: ratios of pairs with their intervals, and what the bars say to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.bars import BARS, Bar
from benchmarks.plan import FAR, Chain, Figure
from benchmarks.runner import Measured
from benchmarks.spec import Result
from benchmarks.statistics import Estimate, Verdict, estimate, exponent, judge

__all__ = ("Outcome", "Standing", "outcomes", "standings", "values")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A figure of a chain, measured."""

    chain: Chain
    figure: Figure
    estimate: Estimate

    @property
    def name(self) -> str:
        """What bars know it by."""
        return f"{self.chain.name} {self.figure.name} {self.figure.metric}"


@dataclass(frozen=True, slots=True)
class Standing:
    """A bar and one of the figures that it is for.

    :ivar outcome: None where it was not measured
    """

    bar: Bar
    outcome: Outcome | None
    verdict: Verdict | None


def values(chain: Chain, rows: Sequence[dict[str, Result]], figure: Figure) -> list[float]:
    """A figure's value in each repetition that has it."""
    if figure.metric == "exponent":
        several = [_exponent(chain, row, figure.of) for row in rows]
        return [one for one in several if one is not None]
    found = []
    for row in rows:
        if figure.of not in row or (figure.to and figure.to not in row):
            continue
        value = row[figure.of].metric(figure.metric)
        if figure.to:
            other = row[figure.to].metric(figure.metric)
            value = value - other if figure.minus else value / other
        found.append(value)
    return found


def _exponent(chain: Chain, row: dict[str, Result], client: str) -> float | None:
    keys = [link.key for link in chain.links if link.client == client and link.key in row]
    mine = [row[key] for key in keys]
    largest = max((result.moved for result in mine), default=0)
    mine = [result for result in mine if result.moved * FAR >= largest]
    if len(mine) < 2:
        return None
    return exponent([result.moved for result in mine], [result.wall for result in mine])


def outcomes(chains: Sequence[Chain], measured: Measured) -> list[Outcome]:
    """Every figure that was measured."""
    found = []
    for chain in chains:
        rows = measured.rows.get(chain.name, [])
        for figure in chain.figures:
            if several := values(chain, rows, figure):
                found.append(Outcome(chain, figure, estimate(several)))
    return found


def standings(found: Sequence[Outcome], *, cluster: bool = False) -> list[Standing]:
    """Every bar of one of the two commands; of one that asks for the best of several figures, the best."""
    by_name = {outcome.name: outcome for outcome in found}
    stands = []
    for bar in BARS:
        if bar.cluster != cluster:
            continue
        mine = [by_name[name] for name in bar.figures if name in by_name]
        if bar.best and mine:
            mine = [(min if bar.at_most else max)(mine, key=lambda each: each.estimate.median)]
        for outcome in mine:
            verdict = judge(outcome.estimate, bar.limit, at_most=bar.at_most)
            stands.append(Standing(bar, outcome, verdict))
        if not mine:
            stands.append(Standing(bar, None, None))
    return stands
