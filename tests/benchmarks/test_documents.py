"""Logs and watches of the load server, and every client that is measured with them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Generator
from itertools import pairwise

import aiohttp
import pytest

from benchmarks.bars import BARS
from benchmarks.clients import missing
from benchmarks.document_scenarios import MEMORY, document_chains
from benchmarks.load.logs import LINE, LOG
from benchmarks.load.server import LoadServer
from benchmarks.load.strips import Strip
from benchmarks.load.watches import CONFIG_MAP, POD
from benchmarks.plan import MIB, Chain, Link
from benchmarks.runner import Settings, job_of, measure, run
from benchmarks.targets import Load, load_server
from tests.benchmarks import document_worker

SPACE = "/api/v1/namespaces/default"
MEASURED = sorted({link.client for chain in document_chains() for link in chain.links})


@pytest.fixture(scope="module")
def server() -> Generator[LoadServer, None, None]:
    with LoadServer() as server:
        yield server


@pytest.fixture(scope="module")
def load() -> Generator[Load, None, None]:
    with load_server() as load:
        yield load


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _answer(server: LoadServer, target: str) -> bytes:
    with socket.create_connection(("127.0.0.1", server.plain_port), timeout=10) as sock:
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += sock.recv(65536)
    return data


def _chunks(answer: bytes) -> list[bytes]:
    """The chunks of a body, read by hand: libraries do not tell where they end."""
    _, _, left = answer.partition(b"\r\n\r\n")
    found: list[bytes] = []
    while True:
        size, _, left = left.partition(b"\r\n")
        if size == b"0":
            return found
        found.append(left[: int(size, 16)])
        left = left[int(size, 16) + 2 :]


def test_each_line_of_a_log_that_is_followed_is_a_chunk_and_later_than_the_one_before(server: LoadServer) -> None:
    lines = _chunks(_answer(server, f"{LOG}?follow=true&timestamps=true&tailLines=20000"))
    assert len(lines) == 20_000
    assert {len(line) for line in lines} == {LINE}
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)
    assert all(before[:30] < after[:30] for before, after in pairwise(lines))
    assert len({line[:19] for line in lines}) == 3  # seconds


def test_a_log_that_is_not_followed_comes_in_chunks_of_two_kibibytes(server: LoadServer) -> None:
    chunks = _chunks(_answer(server, f"{LOG}?timestamps=true&tailLines=9000"))
    assert {len(chunk) for chunk in chunks[:480]} == {2048}
    lines = b"".join(chunks).splitlines(keepends=True)
    assert [len(line) for line in lines] == [LINE] * 9000


@pytest.mark.anyio
@pytest.mark.parametrize(("resource", "size", "count"), [("pods", POD, 700), ("configmaps", CONFIG_MAP, 3)])
async def test_every_change_of_a_watch_has_a_version_of_its_own(
    server: LoadServer, resource: str, size: int, count: int
) -> None:
    url = f"http://127.0.0.1:{server.plain_port}{SPACE}/{resource}?watch=true&labelSelector=events={count}"
    versions = []
    async with aiohttp.ClientSession() as session, session.get(url, read_bufsize=4 * MIB) as response:
        for _ in range(count):
            line = await response.content.readline()
            event = json.loads(line)
            assert (len(line), event["type"]) == (size, "MODIFIED")
            versions.append(int(event["object"]["metadata"]["resourceVersion"]))
    assert versions == sorted(set(versions))


@pytest.mark.anyio
async def test_a_streamed_state_is_complete_at_once(server: LoadServer) -> None:
    url = f"http://127.0.0.1:{server.plain_port}{SPACE}/pods?watch=1&sendInitialEvents=true&labelSelector=events=1"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        bookmark, event = [json.loads(await response.content.readline()) for _ in range(2)]
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert event["object"]["kind"] == "Pod"


def test_the_records_of_an_item_are_its_own() -> None:
    strip = Strip([b"a" * 10_000, b"b" * 10_000, b"c" * 10_000])
    strip.put(1, b"xyz")
    block = strip.block(2)
    assert [len(record) for record in block.records] == [4096, 4096, 1816] * 2
    assert b"".join(block.records) == bytes(block.data)
    assert block.payload == 20_000
    assert bytes(block.data).startswith(b"2710\r\naxyzaaa")
    assert bytes(block.data[10_008:]).startswith(b"2710\r\nbxyzbbb")


@pytest.mark.volume
def test_every_client_gets_everything(load: Load) -> None:
    names = [name for name in MEASURED if missing(name) is None]
    worker, kubeconfig = "tests.benchmarks.document_worker", load.place(tls=True).kubeconfig
    said = subprocess.run(
        [sys.executable, "-m", worker, kubeconfig, *names], capture_output=True, text=True, check=False, timeout=110
    )
    assert said.returncode == 0, said.stderr
    wanted = {
        "log_read": document_worker.LINES * LINE, "log_follow": document_worker.LINES,
        "pods": document_worker.PODS, "configmaps": document_worker.CONFIG_MAPS,
    }  # fmt: skip
    for name, got in json.loads(said.stdout).items():
        assert got == {key: value for key, value in wanted.items() if key in got}, name
    assert {"aiohttp", "httpx", "picows"} <= set(names)


@pytest.mark.parametrize(("scenario", "frame"), [("log_read", LINE), ("log_follow", LINE), ("watch", POD)])
def test_a_chain_of_each_scenario_runs(load: Load, scenario: str, frame: int) -> None:
    chain = Chain("tiny", "tiny", scenario, (Link("aiohttp", 1),), (), frame, clusters=False)
    measured = run([chain], load, Settings(rounds=1), lambda _: None)
    assert measured.failed == {}
    result = measured.rows["tiny"][0]["aiohttp"]
    assert result.moved == round(MIB / frame) * frame
    assert result.metric("cpu_per_item") == pytest.approx(result.cpu / (result.moved / frame) * 1e6)


@pytest.mark.volume
@pytest.mark.parametrize("client", ["aiohttp", "httpx"])
def test_a_million_lines_that_are_followed_cost_no_memory(load: Load, client: str) -> None:
    (bar,) = [bar for bar in BARS if bar.figures[0].startswith(MEMORY)]
    (chain,) = [chain for chain in document_chains() if chain.name == MEMORY]
    result = measure(job_of(chain, Link(client, 1_000_000 * LINE / MIB), load, Settings()), load)
    assert result.count == 1_000_000
    assert result.metric("grown") <= bar.limit
