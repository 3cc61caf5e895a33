"""Interactive sessions as a job of a shell, at the terminal that controls them; and the same keys through kubectl."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream.testing import Behaviour, EmbeddedCluster
from tests.conftest import COVERING, Runtime
from tests.packages import ROOT
from tests.terminals import Shell, shell

PROGRAM: Final = ROOT / "tests" / "behaviour" / "interactive_program.py"
REMOTE: Final = ("env", "PS1=@ ", "HISTFILE=/dev/null", "bash", "--norc", "--noprofile", "-i")
#: The prompt, and what readline says to the terminal before it.
PROMPT: Final = r"\n(?:\x1b\[\?2004[hl]|\r)*@ $"


@pytest.fixture
def anyio_backend() -> None:
    """Nothing here runs on an event loop of its own."""


@pytest.fixture
def at(tmp_path: Path, cluster: EmbeddedCluster) -> Iterator[Shell]:
    """A shell that has a kubeconfig; the terminal's mode is the same before and after the test."""
    with shell(tmp_path, {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(ROOT)}) as screen:
        before = screen.stty()
        yield screen
        assert screen.stty() == before


def ours(runtime: Runtime, *command: str) -> str:
    assert runtime.backend is not None
    return shlex.join([sys.executable, str(PROGRAM), runtime.backend, runtime.loop, *command])


def ended(at: Shell) -> int:
    """The exit code that the shell has seen."""
    at.until("% ")
    at.type("echo ended $?\r")
    found = re.search(r"\nended (\d+)\r\n", at.until(r"\nended \d+\r\n% "))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize(
    "each",
    [COVERING[0], *(pytest.param(other, marks=pytest.mark.volume) for other in COVERING[1:])],
    ids=lambda each: f"{each.backend}-{each.loop}",
)
def test_a_job_of_a_shell(at: Shell, each: Runtime) -> None:
    before = at.stty()
    at.type(f"{ours(each, *REMOTE)} & echo pid=$!; fg\r")
    found = re.search(r"pid=(\d+)", at.until(r"pid=(\d+)"))
    assert found is not None
    job = int(found[1])
    at.until("@ $")
    assert at.is_raw
    at.type("trap 'stty size' WINCH; stty size\r")
    at.until(r"[\r\n]24 80\r\n.*@ $")
    at.resize(100, 50)
    at.until(r"50 100\r\n")
    # bash forgets a signal that comes while it runs the trap of one.
    at.type("echo sett''led\r")
    at.until(rf"[\r\n]settled\r{PROMPT}")
    # Stopped from outside, and continued at a window that is another one.
    os.kill(job, signal.SIGTSTP)
    at.until(r"Stopped.*\r\n% ")
    at.resize(80, 24)
    assert at.stty() == before
    at.type("fg\r")
    at.until(r"2[45] 80\r\n")
    assert at.is_raw
    # The size comes in two steps, so that whoever draws draws again; bash may take the two signals for one.
    at.type("until [ \"$(stty size)\" = '24 80' ]; do :; done; echo si''zed\r")
    at.until(r"[\r\n]sized\r\n")
    at.type("exit 7\r")
    assert ended(at) == 7


def test_killed(at: Shell) -> None:
    before = at.stty()
    at.type(f"{ours(Runtime('asyncio', 'httpx'), 'sh', '-c', 'echo ready; exec cat')}\r")
    at.until(r"\nready\r\n")
    assert at.is_raw
    foreground = os.tcgetpgrp(at.master)
    os.kill(foreground, signal.SIGTERM)
    assert ended(at) == 128 + signal.SIGTERM
    assert at.stty() == before


def test_a_connection_that_breaks(tmp_path: Path) -> None:
    behaviour = Behaviour(tcp_reset_after_bytes=2000)
    with EmbeddedCluster(quiet=True, behaviour=behaviour) as cluster:
        with shell(tmp_path, {"KUBECONFIG": str(cluster.kubeconfig), "PYTHONPATH": str(ROOT)}) as at:
            before = at.stty()
            at.type(f"{ours(Runtime('asyncio', 'aiohttp'), 'sh', '-c', 'echo ready; read x; seq 10000')}\r")
            at.until(r"\nready\r\n")
            at.type("go\r")
            at.until("lost: ")
            assert ended(at) == 98
            assert at.stty() == before


# kubectl --------------------------------------------------------------------------------------------------------------

#: Keys, and what comes of them last.  Whoever is to read the next keys has the terminal in its mode by then: what is typed into
#: readline's is not shown by the mode that follows.  And what is on the screen then is the same, in however many pieces the keys came.
SCRIPT: Final = (
    ("stty size\r", rf"[\r\n]24 80\r{PROMPT}"),
    ("echo one twp\x7fo\x01# \x05 end\x17END\r", PROMPT),
    ("printf '\\033[31m%s\\033[0m\\n' 'Grüße 世界'\r", rf"世界\x1b\[0m\r{PROMPT}"),
    ("echo rea''dy; cat\r", r"[\r\n]ready\r\n"),
    ("a line\r", r"a line\r\na line\r\n"),
    ("\x03", rf"\^C\r{PROMPT}"),
    ("seq 100 | less\r", r"\n:.*$"),
    ("G", r"\(END\)"),
    ("q", r"@ $"),
    ("vi -u NONE -N -c 'set ruler' new-file\r", r"All"),
    ("ihello\rworld\x1b:redraw!\r", r"(?s)\x1b\[J.*2,5.*All"),
    (":q!\r", r"@ $"),
    ("echo fini''shed\r", rf"[\r\n]finished\r{PROMPT}"),
)


def screens(at: Shell, command: str) -> list[object]:
    """What is on the screen after each step of the script: characters with their colours, and the cursor."""
    pyte = pytest.importorskip("pyte")
    screen = pyte.Screen(80, 24)
    stream = pyte.Stream(screen)
    at.type(f"{command}\r")
    at.until(PROMPT)
    seen: list[object] = []
    for keys, pattern in SCRIPT:
        at.type(keys)
        stream.feed(at.until(pattern))
        rows = [tuple(screen.buffer[row][column] for column in range(80)) for row in range(24)]
        seen.append((rows, screen.cursor.x, screen.cursor.y))
    at.type("exit 7\r")
    assert ended(at) == 7
    return seen


def test_the_same_screen_as_kubectls(at: Shell, cluster: EmbeddedCluster) -> None:
    for name in ("kubectl", "vi", "less"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} in the PATH")
    remote = shlex.join(["env", "TERM=vt100", "LESS=", *REMOTE[1:]])
    theirs = screens(at, f"kubectl --kubeconfig {cluster.kubeconfig} exec -it demo -- {remote}")
    mine = screens(at, ours(Runtime("asyncio", "aiohttp"), *shlex.split(remote)))
    for step, (one, other) in enumerate(zip(theirs, mine, strict=True)):
        assert one == other, f"after {SCRIPT[step][0]!r}"
