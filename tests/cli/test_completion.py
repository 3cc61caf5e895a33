"""What a shell offers behind TAB: the words of this moment, and never an error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import EmbeddedCluster
from tests.cli.conftest import COMMAND, KUBECONFIG, Run, environment

#: What bash asks with, and what it is to get.
WORDS: Final[dict[tuple[str, ...], set[str]]] = {
    ("a",): {"attach"},
    ("exec", ""): {"annotated", "demo", "two"},
    ("exec", "d"): {"demo"},
    ("exec", "pod/d"): {"pod/demo"},
    ("-n", "other", "attach", ""): {"elsewhere"},
    ("port-forward", "-n", "other", ""): {"elsewhere"},
    ("exec", "two", "-c", ""): {"first", "second"},
    ("exec", "--namespace", "o"): {"other"},
    ("cp", "t"): {"two:"},
    ("cp", "here", "two:/tmp", "-c", ""): {"first", "second"},
    ("--context", ""): {"embedded"},
    ("exec", "--user", ""): {"embedded"},
    ("exec", "--backend", "a"): {"aiohttp"},
    ("exec", "--cont"): {"--container", "--context"},
    ("exec", "demo", "--", ""): set(),
    ("completion", "z"): {"zsh"},
}

#: Asks for the words of several lines, which are JSON on stdin, one after the other.
ASK: Final = """
import json, os, sys
from kubex_stream.cli import main
for words in json.load(sys.stdin):
    os.environ |= {"COMP_WORDS": "\\n".join(["kubex-stream", *words]), "COMP_CWORD": str(len(words))}
    assert main([]) == 0
    print("-", flush=True)
"""


def completed(lines: list[tuple[str, ...]], kubeconfig: Path | None) -> list[set[str]]:
    """What the command gives a bash that completes the last word of each line."""
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(lines), capture_output=True, text=True, timeout=100, check=True,
        env=environment(kubeconfig, {"_KUBEX_STREAM_COMPLETE": "complete_bash"}),
    )  # fmt: skip
    assert done.stderr == ""
    return [set(each.split()) for each in done.stdout.split("-\n")[:-1]]


def test_words(pods: EmbeddedCluster) -> None:
    assert dict(zip(WORDS, completed(list(WORDS), pods.kubeconfig), strict=True)) == WORDS


@pytest.mark.parametrize("trouble", ["nobody listens", "no kubeconfig", "not YAML"])
def test_trouble_is_nobodys_business(tmp_path: Path, trouble: str) -> None:
    texts = {"nobody listens": KUBECONFIG.format("https://127.0.0.1:1"), "not YAML": "{"}
    file = tmp_path / "config"
    if trouble in texts:
        file.write_text(texts[trouble])
    assert completed([("exec", ""), ("--context", "dev"), ("exec", "demo", "-c", "")], file) == [set(), set(), set()]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash in the PATH")
def test_a_bash_that_reads_the_script(pods: EmbeddedCluster) -> None:
    script = """
    source <("$0" completion bash)
    complete -p kubex-stream
    COMP_WORDS=(kubex-stream exec tw) COMP_CWORD=2
    _kubex_stream_completion "$0"
    printf '%s\\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script, str(COMMAND)],
        capture_output=True, text=True, timeout=60, check=False, env=environment(pods.kubeconfig),
    )  # fmt: skip
    declared, *words = done.stdout.splitlines()
    assert "_kubex_stream_completion kubex-stream" in declared
    assert (words, done.stderr) == (["two"], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_scripts(parse: Run, shell: str) -> None:
    done = parse("completion", shell)
    assert b"_KUBEX_STREAM_COMPLETE" in done.stdout
    assert f"complete_{shell}".encode() in done.stdout
    assert (done.stderr, done.returncode) == (b"", 0)
    assert "_KUBEX_STREAM_COMPLETE" not in os.environ


@pytest.mark.parametrize("arguments", [(), ("csh",), ("bash", "zsh")])
def test_no_such_shell(parse: Run, arguments: tuple[str, ...]) -> None:
    done = parse("completion", *arguments)
    assert (done.stdout, done.returncode) == (b"", 1)
    assert b"rror: " in done.stderr
