"""The command as a whole: version, help, backends, the embedded cluster, and an installation without extras."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import __version__
from tests.cli.conftest import COMMAND, Run

VERBS = ["exec", "attach", "port-forward", "cp", "logs", "watch", "cluster", "backends", "completion"]


def test_version(run: Run) -> None:
    done = run("--version")
    assert (done.stdout.decode(), done.stderr, done.returncode) == (f"kubex-stream {__version__}\n", b"", 0)


@pytest.mark.parametrize(
    "arguments",
    [(), ("-h",), *((verb, option) for verb in VERBS for option in ("-h", "--help"))],
)
def test_help(parse: Run, arguments: tuple[str, ...]) -> None:
    done = parse(*arguments)
    assert done.stdout.decode().startswith(f"Usage: kubex-stream {arguments[0] if len(arguments) > 1 else ''}")
    assert (done.stderr, done.returncode) == (b"", 0)


def test_a_command_without_a_verb(parse: Run) -> None:
    done = parse("--", "exec", "demo")
    assert (done.stdout, done.returncode) == (b"", 1)
    assert done.stderr == b"error: name the verb before the --, as in exec demo -- date\n"


def test_there_is_no_verb_without_a_function(parse: Run) -> None:
    verbs = sections(parse("--help"))["Commands"]
    assert [line.split()[0] for line in verbs] == VERBS


def test_the_help_of_all_has_every_global_option_in_its_group(parse: Run) -> None:
    found = sections(parse("--help"))
    assert {name for line in found["Global options"] for name in options(line)} == {
        "--namespace", "--context", "--kubeconfig", "--embedded", "--backend", "--verbose",
    }  # fmt: skip
    assert {name for line in found["Global options: the server"] for name in options(line)} == {
        "--server", "--cluster", "--certificate-authority", "--insecure-skip-tls-verify", "--tls-server-name", "--proxy-url",
        "--request-timeout",
    }  # fmt: skip
    assert {name for line in found["Global options: who you are"] for name in options(line)} == {
        "--user", "--token", "--client-certificate", "--client-key", "--as", "--as-group", "--as-uid",
    }  # fmt: skip


@pytest.mark.parametrize("verb", ["exec", "attach", "port-forward", "cp"])
def test_the_help_of_a_verb_shows_its_own_options_first_and_the_common_ones(parse: Run, verb: str) -> None:
    done = parse(verb, "--help")
    found = sections(done)
    assert list(found)[-2:] == ["Options", "Global options"]
    assert ("--retries" if verb == "cp" else "--pod-running-timeout") in {
        name for line in found["Options"] for name in options(line)
    }
    assert b"--token" not in done.stdout
    assert b"Examples:" in done.stdout
    assert done.stdout.rstrip().endswith(b"All global options: kubex-stream --help")


@pytest.mark.parametrize(
    ("variables", "colour", "boxes"),
    [({}, True, True), ({"NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, True)],
)
def test_help_at_a_terminal(variables: dict[str, str], colour: bool, boxes: bool) -> None:
    text = at_a_terminal("exec", "--help", **variables)
    assert (re.search(r"\x1b\[[0-9;]*3[0-7]m", text) is not None) == colour
    assert ("─" in text) == boxes
    assert "kubex-stream exec -it demo -- bash" in without_colours(text)


def test_an_error_at_a_terminal_says_what_is_wrong() -> None:
    assert "--nope" in without_colours(at_a_terminal("exec", "--nope"))


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def sections(done: subprocess.CompletedProcess[bytes]) -> dict[str, list[str]]:
    """The lines of plain help, by their headline."""
    found: dict[str, list[str]] = {}
    for line in done.stdout.decode().splitlines():
        if (headline := re.fullmatch(r"(\S.*):", line)) is not None:
            found[headline[1]] = []
        elif found and line.strip():
            found[list(found)[-1]].append(line)
    return found


def options(line: str) -> list[str]:
    """The long options that a line of help declares."""
    return re.findall(r"^  (?:-\w, )?(--[a-z-]+)", line)


def at_a_terminal(*arguments: str, **variables: str) -> str:
    """What the command draws."""
    master, slave = os.openpty()
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    with subprocess.Popen(
        [COMMAND, *arguments], stdin=slave, stdout=slave, stderr=slave, env={**env, "TERM": "xterm", **variables}
    ) as process:
        os.close(slave)
        drawn = b""
        with open(master, "rb", buffering=0) as screen, suppress(OSError):  # EIO is a terminal's end
            while piece := screen.read(65536):
                drawn += piece
        process.wait(30)
    return drawn.decode()


def test_backends(here: Run) -> None:
    done = here("backends")
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
