"""Large amounts and large numbers through port-forwards, each in a client process of its own, against an embedded cluster in another one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packages import ROOT
from tests.volume.test_volume import MIB, every_pair

WORKER = Path(__file__).with_name("forward_worker.py")

pytestmark = [
    pytest.mark.volume,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
    pytest.mark.timeout(300),
]
both = pytest.mark.parametrize("protocol", ["tunnel", "legacy"])


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


@pytest.mark.parametrize("scenario", ["duplex", "duplex_listen"])
@both
@every_pair
def test_both_ways_at_once(scenario: str, pair: str, protocol: str, kubeconfig: str) -> None:
    outcome = work(scenario, protocol, pair, kubeconfig, 256 * MIB)
    assert outcome["sent"] == outcome["received"]
    growth = outcome["growth"]
    assert isinstance(growth, int)
    assert growth <= 32 * MIB


@both
@every_pair
def test_one_after_another(pair: str, protocol: str, kubeconfig: str) -> None:
    outcome = work("sequential", protocol, pair, kubeconfig, 2000)
    assert (outcome["answered"], outcome["failures"], outcome["active"]) == (2000, 0, 0)


@pytest.mark.parametrize("count", [200, 1000])
@both
@every_pair
def test_all_at_once(pair: str, protocol: str, count: int, kubeconfig: str) -> None:
    outcome = work("burst", protocol, pair, kubeconfig, count)
    assert (outcome["answered"], outcome["failures"], outcome["active"]) == (count, 0, 0)
