"""``exec -it`` and ``attach -it`` at a terminal: what the user sees, and that the shell gets its terminal back."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("a terminal here is a POSIX one", allow_module_level=True)

from kubex_stream.testing import EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.cli.conftest import COMMAND, Run
from tests.terminals import Shell, shell

#: A main process that talks, on a terminal.
TALK = ["sh", "-c", "while read -r line; do echo got $line; test $line = end && exit 5; done"]
REMOTE = "env PS1='> ' sh -i"
#: Says when it can be interrupted.
FOREVER = "sh -c 'echo begun; exec sleep 1000000'"


@pytest.fixture(scope="module")
def talkers() -> Iterator[EmbeddedCluster]:
    """A pod for commands, and one whose main process talks on a terminal."""
    pods = (
        EmbeddedPod("demo"),
        EmbeddedPod("talks", containers=(EmbeddedContainer("main", command=TALK, stdin=True, tty=True),)),
    )
    with EmbeddedCluster(pods, quiet=True) as cluster:
        yield cluster


@pytest.fixture
def bash(talkers: EmbeddedCluster, tmp_path: Path) -> Iterator[Shell]:
    """A shell at a terminal, where ``k`` is the command."""
    with shell(tmp_path, {"KUBECONFIG": str(talkers.kubeconfig), "k": str(COMMAND)}) as at:
        yield at


def code_of(at: Shell) -> int:
    """The exit code of what the shell has run."""
    at.type("echo code $?\r")
    return int(at.until(r"code \d+\r").rpartition(" ")[2])


def test_a_shell_in_a_container(bash: Shell) -> None:
    before = bash.stty()
    bash.type(f'"$k" exec -it demo -- {REMOTE}\r')
    bash.until("\n> ")
    assert bash.is_raw
    bash.type("stty size\r")
    bash.until("24 80\r\n> ")
    bash.resize(101, 31)
    bash.type(f"{FOREVER}\r")
    bash.until("\nbegun\r\n")
    bash.type("\x03")
    bash.until("> ")
    bash.type("stty size\r")
    bash.until("31 101\r\n> ")
    bash.type("exit 7\r")
    bash.until("command terminated with exit code 7\r\n")
    assert code_of(bash) == 7
    bash.resize(80, 24)
    bash.until("% ")
    assert bash.stty() == before


#: What is typed, and what the screen shows when it is time to go on.
KEYS = (
    ("stty size\r", r"24 80\r\n> "),
    ("echo abd\x7fc\r", r"\nabc\r\n> "),
    ("echo rea''dy; cat\r", r"\nready\r\n"),
    ("line\r", r"line\r\nline\r\n"),
    ("\x04", r"> "),
    (f"{FOREVER}\r", r"\nbegun\r\n"),
    ("\x03", r"\^C.*> "),
    ("printf '\\033[1;31mred\\033[0m\\n'\r", r"\x1b\[1;31mred\x1b\[0m\r\n> "),
    ("exit 7\r", r"command terminated with exit code 7\r\n% "),
)


@pytest.mark.volume  # the default run has a longer script, through the API
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: nothing to compare with")
def test_the_screen_is_kubectls(bash: Shell) -> None:
    screens = []
    for program in ("kubectl", '"$k"'):
        bash.type(f"{program} exec -it demo -- {REMOTE}\r")
        bash.until("\n> ")
        seen = ""
        for keys, pattern in KEYS:
            bash.type(keys)
            seen += bash.until(f"(?s){pattern}")
        screens.append(seen)
    assert screens[0] == screens[1]


def test_detaching_from_a_command(bash: Shell, talkers: EmbeddedCluster) -> None:
    before = bash.stty()
    bash.type(f'"$k" exec -it --detach-keys ctrl-p,ctrl-q demo -- {REMOTE}\r')
    bash.until("\n> ")
    bash.type("echo one\r")
    bash.until("\none\r\n> ")
    bash.type("\x10\x11")
    bash.until("\nDetached; the command goes on.\r\n")
    assert code_of(bash) == 0
    assert bash.stty() == before
    assert talkers.processes("demo")


def test_a_container_that_has_a_terminal(bash: Shell) -> None:
    before = bash.stty()
    bash.type('"$k" attach -it --detach-keys ctrl-p,ctrl-q talks\r')
    bash.until("If you don't see a command prompt, try pressing enter.\r\n")
    bash.type("one\r")
    bash.until("\ngot one\r\n")
    bash.type("\x10\x11")
    bash.until("\nDetached; resume with: kubex-stream attach talks -n default -c main -i -t\r\n")
    assert code_of(bash) == 0
    bash.until("% ")
    assert bash.stty() == before
    bash.type('"$k" attach -i -q talks\r')  # the container says that it is a terminal
    bash.type("two\r")
    bash.until("\ngot two\r\n")
    bash.type("end\r")
    bash.until("\ngot end\r\n% ")
    assert code_of(bash) == 0
    bash.until("% ")
    assert bash.stty() == before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(bash: Shell, number: signal.Signals) -> None:
    before = bash.stty()
    bash.type(f"""sh -c 'echo pid $$; exec "$k" exec -it demo -- "$@"' sh {REMOTE}\r""")
    pid = int(bash.until(r"\npid \d+\r").rpartition(" ")[2])
    bash.until("\n> ")
    assert bash.is_raw
    os.kill(pid, number)
    bash.until("% ")
    assert code_of(bash) == 128 + number
    bash.until("% ")
    assert bash.stty() == before


def test_output_that_goes_elsewhere(bash: Shell, tmp_path: Path) -> None:
    bash.type(f'"$k" exec -it demo -- echo hello > {shlex.quote(str(tmp_path / "out"))}\r')
    bash.until("\n% ")
    assert code_of(bash) == 0
    assert (tmp_path / "out").read_bytes() == b"hello\r\n"


WITHOUT = b"Unable to use a TTY - input is not a terminal or the right kind of file\n"


def test_a_terminal_that_is_none(run: Run, talkers: EmbeddedCluster) -> None:
    done = run("exec", "-it", "demo", "--", "sh", "-c", "cat; tty", input=b"in\n", cluster=talkers)
    assert (done.stdout, done.returncode) == (b"in\nnot a tty\n", 1)
    assert done.stderr == WITHOUT + b"command terminated with exit code 1\n"


@pytest.mark.parametrize(("options", "said"), [(("-t",), b""), (("-itq",), b""), (("-i", "--tty"), WITHOUT)])
def test_what_is_said_about_it(
    at: Callable[[EmbeddedCluster], Run], talkers: EmbeddedCluster, options: tuple[str, ...], said: bytes
) -> None:
    # It reads the end of its input, so that it does not end while that is on its way, which is told.
    done = at(talkers)("exec", *options, "demo", "--", "sh", "-c", "cat; echo x")
    assert (done.stdout, done.stderr, done.returncode) == (b"x\n", said, 0)


@pytest.mark.parametrize("keys", ["", "ctrl-1", "ctrl-p,"])
@pytest.mark.parametrize("verb", [("exec", "--", "true"), ("attach",)])
def test_keys_that_are_none(parse: Run, keys: str, verb: tuple[str, ...]) -> None:
    done = parse(verb[0], "demo", "--detach-keys", keys, *verb[1:])
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: --detach-keys ")
