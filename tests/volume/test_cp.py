"""Large copies, each in a client process of its own, against an embedded cluster in another one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.copies import listing

MIB = 1024 * 1024
WORKER = Path(__file__).with_name("cp_worker.py")
FILES = 20_000

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
    pytest.mark.timeout(300),
    pytest.mark.volume,
]
each_backend = pytest.mark.parametrize("pair", ["aiohttp-asyncio", "httpx-trio", "picows-uvloop"])
both_ways = pytest.mark.parametrize("scenario", ["upload", "download"])


def work(scenario: str, pair: str, kubeconfig: str, directory: Path) -> dict[str, float]:
    backend, _, loop = pair.partition("-")
    command = [sys.executable, str(WORKER), scenario, backend, loop, kubeconfig, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    outcome: dict[str, float] = json.loads(done.stdout)
    return outcome


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@both_ways
@each_backend
def test_a_gibibyte_takes_no_memory(pair: str, scenario: str, kubeconfig: str, tmp_path: Path) -> None:
    with open("/dev/urandom", "rb") as random, (tmp_path / "source").open("wb") as source:
        for _ in range(1024):
            source.write(random.read(MIB))
    outcome = work(scenario, pair, kubeconfig, tmp_path)
    assert digest(tmp_path / "there") == digest(tmp_path / "source")
    assert outcome["growth"] <= 32 * MIB
    (tmp_path / "there").unlink()
    (tmp_path / "source").unlink()


@both_ways
@each_backend
def test_20_000_small_files(pair: str, scenario: str, kubeconfig: str, tmp_path: Path) -> None:
    for number in range(FILES):
        if number % 200 == 0:
            (tmp_path / "source" / f"{number}").mkdir(parents=True)
        (tmp_path / "source" / f"{number // 200 * 200}" / f"{number}").write_bytes(b"%d" % number * (number % 50))
    outcome = work(scenario, pair, kubeconfig, tmp_path)
    assert (outcome["files"], outcome["checked"]) == (FILES, FILES)
    assert listing(tmp_path / "there") == listing(tmp_path / "source")
