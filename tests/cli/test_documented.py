"""Every ``sh`` block of the command's page does what the page says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import EmbeddedCluster
from tests.cli.conftest import COMMAND, environment
from tests.documents import ROOT, Block, blocks

SCRIPTS = [block for block in blocks(ROOT / "docs" / "command.md") if block.language == "sh"]


@pytest.fixture(scope="module")
def default() -> Iterator[EmbeddedCluster]:
    """The cluster that ``kubex-stream cluster`` runs."""
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


@pytest.mark.parametrize("block", SCRIPTS, ids=lambda block: block.name)
def test_a_script(block: Block, default: EmbeddedCluster, tmp_path: Path) -> None:
    path = os.pathsep.join([str(COMMAND.parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-e", "-c", block.text],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
        env=environment(default.kubeconfig, {"PATH": path}),
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (block.output, 0), done.stderr
