"""Large amounts, each in a client process of its own, against an embedded cluster in another one, on all pairs of backend and event loop."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

MIB = 1024 * 1024
WORKER = Path(__file__).with_name("worker.py")
PAIRS = [
    "aiohttp-asyncio", "aiohttp-uvloop", "httpx-asyncio", "httpx-uvloop", "httpx-trio", "picows-asyncio", "picows-uvloop",
]  # fmt: skip

pytestmark = [
    pytest.mark.volume,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
    pytest.mark.timeout(300),
]
every_pair = pytest.mark.parametrize("pair", PAIRS)
SIZES = {"capture": 256 * MIB, "sleepy": 1024 * MIB, "sleepy_v5": 1024 * MIB, "upload": 256 * MIB, "duplex": 64 * MIB}

Outcome = dict[str, object]


def work(scenario: str, pair: str, kubeconfig: str, size: int) -> Outcome:
    backend, _, loop = pair.partition("-")
    command = [sys.executable, str(WORKER), scenario, backend, loop, kubeconfig, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    outcome: Outcome = json.loads(done.stdout)
    return outcome


class Works:
    """Every scenario on every pair that has it, several at a time, since some of them sleep."""

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self._pool = ThreadPoolExecutor(5)
        self._futures: dict[tuple[str, str], Future[Outcome]] = {}

    def outcome(self, scenario: str, pair: str) -> Outcome:
        if not self._futures:
            for name, size in SIZES.items():
                for each in PAIRS:
                    self._futures[name, each] = self._pool.submit(work, name, each, self._kubeconfig, size)
        outcome = self._futures[scenario, pair].result()
        assert outcome["digest"] == outcome["expected"]
        return outcome

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def works(kubeconfig: str) -> Generator[Works, None, None]:
    works = Works(kubeconfig)
    yield works
    works.close()


def number(outcome: dict[str, object], key: str) -> float:
    value = outcome[key]
    assert isinstance(value, int | float)
    return value


@every_pair
def test_input_for_a_process_that_never_reads_is_cancelled_in_2_s(pair: str, kubeconfig: str) -> None:
    # The only limit in seconds here: it is a promise, and twice what the grace of a close takes.  A busy machine can only add to it.
    assert any(number(work("cancelled", pair, kubeconfig, 64 * MIB), "seconds") < 2 for _ in range(3))


@every_pair
def test_200_commands_at_once_on_one_client(pair: str, kubeconfig: str) -> None:
    assert work("concurrent", pair, kubeconfig, 200)["answers"]


@every_pair
def test_capture_is_exact_and_takes_little_more_than_its_size(works: Works, pair: str) -> None:
    outcome = works.outcome("capture", pair)
    assert number(outcome, "growth") <= 1.3 * SIZES["capture"]


@every_pair
@pytest.mark.parametrize("scenario", ["sleepy", "sleepy_v5"])
def test_a_consumer_that_sleeps_loses_nothing_and_costs_no_memory(works: Works, pair: str, scenario: str) -> None:
    outcome = works.outcome(scenario, pair)
    assert outcome["code"] == 0
    assert number(outcome, "growth") <= 32 * MIB
    if scenario == "sleepy_v5":
        assert number(outcome, "spooled") > 0


@every_pair
def test_upload_with_half_close(works: Works, pair: str) -> None:
    assert number(works.outcome("upload", pair), "growth") <= 32 * MIB


@every_pair
def test_full_duplex(works: Works, pair: str) -> None:
    works.outcome("duplex", pair)


@every_pair
def test_capture_takes_time_in_proportion_to_its_size(pair: str, kubeconfig: str) -> None:
    small = min(number(work("capture", pair, kubeconfig, 32 * MIB), "seconds") for _ in range(2))
    large = number(work("capture", pair, kubeconfig, 256 * MIB), "seconds")
    assert large / small < 24, "eight times as much takes eight times as long; were it quadratic, 64 times"
