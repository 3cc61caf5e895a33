"""What all volume tests are measured against."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator

import pytest


@pytest.fixture(scope="module")
def kubeconfig() -> Generator[str, None, None]:
    """The kubeconfig of an embedded cluster in a process of its own."""
    command = [sys.executable, "-m", "kubex_stream.testing"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
            server.wait(30)
