"""Interactive sessions on a real cluster."""

from __future__ import annotations

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("terminals are POSIX", allow_module_level=True)

from tests.cluster.conftest import Connect
from tests.terminals import Pty, is_raw, session

pytestmark = pytest.mark.anyio

SHELL = ["env", "PS1=@ ", "sh", "-i"]


async def test_a_shell(connect: Connect, context: str | None) -> None:
    with Pty(columns=91, rows=33) as pty:
        async with (
            connect(context) as pods,
            session(pty, pods.exec.interactive, "box", SHELL, container="main") as running,
        ):
            await pty.until(b"@ ")
            assert is_raw(pty.slave)
            # The process starts before its size has come.
            pty.type(b"until [ \"$(stty size)\" = '33 91' ]; do :; done; echo si''zed\r")
            await pty.until(b"\nsized\r\n")
            pty.resize(120, 40)
            pty.type(b"until [ \"$(stty size)\" = '40 120' ]; do :; done; echo si''zed\r")
            await pty.until(b"\nsized\r\n")
            pty.type(b"echo one twp\x7fo\r")
            await pty.until(b"\none two\r\n")
            pty.type(b"sh -c 'echo beg\"\"un; exec sleep 1000000'\r")
            await pty.until(b"\nbegun\r\n")
            pty.type(b"\x03")
            await pty.until(b"@ ")
            pty.type(b"exit 7\r")
            assert (await running.end()).exit_code == 7


async def test_the_end_of_input_costs_no_output(connect: Connect, context: str | None) -> None:
    script = "cat; seq 2000; echo la''st; exit 3"
    with Pty() as pty:
        async with (
            connect(context) as pods,
            session(pty, pods.exec.interactive, "box", ["sh", "-c", script], container="main") as running,
        ):
            pty.type(b"hello\r")
            await pty.until(b"hello\r\nhello\r\n")
            pty.type(b"\x04")
            await pty.until(b"\n2000\r\nlast\r\n")
            assert (await running.end()).exit_code == 3


async def test_attach_and_detach(connect: Connect, context: str | None) -> None:
    with Pty(columns=101, rows=37) as pty:
        async with connect(context) as pods:
            for _ in range(2):
                async with session(
                    pty, pods.attach.interactive, "box", container="shell", detach_keys="ctrl-p,ctrl-q"
                ) as running:
                    pty.type(b"until [ \"$(stty size)\" = '37 101' ]; do :; done; echo si''zed\r")
                    await pty.until(b"\nsized\r\n")
                    pty.type(b"\x10\x11")
                    result = await running.end()
                    assert result.detached
                    assert result.exit_code is None
