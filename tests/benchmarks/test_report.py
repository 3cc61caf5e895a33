"""From measurements to a report, without measuring."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.__main__ import shown_command
from benchmarks.bars import BARS
from benchmarks.clients import CLIENTS
from benchmarks.cluster_scenarios import cluster_chains
from benchmarks.figures import outcomes, standings
from benchmarks.plan import Chain, select
from benchmarks.plots import Panel, available, plot
from benchmarks.profiling import top
from benchmarks.report import PLOTS, Report, write
from benchmarks.runner import Measured, Settings
from benchmarks.scenarios import chains
from benchmarks.spec import Job, Result
from benchmarks.statistics import Estimate
from benchmarks.worker import SCENARIOS

NAME = "exec-down-32k-plain"
CPU = {"bare-aiohttp": 1.0, "aiohttp": 1.05, "raw": 0.5, "picows": 1.3, "bare-picows": 1.0}


@pytest.fixture(scope="module", autouse=True)
def _fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """matplotlib keeps the fonts open that it has used once."""
    if available():
        one = {"one": [Estimate(1.0, 1.0, 1.0, 1, exact=False)]}
        plot(tmp_path_factory.mktemp("fonts") / "any.svg", "any", "any", [Panel("any", one, {"one": "ours"})])


def _measured(pairs: int) -> Measured:
    """Of each client the CPU time above, wavering a little but never in its ratios."""
    rows = [
        {key: Result(wall=cpu * (1 + turn / 100), cpu=cpu * (1 + turn / 100), moved=2**30) for key, cpu in CPU.items()}
        for turn in range(pairs)
    ]
    return Measured(rows={NAME: rows}, absent={"kr8s": "kr8s"}, failed={f"{NAME} httpx": "broke | badly"})


def _chains() -> list[Chain]:
    return select(chains(), f"^{NAME}$")


def test_figures_are_medians_of_pairs_and_bars_judge_them() -> None:
    stands = standings(outcomes(_chains(), _measured(15)))
    found = {(each.bar.text, each.outcome.figure.of): each.verdict for each in stands if each.outcome is not None}
    layer, raw = BARS[0].text, BARS[4].text
    assert found == {(layer, "aiohttp"): "met", (layer, "picows"): "missed", (raw, "aiohttp"): "missed"}


def test_a_report_has_bars_tables_json_and_what_was_not_measured(tmp_path: Path) -> None:
    report = Report(_chains(), _measured(15), Settings(), {"CPU": "a fast one"}, "python -m benchmarks")
    files = write(report, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| kubex_stream, picows | ≤ 1.1 | 1.30 (1.30 to 1.30, 15) | missed |" in text
    assert "not measured" in text
    assert "broke / badly" in text
    assert "| kr8s | kr8s |" in text
    assert "a fast one" in text
    assert all(path.name in text for path in files if path.suffix == ".svg")
    data = json.loads((tmp_path / "report.json").read_text())
    assert len(data["measurements"][NAME]) == 15
    assert data["bars"][0]["verdict"] == "met"


@pytest.mark.skipif(not available(), reason="matplotlib is not installed")
def test_plots_are_svg_and_the_same_each_time(tmp_path: Path) -> None:
    report = Report(_chains(), _measured(5), Settings(), {}, "")
    first, second = (
        [path for path in write(report, tmp_path / folder) if path.suffix == ".svg"] for folder in ("1", "2")
    )
    assert {path.name for path in first} == {"throughput.svg", "cpu.svg"}
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    words = " ".join(ElementTree.fromstring((tmp_path / "1/cpu.svg").read_text()).itertext())
    assert "kubex_stream, aiohttp" in words


def test_the_plan_is_sound() -> None:
    plan = [*chains(), *cluster_chains()]
    names = {chain.name for chain in plan}
    assert len(names) == len(plan)
    known = {f"{chain.name} {figure.name} {figure.metric}" for chain in plan for figure in chain.figures}
    for chain in plan:
        keys = {link.key for link in chain.links}
        assert len(keys) == len(chain.links)
        assert chain.scenario in SCENARIOS
        assert {link.client for link in chain.links} <= CLIENTS.keys()
        assert all(link.loop in CLIENTS[link.client].loops for link in chain.links)
        for figure in chain.figures:
            assert {figure.of, figure.to or figure.of} <= keys or figure.metric == "exponent"
    assert {figure for bar in BARS for figure in bar.figures} <= known
    assert {name for plot in PLOTS for name in plot[4]} <= names


def test_pairs_of_bars_stand_side_by_side_and_have_enough_repetitions() -> None:
    barred = {figure for bar in BARS for figure in bar.figures}
    for chain in chains():
        keys = [link.key for link in chain.links]
        for figure in chain.figures:
            if f"{chain.name} {figure.name} {figure.metric}" in barred and figure.to and not figure.minus:
                apart = abs(keys.index(figure.of) - keys.index(figure.to))
                assert apart == 1 or figure.of == "aiohttp-aiofastnet"
                assert chain.pairs >= 15


def test_only_takes_chains_and_single_figures() -> None:
    assert [chain.name for chain in select(chains(), "exec-down-1k")] == ["exec-down-1k-plain", "exec-down-1k-tls"]
    (chain,) = select(chains(), r"exec-down-32k-plain picows ÷ bare")
    assert [link.key for link in chain.links] == ["picows", "bare-picows"]


def test_jobs_and_results_survive_json() -> None:
    from benchmarks.clients.base import Place

    job = Job("a:B", "down", "trio", Place("config", "context"), ("down", "1", "2"), ("down", "1", "1"), cpu=1)
    assert Job.from_json(job.to_json()) == job
    result = Result(1.0, 2.0, latencies={"50": 1e-3})
    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result
    assert result.metric("p50") == 1000


def test_the_shown_command_has_nothing_private() -> None:
    words = ["--kubeconfig", "/home/me/config", "--context=secret", "--output", "/home/me/out", "--rounds", "3"]
    assert shown_command(words) == "python -m benchmarks --kubeconfig … --context … --rounds 3"


def test_the_top_of_a_profile_is_by_innermost_function() -> None:
    assert top("main;a;b 3\nmain;c 1\nmain;b 4\n").splitlines() == ["  87.5%  b", "  12.5%  c"]
