"""Large amounts, each in a client process of its own, against an embedded cluster in another one.

By default, a part of the volume on every backend and every event loop; with ``-m volume``, the whole on all pairs of them.
"""

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

#: Every backend and every event loop, once.
COVERING = ("aiohttp-asyncio", "httpx-trio", "picows-uvloop")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
    pytest.mark.timeout(300),
]
part_and_whole = pytest.mark.parametrize(
    ("pair", "whole"),
    [
        *(pytest.param(pair, False, id=f"{pair}-part") for pair in COVERING),
        *(pytest.param(pair, True, id=f"{pair}-whole", marks=pytest.mark.volume) for pair in PAIRS),
    ],
)
every_pair = pytest.mark.parametrize(
    "pair", [pytest.param(pair, marks=() if pair in COVERING else pytest.mark.volume) for pair in PAIRS]
)
SIZES = {"capture": 256 * MIB, "sleepy": 1024 * MIB, "sleepy_v5": 1024 * MIB, "upload": 256 * MIB, "duplex": 64 * MIB}
#: Still more than memory may grow by, where that is what matters.
PARTS = {"capture": 32 * MIB, "sleepy": 64 * MIB, "sleepy_v5": 64 * MIB, "upload": 48 * MIB, "duplex": 4 * MIB}

Outcome = dict[str, object]


def work(scenario: str, pair: str, kubeconfig: str, size: int) -> Outcome:
    backend, _, loop = pair.partition("-")
    command = [sys.executable, str(WORKER), scenario, backend, loop, kubeconfig, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    outcome: Outcome = json.loads(done.stdout)
    return outcome


class Works:
    """Every scenario, in part or whole, on every pair that has it, several at a time, since some of them sleep."""

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig
        self._pool = ThreadPoolExecutor(5)
        self._futures: dict[tuple[bool, str, str], Future[Outcome]] = {}

    def outcome(self, scenario: str, pair: str, whole: bool) -> Outcome:
        if (whole, scenario, pair) not in self._futures:
            for name, size in (SIZES if whole else PARTS).items():
                for each in PAIRS if whole else COVERING:
                    future = self._pool.submit(work, name, each, self._kubeconfig, size)
                    self._futures[whole, name, each] = future
        outcome = self._futures[whole, scenario, pair].result()
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


@part_and_whole
def test_capture_is_exact_and_takes_little_more_than_its_size(works: Works, pair: str, whole: bool) -> None:
    outcome = works.outcome("capture", pair, whole)
    assert number(outcome, "growth") <= 1.3 * (SIZES if whole else PARTS)["capture"]


@part_and_whole
@pytest.mark.parametrize("scenario", ["sleepy", "sleepy_v5"])
def test_a_consumer_that_sleeps_loses_nothing_and_costs_no_memory(
    works: Works, pair: str, scenario: str, whole: bool
) -> None:
    outcome = works.outcome(scenario, pair, whole)
    assert outcome["code"] == 0
    assert number(outcome, "growth") <= 32 * MIB
    if scenario == "sleepy_v5":
        assert number(outcome, "spooled") > 0


@part_and_whole
def test_upload_with_half_close(works: Works, pair: str, whole: bool) -> None:
    assert number(works.outcome("upload", pair, whole), "growth") <= 32 * MIB


@part_and_whole
def test_full_duplex(works: Works, pair: str, whole: bool) -> None:
    works.outcome("duplex", pair, whole)


@pytest.mark.volume
@every_pair
def test_capture_takes_time_in_proportion_to_its_size(pair: str, kubeconfig: str) -> None:
    small = min(number(work("capture", pair, kubeconfig, 32 * MIB), "seconds") for _ in range(2))
    large = number(work("capture", pair, kubeconfig, 256 * MIB), "seconds")
    assert large / small < 24, "eight times as much takes eight times as long; were it quadratic, 64 times"
