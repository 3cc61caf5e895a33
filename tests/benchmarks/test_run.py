"""The whole way in small: a load server, fresh processes, a table."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.clients import CLIENTS, Kind
from benchmarks.plan import Chain, Link, ratios
from benchmarks.runner import Settings, run
from benchmarks.targets import load_server


def test_a_chain_runs_in_turn_and_what_fails_is_told() -> None:
    CLIENTS["broken"] = Kind("benchmarks.clients.base:Client", "broken")
    CLIENTS["absent"] = Kind("nowhere:Client", "absent", ("no_such_module",))
    links = (Link("aiohttp", 1), Link("raw", 1), Link("broken", 1), Link("absent", 1))
    chain = Chain("tiny", "tiny", "down", links, ratios("throughput", "aiohttp/raw"))
    said: list[str] = []
    try:
        with load_server() as target:
            measured = run([chain], target, Settings(rounds=2), said.append)
    finally:
        del CLIENTS["broken"], CLIENTS["absent"]
    assert [set(row) for row in measured.rows["tiny"]] == [{"aiohttp", "raw"}] * 2
    assert list(measured.rows["tiny"][1]) == ["raw", "aiohttp"]  # every other time backwards
    assert measured.rows["tiny"][0]["aiohttp"].moved == 2**20
    assert measured.absent == {"absent": "no_such_module"}
    assert list(measured.failed) == ["tiny broken"]
    assert "NotImplementedError" in measured.failed["tiny broken"]
    assert any("left" in line for line in said)


def test_the_command_lists_what_there_is() -> None:
    command = [sys.executable, "-m", "benchmarks", "--list", "--only", "idle"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["idle-1000", "idle-200-tls"]
