"""Interactive sessions at a pseudo-terminal of the application's own, on every backend and event loop."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator

import pytest

from kubex_stream import InteractiveResult, Pods, ProcessError, StartError
from kubex_stream.testing import EmbeddedCluster
from tests.conftest import MakeClient
from tests.terminals import Pty, is_raw, session

pytestmark = pytest.mark.anyio

SHELL = ["env", "PS1=% ", "sh", "-i"]


@pytest.fixture
async def pods(make_client: MakeClient, cluster: EmbeddedCluster) -> AsyncGenerator[Pods, None]:
    async with make_client(cluster.configuration) as client:
        yield Pods(client)


async def test_a_shell(pods: Pods) -> None:
    with Pty(columns=91, rows=33) as pty:
        async with session(pty, pods.exec.interactive, "demo", SHELL) as running:
            await pty.until(b"% ")
            assert is_raw(pty.slave)
            pty.type(b"stty size\r")
            await pty.until(b"33 91\r\n% ")
            pty.type(b"echo one twp\x7fo\r")  # the remote terminal's editing
            await pty.until(b"\none two\r\n% ")
            pty.type(b"sh -c 'echo begun; exec sleep 1000000'\r")
            await pty.until(b"\nbegun\r\n")
            pty.type(b"\x03")
            await pty.until(b"% ")
            pty.type("printf '\\033[31m%s\\033[0m\\n' Grüße\r".encode())
            await pty.until("\n\033\\[31mGrüße\033\\[0m\r\n".encode())
            pty.type(b"exit 7\r")
            result = await running.end()
    assert result.exit_code == 7
    assert not result.detached
    assert result.status is not None
    assert result.statistics.bytes_in > 0


async def test_the_end_of_input_key(pods: Pods) -> None:
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["cat"]) as running:
            pty.type(b"hello\r")
            await pty.until(b"hello\r\nhello\r\n")
            pty.type(b"\x04")
            assert (await running.end()).exit_code == 0


async def test_sizes_follow_and_the_last_one_wins(pods: Pods) -> None:
    script = "trap 'stty size' WINCH; echo ready; while :; do sleep .01; done"
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["sh", "-c", script]):
            await pty.until(b"ready\r\n")
            for width in range(100, 140):
                pty.resize(width, 50)
            await pty.until(b"50 139\r\n")
            pty.resize(0, 0)  # as some programs do when they give a window back; nobody can draw on it
            pty.resize(81, 25)
            await pty.until(b"25 81\r\n")


async def test_a_terminal_without_a_size_tells_none(pods: Pods) -> None:
    with Pty(columns=0) as pty:
        async with session(pty, pods.exec.interactive, "demo", ["stty", "size"]) as running:
            assert (await running.end()).exit_code == 0
            await pty.until(b"0 0\r\n")


async def test_detach_keys(pods: Pods, cluster: EmbeddedCluster) -> None:
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["cat"], detach_keys="ctrl-p,ctrl-q") as running:
            pty.type(b"a\x10")
            await pty.until(b"a")
            pty.type(b"b\r")  # not the keys, so the first of them goes too
            await pty.until(rb"\^Pb\r\na\x10b\r\n")
            pty.type(b"last\r\x10\x11for the next reader\r")
            result = await running.end()
            assert pty.left() == b"for the next reader"
    assert result.detached
    assert result.exit_code is None
    assert result.status is None
    result.check_returncode()
    left = [each for each in cluster.processes() if "cat" in each.command]
    assert left, "detaching leaves it running"
    for each in left:
        os.kill(each.pid, 9)


async def test_what_is_typed_behind_the_end_is_for_the_next_reader(pods: Pods) -> None:
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["true"]) as running:
            await running.end()
            pty.type(b"echo mine\r")
            assert pty.left() == b"echo mine"


async def test_a_terminal_that_hangs_up_is_the_end_of_input(pods: Pods) -> None:
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["sh", "-c", "echo ready; cat; exit 5"]) as running:
            await pty.until(b"ready")
            pty.hang_up()
            assert (await running.end()).exit_code == 5


async def test_cancelling(pods: Pods) -> None:
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["cat"], on_cancel="kill") as running:
            pty.type(b"hello\r")
            await pty.until(b"hello\r\nhello\r\n")
            assert is_raw(pty.slave)
            running.cancel()
    assert running.result is None
    assert running.error is None


async def test_a_command_that_does_not_start(pods: Pods) -> None:
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["no-such-program"]) as running:
            with pytest.raises(StartError, match="no-such-program"):
                await running.end()


async def test_an_exit_code_is_a_result_unless_it_is_checked(pods: Pods) -> None:
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["sh", "-c", "exit 3"], check=True) as running:
            with pytest.raises(ProcessError) as caught:
                await running.end()
    assert caught.value.exit_code == 3
    assert isinstance(caught.value.result, InteractiveResult)


async def test_one_session_at_a_time_has_a_terminal(pods: Pods) -> None:
    with Pty() as pty:
        async with session(pty, pods.exec.interactive, "demo", ["cat"]) as running:
            pty.type(b"hello\r")
            await pty.until(b"hello\r\nhello\r\n")
            with pytest.raises(RuntimeError, match="already"):
                await pods.exec.interactive("demo", ["true"], terminal=pty.terminal)
            assert is_raw(pty.slave)
            pty.type(b"\x04")
            assert (await running.end()).exit_code == 0


async def test_a_full_screen_program(pods: Pods) -> None:
    if shutil.which("less") is None:
        pytest.skip("no less in the PATH")
    # The process may begin before its terminal has been given its size.
    script = 'seq 500 >numbers; until [ "$(stty size)" = "10 40" ]; do :; done; TERM=xterm LESS= exec less numbers'
    with Pty(columns=40, rows=10) as pty:
        async with session(pty, pods.exec.interactive, "demo", ["sh", "-c", script]) as running:
            screen = await pty.until(b"numbers")
            assert b"9\r\n" in screen.replace(b"\x1b[m", b"")
            assert b"10" not in screen.partition(b"1\r\n")[2], "nine lines and the prompt"
            pty.type(b"G")
            await pty.until(b"500\r\n")
            pty.type(b"q")
            assert (await running.end()).exit_code == 0
