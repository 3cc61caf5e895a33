"""The ``kubernetes`` and ``kubernetes_asyncio`` packages against the embedded cluster."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kubex_stream.testing import EmbeddedCluster

PROGRAM = Path(__file__).with_name("other_client.py")


def _ask(client: str, cluster: EmbeddedCluster) -> Any:
    if importlib.util.find_spec(client) is None:
        pytest.skip(f"the {client} package is not installed")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", PROGRAM, client, cluster.kubeconfig],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_kubernetes(embedded: EmbeddedCluster) -> None:
    assert _ask("kubernetes", embedded) == {
        "pods": ["demo"],
        "exec": ["out\n", "err\n", 7],
        "stdin": ["hello\n", 0],
        "watch": [["ADDED", "demo"]],
    }


def test_kubernetes_asyncio(embedded: EmbeddedCluster) -> None:
    assert _ask("kubernetes_asyncio", embedded) == {"pods": ["demo"], "text": ["err", "out"], "code": 7}
