"""Large amounts and large numbers through port-forwards, each in a client process of its own, against an embedded cluster in another one.

A little runs by default, each backend and each scenario over one of the two protocols; the whole with ``-m volume``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.packages import ROOT
from tests.volume.test_volume import MIB, every_pair

WORKER = Path(__file__).with_name("forward_worker.py")

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
    pytest.mark.timeout(300),
]
BOTH = ("tunnel", "legacy")
volume = pytest.mark.volume


def later(count: int, protocols: Sequence[str]) -> list[object]:
    """Parameters for ``-m volume``."""
    return [pytest.param(count, protocol, marks=volume) for protocol in protocols]


def work(scenario: str, protocol: str, pair: str, kubeconfig: str, amount: int) -> dict[str, object]:
    backend, _, loop = pair.partition("-")
    command = [
        sys.executable,
        "-m",
        "tests.volume.forward_worker",
        scenario,
        protocol,
        backend,
        loop,
        kubeconfig,
        str(amount),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    outcome: dict[str, object] = json.loads(done.stdout)
    assert outcome["descriptors"] == 0
    assert outcome.get("tasks", 0) == 0
    return outcome


@pytest.mark.parametrize(
    ("size", "protocol", "scenario"),
    [
        pytest.param(
            size * MIB, protocol, scenario,
            marks=() if size == 16 and (protocol == "tunnel") == (scenario == "duplex_listen") else volume,
        )
        for size in (16, 256)
        for protocol in BOTH
        for scenario in ("duplex", "duplex_listen")
    ],
)  # fmt: skip
@every_pair
def test_both_ways_at_once(scenario: str, pair: str, protocol: str, size: int, kubeconfig: str) -> None:
    outcome = work(scenario, protocol, pair, kubeconfig, size)
    assert outcome["sent"] == outcome["received"]
    growth = outcome["growth"]
    assert isinstance(growth, int)
    assert growth <= 32 * MIB


@pytest.mark.parametrize(("count", "protocol"), [(100, "tunnel"), *later(100, ["legacy"]), *later(2000, BOTH)])
@every_pair
def test_one_after_another(pair: str, protocol: str, count: int, kubeconfig: str) -> None:
    outcome = work("sequential", protocol, pair, kubeconfig, count)
    assert (outcome["answered"], outcome["failures"], outcome["active"]) == (count, 0, 0)


@pytest.mark.parametrize(
    ("count", "protocol"), [(50, "legacy"), *later(50, ["tunnel"]), *later(200, BOTH), *later(1000, BOTH)]
)
@every_pair
def test_all_at_once(pair: str, protocol: str, count: int, kubeconfig: str) -> None:
    outcome = work("burst", protocol, pair, kubeconfig, count)
    assert (outcome["answered"], outcome["failures"], outcome["active"]) == (count, 0, 0)
