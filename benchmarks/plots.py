"""Plots of a report, as SVG: a panel for each scenario, a bar for each client, a whisker for the spread."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ("Panel", "available", "plot")

_COLOURS: Final = {"ours": "#1f6feb", "bare": "#8b949e", "peer": "#d29922"}
_SETTINGS: Final[dict[Any, Any]] = {
    "svg.hashsalt": "kubex-stream",  # the same figures give the same file
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Panel:
    """One scenario of a plot.

    :ivar bars: by label, one estimate each; of several series by label and series
    :ivar kinds: by label: ours, bare or peer
    """

    title: str
    bars: Mapping[str, Sequence[Estimate]]
    kinds: Mapping[str, str]


def available() -> bool:
    """Whether plots can be made here."""
    return importlib.util.find_spec("matplotlib") is not None


def plot(path: Path, title: str, unit: str, panels: Sequence[Panel], series: Sequence[str] = ("",)) -> None:
    """Write a plot.

    :param series: names of what each bar's estimates are, where there are several
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        heights = [0.8 + 0.26 * len(panel.bars) * len(series) for panel in panels]
        figure = Figure(figsize=(8, sum(heights) + 0.5), layout="constrained")
        figure.suptitle(f"{title} ({unit})", fontsize=11, fontweight="bold")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, panel in zip(axes, panels, strict=True):
            _draw(axis, panel, series)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _draw(axis: Axes, panel: Panel, series: Sequence[str]) -> None:
    labels = list(panel.bars)
    thick = 0.8 / len(series)
    # A bar that leaves the others no room is cut, and says so with its number.
    longest = max(each.median for several in panel.bars.values() for each in several)
    for index, name in enumerate(series):
        some = [panel.bars[label][index] for label in labels]
        places = [at + index * thick for at in range(len(labels))]
        values = [each.median for each in some]
        spread = [[each.median - each.low for each in some], [each.high - each.median for each in some]]
        colours = [_COLOURS[panel.kinds[label]] for label in labels]
        axis.barh(places, values, thick * 0.92, color=colours, alpha=1 if index == 0 else 0.45, label=name)
        axis.errorbar(values, places, xerr=spread, fmt="none", ecolor="#30363d", elinewidth=0.8, capsize=2)
        for place, each in zip(places, some, strict=True):
            text = f" {each.median:,.0f}" if longest >= 100 else f" {each.median:.2f}"
            axis.text(each.high, place, text + (f" {name}" if name else ""), va="center", fontsize=7.5)
    axis.set_yticks([at + thick * (len(series) - 1) / 2 for at in range(len(labels))], labels)
    axis.invert_yaxis()
    axis.set_title(panel.title, fontsize=9.5, loc="left")
    axis.margins(x=0.12)
