"""Tables of a run's figures, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.figures import Outcome, Standing
from benchmarks.statistics import Estimate

__all__ = ("METRICS", "limit", "number", "spread", "table", "terminal")

#: What each metric is called.
METRICS: Final = {
    "cpu_per_gib": "CPU s/GiB",
    "throughput": "MB/s",
    "wall": "seconds",
    "p50": "p50 µs",
    "p99": "p99 µs",
    "rate": "per second",
    "cpu_per_session": "CPU ms each",
    "memory_per_session": "KiB each",
    "rss": "MiB resident",
    "growth": "memory ÷ output",
    "grown": "MiB more",
    "cpu_per_item": "CPU µs each",
    "cpu_per_frame": "ns a frame",
    "exponent": "exponent",
}


def number(value: float) -> str:
    """With three digits that count, or all of those before the point."""
    if value == 0:
        return "0"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def spread(figure: Estimate) -> str:
    """A median and its interval."""
    if figure.count == 1:
        return f"{number(figure.median)} (one)"
    kind = "" if figure.exact else " range"
    return f"{number(figure.median)} ({number(figure.low)} to {number(figure.high)}{kind}, {figure.count})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """As Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in lines)


def terminal(found: Sequence[Outcome], stands: Sequence[Standing]) -> str:
    """For a terminal: every figure, and every bar that was measured."""
    rows = [(one.chain.name, one.figure.name, METRICS[one.figure.metric], spread(one.estimate)) for one in found]
    text = _columns([("scenario", "figure", "of", "median (90 % interval, pairs)"), *rows])
    bars = [
        (each.bar.text, each.outcome.figure.of, limit(each), spread(each.outcome.estimate), each.verdict or "")
        for each in stands
        if each.outcome is not None
    ]
    return text + ("\n" + _columns([("bar", "for", "limit", "figure", ""), *bars]) if bars else "")


def limit(standing: Standing) -> str:
    """A bar's limit, with its direction."""
    return f"{'≤' if standing.bar.at_most else '≥'} {standing.bar.limit:g}"


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"
