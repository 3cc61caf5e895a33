"""The command's own descriptors: stdin stays as it was for those who share it, and what comes for stdout is written, however it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import suppress
from typing import Final

import anyio
import pytest

if sys.platform == "win32":
    pytest.skip("there, stdin is read by a thread", allow_module_level=True)

from anyio.lowlevel import checkpoint

from kubex_stream.cli.lines import Lines
from kubex_stream.cli.local import LocalOutput
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


#: More than a pipe holds, and less than it and the way to it.
MUCH: Final = 150_000


@pytest.fixture
def pipe() -> Generator[tuple[int, int]]:
    reader, writer = os.pipe()
    with closing_descriptor(reader), closing_descriptor(writer):
        yield reader, writer


def read_all(reader: int) -> int:
    size = 0
    while size < MUCH and (piece := os.read(reader, MUCH)):
        size += len(piece)
    return size


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [None, RuntimeError("the connection is lost")], ids=["done", "failed"])
async def test_what_has_come_is_written_before_the_end(pipe: tuple[int, int], failure: RuntimeError | None) -> None:
    reader, writer = pipe
    left = False

    async def write() -> None:
        nonlocal left
        with suppress(RuntimeError):
            async with LocalOutput(writer) as output:
                await output.send(bytes(MUCH))
                if failure is not None:
                    raise failure
        left = True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        assert not left, "nobody has read yet"
        assert await anyio.to_thread.run_sync(read_all, reader) == MUCH


@pytest.mark.anyio
async def test_a_cancelled_output_does_not_wait_for_ever_for_its_reader(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    with anyio.CancelScope() as scope:
        async with LocalOutput(writer) as output:
            await output.send(bytes(MUCH))
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert read_all(reader) == MUCH  # its thread goes on as long as the process does


@pytest.mark.anyio
@pytest.mark.parametrize("failure", [None, RuntimeError("the connection is lost")], ids=["done", "failed"])
async def test_a_cancellation_while_the_last_is_written_leaves_time_for_it(
    pipe: tuple[int, int], failure: RuntimeError | None
) -> None:
    reader, writer = pipe
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:

            async def write() -> None:
                async with LocalOutput(writer) as output:
                    await output.send(bytes(MUCH))
                    if failure is not None:
                        raise failure

            async def cancel() -> None:
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

            tasks.start_soon(write)
            tasks.start_soon(cancel)
    assert scope.cancelled_caught
    assert read_all(reader) == MUCH


@pytest.mark.anyio
async def test_where_one_output_is_broken_nobody_waits_for_the_reader_of_the_other(pipe: tuple[int, int]) -> None:
    _, stalled = pipe
    reader, broken = os.pipe()
    os.close(reader)

    async def write() -> None:
        async with LocalOutput(stalled) as other, LocalOutput(broken) as output:
            await other.send(bytes(MUCH))
            await output.send(b"x")

    with closing_descriptor(broken), anyio.fail_after(30), pytest.raises(BrokenPipeError):
        await write()


@pytest.mark.anyio
async def test_lines_that_were_told_are_written_after_a_cancellation(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = Lines(writer)
    for number in range(5):
        lines.say(f"line {number}")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lines.write)
        await checkpoint()
        tasks.cancel_scope.cancel()
    lines.close()
    assert os.read(reader, MUCH) == b"".join(b"line %d\n" % number for number in range(5))


@pytest.mark.anyio
async def test_an_output_that_nobody_reads_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    async def write() -> None:
        async with LocalOutput(writer) as output:
            await output.send(b"x")

    with closing_descriptor(writer), pytest.raises(BrokenPipeError):
        await write()
