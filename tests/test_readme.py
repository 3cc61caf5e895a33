"""The README's promises: a sentence, two commands that touch nothing but their own environment, and CI that runs the same."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import Final

import pytest

from tests.documents import README, ROOT, Block, blocks

COMMANDS: Final = [block for block in blocks(README) if block.language == "sh"]


def test_it_begins_with_one_sentence_and_two_commands() -> None:
    title, _, sentence = README.read_text().splitlines()[:3]
    assert title.startswith("# ")
    assert sentence.endswith(".")
    assert sentence.count(". ") == 0
    assert len(COMMANDS) == 2
    assert all(block.line <= 30 for block in COMMANDS)
    assert all(block.text.count("\n") == 1 for block in COMMANDS)


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.name)
def test_a_command_makes_its_own_environment_and_uses_nothing_else(block: Block) -> None:
    parts = [shlex.split(part) for part in block.text.split(" && ")]
    assert parts[0] == ["python3", "-m", "venv", ".venv"]
    assert parts[1][:3] == [".venv/bin/pip", "install", "-q"]
    assert all(part[0].startswith(".venv/bin/") for part in parts[1:])


def test_the_first_runs_a_process_and_the_second_the_tests() -> None:
    first, second = (shlex.split(block.text.rpartition(" && ")[2]) for block in COMMANDS)
    assert first[:5] == [".venv/bin/kubex-stream", "--embedded", "exec", "demo", "--"]
    assert second == [".venv/bin/pytest", "-n", "auto"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_ci_runs_these_commands() -> None:
    script = [shutil.which("bash") or "bash", str(ROOT / ".ci/run"), "--readme"]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=60, stdin=subprocess.DEVNULL)
    assert done.stdout.splitlines() == [block.text.rstrip("\n") for block in COMMANDS]


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell here")
@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.name)
def test_a_command_is_what_a_plain_shell_takes(block: Block) -> None:
    subprocess.run(["sh", "-n", "-c", block.text], check=True, timeout=60)
