"""The command's stdin: whatever reads it, it stays as it was for those who share it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Final

import pytest

if sys.platform == "win32":
    pytest.skip("there, stdin is read by a thread", allow_module_level=True)

from tests.packages import ROOT
from tests.terminals import closing_descriptor

#: Reads stdin once, and is cancelled while it waits for more.
PROGRAM: Final = """
import os, sys
import anyio
from contextlib import aclosing
from kubex_stream.cli.local import local_input

async def read(begun: anyio.Event) -> None:
    async with aclosing(local_input()) as pieces:
        async for piece in pieces:
            print(piece.decode(), os.get_blocking(0), flush=True)
            begun.set()

async def main() -> None:
    async with anyio.create_task_group() as tasks:
        begun = anyio.Event()
        tasks.start_soon(read, begun)
        await begun.wait()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()

anyio.run(main, backend=sys.argv[1], backend_options={"use_uvloop": True} if sys.argv[2:] else {})
print(os.get_blocking(0))
"""


@pytest.mark.parametrize("loop", [("asyncio",), ("asyncio", "uvloop"), ("trio",)], ids=lambda loop: loop[-1])
@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_reading_makes_nothing_non_blocking(kind: str, loop: tuple[str, ...]) -> None:
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        reader, writer = (each.detach() for each in socket.socketpair())
    with closing_descriptor(reader), closing_descriptor(writer):
        os.write(writer, b"hello")
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *loop],
            stdin=reader, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT,
        )  # fmt: skip
        assert (done.stdout.splitlines(), done.stderr) == (["hello True", "True"], "")
        assert os.get_blocking(reader)
