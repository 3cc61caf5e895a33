"""Every program of the README and of the documentation runs; every link leads somewhere; examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from tests.documents import ROOT, Block, blocks, pages
from tests.packages import PACKAGES, modules, release

if TYPE_CHECKING:
    from kubex_stream.testing import EmbeddedCluster

PROGRAMS = [block for page in pages() for block in blocks(page) if block.language == "python"]
EXAMPLES = sorted((ROOT / "docs" / "examples").rglob("*.py"))


@pytest.mark.parametrize("block", PROGRAMS, ids=lambda block: block.name)
def test_programs_run(
    block: Block,
    cluster: EmbeddedCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if "V1Pod.from_dict" in block.text and release("kubernetes") < (37,):
        pytest.skip("its models are made in another way before kubernetes 37")
    file = tmp_path / ("test_block.py" if block.is_test_module else "block.py")
    file.write_text("\n" * (block.line - 1) + block.text)  # a traceback shows the page's own line numbers
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.chdir(tmp_path)
    if block.is_test_module:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=dict(os.environ))
        assert done.returncode == 0, done.stdout + done.stderr
        return
    runpy.run_path(str(file), run_name="__main__")
    if block.output is not None:
        assert capfd.readouterr().out == block.output


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run(path: Path, cluster: EmbeddedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_docstring_examples_are_true() -> None:
    for package in PACKAGES:
        for name, path in modules(package):
            if ">>> " in path.read_text():
                assert doctest.testmod(importlib.import_module(name)).failed == 0
