"""The command as a whole: version, help, backends, the embedded cluster, and an installation without extras."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import __version__
from tests.cli.conftest import Run


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.stdout.decode(), done.stderr, done.returncode) == (f"kubex-stream {__version__}\n", b"", 0)


@pytest.mark.parametrize(
    "arguments",
    [(), ("--help",), ("exec", "--help"), ("port-forward", "--help"), ("cluster", "--help"), ("backends", "--help")],
)
def test_help(parse: Run, arguments: tuple[str, ...]) -> None:
    done = parse(*arguments)
    assert done.stdout.startswith(b"Usage: kubex-stream")
    assert (done.stderr, done.returncode) == (b"", 0)


def test_there_is_no_verb_without_a_function(run: Run) -> None:
    verbs = run("--help").stdout.decode().partition("Commands:")[2]
    assert [line.split()[0] for line in verbs.strip().splitlines()] == ["exec", "port-forward", "cluster", "backends"]


def test_backends(run: Run) -> None:
    done = run("backends")
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    assert rows == [
        ["NAME", "AVAILABLE", "EVENT", "LOOPS"],
        ["aiohttp", "yes", "asyncio"],
        ["httpx", "yes", "asyncio,", "trio"],
        ["picows", "yes", "asyncio"],
    ]
    assert (done.stderr, done.returncode) == (b"", 0)


def test_an_embedded_cluster_inside_of_the_command(run: Run) -> None:
    done = run("--embedded", "exec", "-i", "demo", "--", "sh", "-c", "cat; exit 4", input=b"hello", cluster=None)
    assert (done.stdout, done.returncode) == (b"hello", 4)
    warning, message = done.stderr.decode().splitlines()
    assert "runs commands on this machine" in warning
    assert message == "command terminated with exit code 4"
