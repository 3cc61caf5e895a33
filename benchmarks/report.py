"""The report of a run: Markdown, JSON and plots, in one folder."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.clients import CLIENTS
from benchmarks.figures import Outcome, Standing, outcomes, standings
from benchmarks.plan import Chain, Link
from benchmarks.plots import Panel, available, plot
from benchmarks.runner import Measured, Settings
from benchmarks.statistics import Estimate, estimate
from benchmarks.tables import METRICS, limit, number, spread, table

__all__ = ("Report", "write")

#: The plots: file, title, unit, metrics, and the chains that have a panel.
PLOTS: Final = (
    ("throughput", "Throughput of stdout", "MB/s, more is better", ("throughput",),
     ("exec-down-32k-plain", "exec-down-1k-plain", "exec-down-32k-tls", "httpx-down-32k-plain", "peers-down-plain", "cluster-down")),
    ("cpu", "CPU time of the client", "seconds per GiB, less is better", ("cpu_per_gib",),
     ("exec-down-32k-plain", "exec-down-1k-plain", "exec-down-32k-tls", "exec-up-plain", "exec-duplex-plain", "cluster-down",
      "cluster-up", "cluster-duplex", "cluster-capture")),
    ("latency", "64 bytes there and back", "µs, less is better", ("p50", "p99"),
     ("exec-echo-plain", "exec-echo-tls", "peers-echo", "forward-echo-tunnel", "cluster-echo")),
    ("setups", "Sessions and connections one after the other", "per second, more is better", ("rate",),
     ("exec-session-plain", "exec-session-tls", "forward-session-tunnel", "cluster-session")),
    ("memory", "Memory of an idle session", "KiB, less is better", ("memory_per_session",), ("idle-1000", "idle-200-tls")),
    ("logs", "Lines of a log that is followed", "per second, more is better", ("rate",),
     ("log-follow-plain", "log-follow-tls", "peers-log-follow-plain", "peers-log-follow-tls")),
    ("watch", "Events of a watch", "per second, more is better", ("rate",),
     ("watch-pods-plain", "peers-watch-pods-plain", "peers-watch-pods-tls", "peers-watch-large-plain")),
    ("port-forward", "Port-forward, one connection", "MB/s, more is better", ("throughput",),
     ("forward-down-tunnel", "forward-connect-down-tunnel", "forward-down-legacy", "cluster-forward-down")),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Report:
    """What a report is made of."""

    chains: Sequence[Chain]
    measured: Measured
    settings: Settings
    environment: dict[str, str]
    command: str
    cluster: bool = False

    @property
    def target(self) -> str:
        """What was measured against."""
        return "a real cluster" if self.cluster else "the load server"


def label(link: Link) -> str:
    """A link's name for readers."""
    title = CLIENTS[link.client].title if link.client in CLIENTS else link.client
    loop = "" if link.loop == "asyncio" else f", {link.loop}"
    return f"{title}{loop}{f', {link.note}' if link.note else ''}"


def absolutes(report: Report, chain: Chain, link: Link, metric: str) -> Estimate | None:
    """One link's metric over all repetitions; None where it was not measured."""
    rows = report.measured.rows.get(chain.name, [])
    several = [row[link.key].metric(metric) for row in rows if link.key in row]
    return estimate(several) if several else None


