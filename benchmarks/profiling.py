"""``--profile SCENARIO/CLIENT``: one measurement under py-spy where that is installed, otherwise under cProfile; its top is printed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.plan import Chain
from benchmarks.runner import Settings, job_of
from benchmarks.targets import Target

__all__ = ("profile",)

_TOP: Final = 25


def profile(chains: Sequence[Chain], wanted: str, target: Target) -> int:
    """Profile one link of one chain: the exit code."""
    name, _, key = wanted.partition("/")
    chain = next((chain for chain in chains if chain.name == name), None)
    if chain is None or key not in (keys := [link.key for link in chain.links]):
        there = ", ".join(keys) if chain is not None else ", ".join(chain.name for chain in chains)
        sys.stderr.write(
            f"there is no {'client' if chain is not None else 'scenario'} of that name; there are: {there}\n"
        )
        return 2
    job = job_of(chain, chain.link(key), target, Settings()).to_json()
    if shutil.which("py-spy") is None:
        command = [sys.executable, "-m", "benchmarks.worker", "--profile"]
        return subprocess.run(command, input=job, text=True, check=False).returncode
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "stacks")
        command = ["py-spy", "record", "--native", "--format", "raw", "--rate", "500", "--output", str(path), "--"]
        ended = subprocess.run([*command, sys.executable, "-m", "benchmarks.worker"], input=job, text=True, check=False)
        if path.exists():
            sys.stdout.write(top(path.read_text()))
    return ended.returncode


def top(stacks: str) -> str:
    """The innermost functions of collapsed stacks, with their shares of the samples."""
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        found[stack.rpartition(";")[2]] += int(count)
    whole = sum(found.values()) or 1
    return "".join(f"{count / whole:7.1%}  {function}\n" for function, count in found.most_common(_TOP))
