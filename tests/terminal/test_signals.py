"""What becomes of the terminal when signals come, with a shell in between as users have it."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

if sys.platform == "win32":
    pytest.skip("terminals are POSIX", allow_module_level=True)

from tests.packages import ROOT
from tests.terminals import Shell, shell

PROGRAM: Final = ROOT / "tests" / "terminal" / "program.py"
#: All of them stop and continue a session in the default run.
LOOPS: Final = ("asyncio", *(pytest.param(loop, marks=pytest.mark.volume) for loop in ("uvloop", "trio")))


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Shell]:
    """A shell; the terminal's mode is the same before and after the test."""
    with shell(tmp_path, {}) as at:
        before = at.stty()
        yield at
        at.resize(80, 24)
        assert at.stty() == before


def start(terminal: Shell, loop: str = "asyncio", how: str = "nothing") -> int:
    """Start the program in the foreground, as a job of its own; its process id."""
    terminal.type(f"{shlex.quote(sys.executable)} {PROGRAM} {loop} {how}\r")
    found = re.search(r"<ready (\d+)>\r\n$", terminal.until(r"<ready \d+>\r\n"))
    assert found is not None
    assert terminal.is_raw
    return int(found[1])


def ended(terminal: Shell) -> int:
    """The exit code that the shell has seen."""
    terminal.until("% ")
    terminal.type("echo ended $?\r")
    found = re.search(r"\nended (\d+)\r\n", terminal.until(r"\nended \d+\r\n% "))
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("loop", LOOPS)
def test_a_session_that_ends(terminal: Shell, loop: str) -> None:
    start(terminal, loop)
    terminal.type("\x03")
    terminal.until(r"<key b'\\x03'>")
    terminal.resize(100, 50)
    terminal.until(r"<news \(100, 50\) False>")
    terminal.type("q")
    assert ended(terminal) == 0


@pytest.mark.parametrize(
    ("loop", "number", "code"),
    [
        ("asyncio", signal.SIGTERM, 143),
        pytest.param("uvloop", signal.SIGTERM, 143, marks=pytest.mark.volume),
        pytest.param("trio", signal.SIGTERM, 143, marks=pytest.mark.volume),
        ("asyncio", signal.SIGHUP, 129),
        ("asyncio", signal.SIGQUIT, 131),
        ("asyncio", signal.SIGINT, 130),
        ("trio", signal.SIGINT, 1),  # a group of exceptions
    ],
)
def test_a_signal_ends_the_process_as_ever(terminal: Shell, loop: str, number: signal.Signals, code: int) -> None:
    os.kill(start(terminal, loop), number)
    assert ended(terminal) == code


@pytest.mark.parametrize(("how", "code"), [("leaves", {1, 3}), ("leaves-at-once", {4}), ("cancels", {0})])
def test_the_application_ends_itself_at_a_signal(terminal: Shell, how: str, code: set[int]) -> None:
    os.kill(start(terminal, how=how), signal.SIGTERM)
    assert ended(terminal) in code  # in a task group, the exception of sys.exit() becomes one of a group, and so 1


def test_the_application_goes_on_after_a_signal(terminal: Shell) -> None:
    process = start(terminal, how="returns")
    os.kill(process, signal.SIGTERM)
    terminal.until(r"<handled 15 in frame>")
    terminal.type("a")
    terminal.until(r"<key b'a'>")
    assert terminal.is_raw
    terminal.type("q")
    assert ended(terminal) == 0


def test_an_error(terminal: Shell) -> None:
    start(terminal)
    terminal.type("x")
    terminal.until("ZeroDivisionError")
    assert ended(terminal) == 1


def test_a_forked_child_leaves_the_terminal_alone(terminal: Shell) -> None:
    start(terminal)
    terminal.type("f")
    terminal.until("<key b'f'>")
    assert terminal.is_raw
    terminal.type("q")
    assert ended(terminal) == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_stopped_and_continued(terminal: Shell, loop: str) -> None:
    before = terminal.stty()
    process = start(terminal, loop)
    os.kill(process, signal.SIGTSTP)
    terminal.until("Stopped.*\n")
    assert terminal.stty() == before
    terminal.resize(120, 40)  # nobody tells those who are stopped
    terminal.type("fg\r")
    terminal.until(r"<news \(120, 40\) True>")
    assert terminal.is_raw
    terminal.type("a")
    terminal.until("<key b'a'>")
    # In the background it is stopped at once, since the terminal is the shell's.
    os.kill(process, signal.SIGTSTP)
    terminal.until("Stopped.*\n")
    terminal.type("bg\r")
    terminal.until(r"\[1\].*\r\n")
    terminal.type("wait %1; jobs\r")
    terminal.until(r"Stopped.*\n.*% ")
    terminal.type("stty cols 99; fg\r")
    terminal.until(r"<news \(99, 40\) True>")
    # Nothing can be done before SIGSTOP: this shell finds raw mode, where Enter is no newline, and it is not taken for what was before.
    os.kill(process, signal.SIGSTOP)
    terminal.until("Stopped.*\n")
    terminal.type("fg\n")
    terminal.until(r"<news \(99, 40\) True>")
    assert terminal.is_raw
    terminal.type("q")
    terminal.until("% ")


def test_sizes_are_looked_at_where_no_signal_can_come(terminal: Shell) -> None:
    start(terminal, how="thread")
    terminal.resize(101, 51)
    terminal.until(r"<news \(101, 51\) False>")
    terminal.type("q")
    assert ended(terminal) == 0