def write(report: Report, folder: Path) -> list[Path]:
    """Write ``report.md``, ``report.json`` and the plots: the files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = outcomes(report.chains, report.measured)
    stands = standings(found, cluster=report.cluster)
    drawn = _plots(report, folder) if available() else []
    markdown, data = folder / "report.md", folder / "report.json"
    markdown.write_text(_markdown(report, found, stands, drawn))
    data.write_text(json.dumps(_data(report, found, stands), indent=1) + "\n")
    return [markdown, data, *(path for path, _ in drawn)]


# JSON -----------------------------------------------------------------------------------------------------------------


def _estimate(one: Estimate) -> dict[str, Any]:
    interval = "90 %" if one.exact else "range"
    return {"median": one.median, "low": one.low, "high": one.high, "pairs": one.count, "interval": interval}


def _data(report: Report, found: Sequence[Outcome], stands: Sequence[Standing]) -> dict[str, Any]:
    measured = report.measured
    return {
        "command": report.command,
        "target": report.target,
        "short": report.settings.short,
        "interrupted": measured.interrupted,
        "environment": report.environment,
        "bars": [
            {
                "text": each.bar.text, "limit": each.bar.limit, "at_most": each.bar.at_most,
                "figure": None if each.outcome is None else each.outcome.name, "verdict": each.verdict,
                "estimate": None if each.outcome is None else _estimate(each.outcome.estimate),
            }
            for each in stands
        ],
        "figures": [{"name": one.name, **_estimate(one.estimate)} for one in found],
        "absent": measured.absent,
        "failed": measured.failed,
        "measurements": {
            name: [{key: result.to_json() for key, result in row.items()} for row in rows]
            for name, rows in measured.rows.items()
        },
    }  # fmt: skip


# Markdown -------------------------------------------------------------------------------------------------------------


def _markdown(
    report: Report, found: Sequence[Outcome], stands: Sequence[Standing], drawn: Sequence[tuple[Path, str]]
) -> str:
    measured = report.measured
    parts = [
        "# Benchmark report\n",
        f"Made by `{report.command}` against {report.target}."
        + (" It was a short run: few repetitions of small volumes, from which no bar can be judged." if report.settings.short else "")
        + (" It was interrupted." if measured.interrupted else ""),
        "A figure is the median of pairs that ran back to back, with the interval that holds the true median with a probability of 90 %, "
        "and the number of pairs; of fewer than five the range is given. A bar is missed only where the whole interval lies beyond it, and "
        "undecided where the interval holds it, or where there is none.\n",
        "## Bars\n",
        _bars(stands),
    ]  # fmt: skip
    parts += [f"## {title}\n\n![{title}]({path.name})\n" for path, title in drawn]
    parts += ["## Comparisons\n", _comparisons(found), "## Measurements\n", *_measurements(report)]
    if measured.absent:
        rows = [(label(Link(name)), lacking) for name, lacking in measured.absent.items()]
        parts += ["## Not installed here\n", table(("client", "missing"), rows)]
    if measured.failed:
        rows = [(where, why.replace("|", "/")) for where, why in measured.failed.items()]
        parts += ["## Failed\n", table(("measurement", "why"), rows)]
    parts += ["## Where it ran\n", table(("", ""), list(report.environment.items()))]
    return "\n".join(parts)


def _bars(stands: Sequence[Standing]) -> str:
    rows = []
    for each in stands:
        if each.outcome is None:
            rows.append((each.bar.text, "", limit(each), "not measured", ""))
            continue
        rows.append(
            (each.bar.text, _subject(each.outcome), limit(each), spread(each.outcome.estimate), each.verdict or "")
        )
    return table(("figure", "of", "bar", "measured", ""), rows)


def _subject(outcome: Outcome) -> str:
    """Which way of this library's a figure is about; it may be what another client is divided by."""
    titles = [
        CLIENTS[name].title for key in (outcome.figure.of, outcome.figure.to) if (name := re.split("[@#]", key)[0])
    ]
    return next((title for title in titles if _is_ours(title)), titles[0])


def _is_ours(title: str) -> bool:
    return title.startswith(("kubex_stream", "connect,", "listen,"))


def _comparisons(found: Sequence[Outcome]) -> str:
    rows = [(one.chain.title, one.figure.name, METRICS[one.figure.metric], spread(one.estimate)) for one in found]
    return table(("scenario", "compared", "in", "median"), rows)


def _measurements(report: Report) -> list[str]:
    parts = [
        "Medians of single measurements; they say little about another machine. `server` is the share of its CPU that the load server was "
        "busy for, `faults` are minor page faults of the client.\n"
    ]
    for chain in report.chains:
        rows = [row for link in chain.links if (row := _measurement(report, chain, link))]
        if rows:
            head = ("", *(METRICS[metric] for metric in chain.shows), "server", "faults")
            parts += [f"### {chain.title}\n\n`{chain.name}`\n", table(head, rows)]
    return parts


def _measurement(report: Report, chain: Chain, link: Link) -> tuple[str, ...] | None:
    results = [row[link.key] for row in report.measured.rows.get(chain.name, []) if link.key in row]
    if not results:
        return None
    shown = [statistics.median(result.metric(metric) for result in results) for metric in chain.shows]
    server = statistics.median(result.server_cpu / result.wall for result in results)
    faults = statistics.median(result.faults for result in results)
    busy = f"{min(server, 1):.0%}" if server else "-"
    return (label(link), *(number(value) for value in shown), busy, f"{faults:,.0f}")


# Plots ----------------------------------------------------------------------------------------------------------------


def _kind(link: Link) -> str:
    if link.client == "raw" or link.client.startswith("bare-"):
        return "bare"
    return "ours" if _is_ours(label(link)) else "peer"


def _panel(report: Report, chain: Chain, metrics: Sequence[str]) -> Panel | None:
    bars, kinds = {}, {}
    for link in chain.links:
        several = [one for metric in metrics if (one := absolutes(report, chain, link, metric)) is not None]
        if len(several) == len(metrics):
            bars[label(link)], kinds[label(link)] = several, _kind(link)
    return Panel(chain.title, bars, kinds) if bars else None


def _plots(report: Report, folder: Path) -> list[tuple[Path, str]]:
    chains, drawn = {chain.name: chain for chain in report.chains}, []
    for name, title, unit, metrics, wanted in PLOTS:
        panels = [
            panel
            for chain in wanted
            if chain in chains and (panel := _panel(report, chains[chain], metrics)) is not None
        ]
        if panels:
            path = folder / f"{name}.svg"
            plot(path, title, unit, panels, metrics if len(metrics) > 1 else ("",))
            drawn.append((path, title))
    return drawn
