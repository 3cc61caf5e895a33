"""What is measured, as data: chains of measurements, and the figures that compare their links.

Rules of this file:
- A chain's links run one after the other, forwards and backwards in turn, so a pair that stands side by side runs back to back and in
  either order.  What is compared under a bar stands side by side.
- The outer loop is that of repetitions, so whatever drifts on a machine drifts through all figures.
- Each link moves as much as takes it about half a second; what is slower by nature moves less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

__all__ = ("Chain", "Figure", "Link", "select")

MIB: Final = 2**20
#: Pairs of a figure with a bar, and of one without.
BARRED: Final = 15
PLAIN: Final = 5
#: Mebibytes of the captures whose growth is looked at; it is a line through the largest, and those down to a 64th of it.
CAPTURE: Final = (1, 4, 16, 64, 256, 1024)
FAR: Final = 64


@dataclass(frozen=True, slots=True)
class Link:
    """One measurement of a chain.

    :ivar client: a name of ``benchmarks.clients.CLIENTS``
    :ivar mebibytes: what it moves
    :ivar count: how often, for what is counted
    """

    client: str
    mebibytes: float = 0
    count: int = 1
    loop: str = "asyncio"
    protocol: str = "tunnel"
    note: str = ""
    #: Whether its process stays on one CPU.
    pinned: bool = True

    @property
    def key(self) -> str:
        """Its name within the chain."""
        loop = "" if self.loop == "asyncio" else f"@{self.loop}"
        return f"{self.client}{loop}{f'#{self.note}' if self.note else ''}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A comparison: one link's metric divided by another's, or one link's alone.

    :ivar of: the key of a link
    :ivar to: the key of the link that it is divided by; empty for none
    :ivar minus: take the difference instead of the ratio
    """

    of: str
    to: str
    metric: str
    minus: bool = False

    @property
    def name(self) -> str:
        """As it is written in tables."""
        return f"{self.of} {'-' if self.minus else '÷'} {self.to}" if self.to else self.of


@dataclass(frozen=True, slots=True)
class Chain:
    """Measurements of one scenario, done in turn.

    :ivar name: what ``--only`` matches
    :ivar scenario: a name of ``benchmarks.worker.SCENARIOS``
    :ivar frame: bytes of payload of a frame
    :ivar pairs: repetitions of a full run
    :ivar short: repetitions of a short run; 0 leaves it out
    :ivar shows: the metrics that the report lists for each link
    """

    name: str
    title: str
    scenario: str
    links: tuple[Link, ...]
    figures: tuple[Figure, ...]
    frame: int = 32768
    tls: bool = False
    pairs: int = PLAIN
    short: int = 1
    shows: tuple[str, ...] = ("throughput", "cpu_per_gib")
    clusters: bool = True
    #: Whether a short run moves less.
    scaled: bool = True

    def link(self, key: str) -> Link:
        """The link of that key."""
        return next(link for link in self.links if link.key == key)

    def with_links(self, keys: Iterable[str]) -> Chain:
        """This chain with only some of its links."""
        kept = set(keys)
        figures = tuple(figure for figure in self.figures if figure.of in kept and (not figure.to or figure.to in kept))
        return replace(self, links=tuple(link for link in self.links if link.key in kept), figures=figures)


def ratios(metric: str, *pairs: str) -> tuple[Figure, ...]:
    """Figures of one metric, each written as ``of/to``."""
    return tuple(Figure(*_two(pair), metric) for pair in pairs)


def _two(pair: str) -> tuple[str, str]:
    of, _, to = pair.partition("/")
    return of, to


def select(chains: Sequence[Chain], only: str | None) -> list[Chain]:
    """The chains whose name, or the name of one of whose figures, a regular expression finds."""
    if only is None:
        return list(chains)
    pattern = re.compile(only)
    found = []
    for chain in chains:
        figures = [figure for figure in chain.figures if pattern.search(f"{chain.name} {figure.name}")]
        if pattern.search(chain.name) or (figures and len(figures) == len(chain.figures)):
            found.append(chain)
        elif figures:
            keys = {key for figure in figures for key in (figure.of, figure.to) if key}
            found.append(chain.with_links(keys))
    return found
