"""A cancelled call returns, loses nothing, and leaves a session that goes on."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import ClientOptions, ExecProcess, OutputStream, Pods

from .memory import (
    READY,
    SUCCESS,
    EchoConnection,
    MemoryConnection,
    NarrowConnection,
    SteppingConnection,
    err,
    out,
    serving,
    small,
)

pytestmark = pytest.mark.anyio


async def receive_with_cancellations(stream: OutputStream, dice: random.Random) -> bytes:
    """Everything of a stream, by receives that are cancelled at random points."""
    got = b""
    while True:
        chunk = b""
        async with anyio.create_task_group() as tasks:

            async def strike(steps: int = dice.randrange(6), tasks: anyio.abc.TaskGroup = tasks) -> None:
                for _ in range(steps):
                    await checkpoint()
                tasks.cancel_scope.cancel()

            tasks.start_soon(strike)
            try:
                chunk = await stream.receive(dice.choice([1, 3, 65536]))
            except anyio.EndOfStream:
                return got
            finally:
                tasks.cancel_scope.cancel()
        got += chunk


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [small(1_000_000), small(50)], ids=["memory", "full"])
async def test_cancelled_receives_lose_nothing(seed: int, options: ClientOptions) -> None:
    dice = random.Random(seed)
    pieces = [(dice.choice([out, err]), b"%d " % number) for number in range(300)]
    connection = SteppingConnection()
    async with serving(connection, options=options) as pods:
        async with pods.exec.stream("one", ["x"]) as process, anyio.create_task_group() as tasks:
            got: dict[str, bytes] = {}

            async def consume(name: str, stream: OutputStream) -> None:
                got[name] = await receive_with_cancellations(stream, random.Random(f"{seed}{name}"))

            async def write() -> None:
                for make, piece in pieces:
                    connection.feed(make(piece))
                    for _ in range(dice.randrange(3)):
                        await checkpoint()
                connection.feed(SUCCESS)

            tasks.start_soon(consume, "stdout", process.stdout)
            tasks.start_soon(consume, "stderr", process.stderr)
            tasks.start_soon(write)
        assert got["stdout"] == b"".join(piece for make, piece in pieces if make is out)
        assert got["stderr"] == b"".join(piece for make, piece in pieces if make is err)


async def test_a_cancelled_wait_can_be_repeated() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        for number in range(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process.wait)
                await connection.until(lambda: connection.waiting)
                tasks.cancel_scope.cancel()
            connection.feed(out(b"%d" % number))
        connection.feed(SUCCESS)
        assert await process.wait() == 0
        assert await process.stdout.receive() == b"0"


async def test_a_cancelled_send_leaves_the_output_readable() -> None:
    connection = NarrowConnection(READY, room=1)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stdin.send, b"x" * 100_000)
            await connection.until(lambda: connection.blocked)
            tasks.cancel_scope.cancel()
        connection.feed(out(b"output"), SUCCESS)
        assert await process.stdout.receive() == b"output"
        assert await process.wait() == 0
        assert process.statistics.bytes_out == 64 * 1024


@pytest.mark.parametrize("where", ["receive", "wait", "send"])
async def test_cancelling_a_block_leaves_the_session(where: str) -> None:
    connection = NarrowConnection(READY)
    reached = anyio.Event()
    async with serving(connection) as pods, anyio.create_task_group() as tasks:

        async def hold() -> None:
            async with pods.exec.stream("one", ["x"], stdin=True) as process:
                reached.set()
                await do(process)

        async def do(process: ExecProcess[OutputStream]) -> None:
            if where == "receive":
                await process.stdout.receive()
            elif where == "wait":
                await process.wait()
            else:
                await process.stdin.send(b"x")

        tasks.start_soon(hold)
        await reached.wait()
        await connection.until(lambda: connection.blocked if where == "send" else connection.waiting)
        tasks.cancel_scope.cancel()
    assert connection.closed_with == 1000
    assert not connection.cut


@pytest.mark.parametrize("stdin", [None, b"input"], ids=["no input", "input"])
async def test_cancelling_a_run_closes_its_session(stdin: bytes | None) -> None:
    connection = NarrowConnection(READY)
    async with serving(connection) as pods, anyio.create_task_group() as tasks:

        async def run() -> None:
            await pods.exec.run("one", ["sleep"], input=stdin)

        tasks.start_soon(run)
        await connection.until(lambda: connection.waiting and (stdin is None or connection.blocked))
        tasks.cancel_scope.cancel()
    assert connection.closed_with == 1000


async def test_input_for_a_process_that_never_reads_can_be_cancelled() -> None:
    connection = NarrowConnection(READY, room=2)
    async with serving(connection) as pods:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(pods.exec.run, "one", ["sleep"], input=bytes(10_000_000)))
            await connection.until(lambda: connection.blocked)
            tasks.cancel_scope.cancel()
    assert connection.closed


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_standard_librarys_own_cancellation_is_understood() -> None:
    """asyncio's timeouts count cancellations; whoever swallows or adds one breaks them."""
    for _ in range(3):
        connection = MemoryConnection(READY)
        async with serving(connection) as pods:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await pods.exec.run("one", ["sleep"])
            assert connection.closed
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0

    connection = MemoryConnection(READY)
    async with serving(connection) as pods:

        async def hold() -> None:
            async with pods.exec.stream("one", ["x"]) as process:
                await process.wait()

        holding = asyncio.create_task(hold())
        await connection.until(lambda: connection.waiting)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding
        assert connection.closed


async def test_an_exception_in_the_block_leaves_as_it_is() -> None:
    connection = EchoConnection(READY)
    error = LookupError("the application's own")

    async def hold(pods: Pods) -> None:
        async with pods.exec.stream("one", ["cat"], stdin=True) as process:
            await process.stdin.send(b"x")
            raise error

    async with serving(connection) as pods:
        with pytest.raises(LookupError) as raised:
            await hold(pods)
    assert raised.value is error
    assert connection.closed
