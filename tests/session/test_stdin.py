"""stdin: cut into messages, ended in the way that the session has, never waiting for output."""

from __future__ import annotations

import json
from array import array

import anyio
import pytest

from kubex_stream import ClientOptions, HalfCloseUnsupported, OutputStream, Pods, StdinBroken
from kubex_stream.client import Response

from .memory import (
    CLOSE_STDIN,
    READY,
    SUCCESS,
    V4,
    V5,
    EchoConnection,
    MemoryClient,
    MemoryConnection,
    NarrowConnection,
    exited,
    out,
    read,
    serving,
)

pytestmark = pytest.mark.anyio


async def test_stdin_is_cut_into_whole_messages() -> None:
    data = bytes(range(256)) * 4096
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        await process.stdin.send(data)
        assert all(message[:1] == b"\x00" for message in connection.sent)
        assert [len(message) for message in connection.sent] == [64 * 1024 + 1] * 16
        assert connection.stdin == data


@pytest.mark.parametrize("chunk", [1, 7, 1000, 5000])
async def test_messages_are_as_large_as_the_options_say(chunk: int) -> None:
    data = bytes(range(250)) * 8
    connection = MemoryConnection(READY)
    async with serving(connection, options=ClientOptions(stdin_chunk_size=chunk)) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process:
            await process.stdin.send(data)
    assert max(len(message) for message in connection.sent) == min(chunk, len(data)) + 1
    assert connection.stdin == data


async def test_stdin_takes_every_kind_of_bytes() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        for item in (b"a", bytearray(b"b"), memoryview(b"xcx")[1:2], memoryview(array("B", b"d")), b""):
            await process.stdin.send(item)
        with pytest.raises(TypeError):
            await process.stdin.send("text")  # type: ignore[arg-type]  # wrong on purpose
        await process.stdin.send(b"e")
    assert connection.sent == [b"\x00a", b"\x00b", b"\x00c", b"\x00d", b"\x00e"]


async def test_sends_of_two_tasks_are_not_mixed() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection, options=ClientOptions(stdin_chunk_size=10)) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process, anyio.create_task_group() as tasks:
            for letter in (b"a", b"b", b"c"):
                tasks.start_soon(process.stdin.send, letter * 100)
    assert sorted([connection.stdin[:100], connection.stdin[100:200], connection.stdin[200:]]) == [
        b"a" * 100, b"b" * 100, b"c" * 100,
    ]  # fmt: skip


# The end of stdin ---------------------------------------------------------------------------------------------------------


async def test_the_end_of_stdin_on_v5_is_one_close_message() -> None:
    connection = EchoConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["cat"], stdin=True) as process:
        assert process.subprotocol == V5
        assert process.can_half_close
        await process.stdin.send(b"hello")
        for _ in range(3):
            await process.stdin.aclose()
        with pytest.raises(anyio.ClosedResourceError):
            await process.stdin.send(b"more")
        assert await read(process.stdout) == b"hello"
        assert await process.wait() == 0
    assert connection.sent == [b"\x00hello", CLOSE_STDIN]


async def test_output_goes_on_after_the_end_of_stdin() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["sort"], stdin=True) as process:
        await process.stdin.send(b"b\na\n")
        async with process.stdin:
            pass
        connection.feed(out(b"a\n"), out(b"b\n"), SUCCESS)
        assert await read(process.stdout) == b"a\nb\n"


async def test_v4_has_no_end_of_stdin() -> None:
    connection = MemoryConnection(READY, protocol=V4)
    async with serving(connection) as pods, pods.exec.stream("one", ["cat"], stdin=True) as process:
        assert process.subprotocol == V4
        assert not process.can_half_close
        await process.stdin.send(b"a")
        for _ in range(2):
            with pytest.raises(HalfCloseUnsupported, match=r"only v5\.channel\.k8s\.io .* has a half-close") as raised:
                await process.stdin.aclose()
        assert raised.value.statistics is not None
        await process.stdin.send(b"b")  # it is still open
    assert connection.sent == [b"\x00a", b"\x00b"]


async def test_input_needs_v5_and_says_so_where_there_is_none() -> None:
    refusal = Response(403, [], b"")
    async with MemoryClient(refusal) as client:
        with pytest.raises(HalfCloseUnsupported, match=r"does not speak v5\.channel\.k8s\.io .* nothing was started"):
            await Pods(client).exec.run("one", ["cat"], input=b"data")
        assert client.offers == [[V5]]


async def test_input_for_a_server_that_chose_v4_is_refused_before_anything_is_sent() -> None:
    connection = MemoryConnection(READY, protocol=V4)
    async with serving(connection) as pods:
        with pytest.raises(HalfCloseUnsupported, match="nothing was sent"):
            await pods.exec.run("one", ["cat"], input=b"data", protocols=[V5, V4])
    assert connection.sent == []
    assert connection.closed


@pytest.mark.parametrize("protocol", [V4, V5])
@pytest.mark.parametrize(
    ("written", "ends"),
    [(b"", 1), (b"exit\n", 1), (b"exit\r", 1), (b"partial", 2), (b"a\nb", 2)],
    ids=repr,
)
async def test_the_end_of_a_terminals_stdin_is_a_character(protocol: str, written: bytes, ends: int) -> None:
    """In mid-line it takes two: the first only passes the line on."""
    connection = MemoryConnection(READY, protocol=protocol)
    async with serving(connection) as pods:
        async with pods.exec.stream("one", ["sh"], tty=True, protocols=[protocol]) as process:
            assert process.can_half_close
            await process.stdin.send(written)
            await process.stdin.aclose()
            await process.stdin.aclose()
    assert connection.stdin == written + b"\x04" * ends
    assert CLOSE_STDIN not in connection.sent


async def test_an_end_of_stdin_that_was_cancelled_can_be_asked_for_again() -> None:
    connection = NarrowConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["cat"], stdin=True) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stdin.aclose)
            await connection.until(lambda: connection.blocked)
            tasks.cancel_scope.cancel()
        with pytest.raises(anyio.ClosedResourceError):
            await process.stdin.send(b"more")
        connection.widen(10)
        await process.stdin.aclose()
        await process.stdin.aclose()
    assert connection.sent == [CLOSE_STDIN]


@pytest.mark.parametrize(("tty", "end"), [(False, CLOSE_STDIN), (True, b"\x00\x04")])
async def test_two_tasks_that_end_stdin_end_it_once(tty: bool, end: bytes) -> None:
    connection = NarrowConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["cat"], stdin=True, tty=tty) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stdin.aclose)
            tasks.start_soon(process.stdin.aclose)
            await connection.until(lambda: connection.blocked)
            connection.widen(2)
    assert connection.sent == [end]


async def test_stdin_that_was_not_requested_is_not_there() -> None:
    async with serving(MemoryConnection(READY)) as pods, pods.exec.stream("one", ["x"]) as process:
        with pytest.raises(RuntimeError, match="pass stdin=True"):
            _ = process.stdin


# A terminal's size --------------------------------------------------------------------------------------------------------


async def test_sizes_are_sent_in_order() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["sh"], tty=True) as process:
        for width in range(80, 180):
            await process.resize(width=width, height=24)
    assert [json.loads(message[1:]) for message in connection.sent] == [
        {"Width": width, "Height": 24} for width in range(80, 180)
    ]
    assert {message[0] for message in connection.sent} == {4}
    assert all(message.endswith(b"\n") for message in connection.sent)


async def test_a_size_without_a_terminal_is_refused() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["sh"], stdin=True) as process:
        with pytest.raises(RuntimeError, match="pass tty=True"):
            await process.resize(width=80, height=24)
    assert connection.sent == []


async def test_an_impossible_size_is_refused() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["sh"], tty=True) as process:
        with pytest.raises(ValueError, match="height must be an integer"):
            await process.resize(width=80, height=0)
    assert connection.sent == []


async def test_a_size_after_the_end_is_broken_stdin() -> None:
    async with serving(MemoryConnection(SUCCESS)) as pods, pods.exec.stream("one", ["sh"], tty=True) as process:
        await process.wait()
        with pytest.raises(StdinBroken):
            await process.resize(width=80, height=24)


async def test_a_size_does_not_wait_for_all_of_a_large_input() -> None:
    connection = NarrowConnection(READY, room=3)
    async with serving(connection, options=ClientOptions(stdin_chunk_size=10)) as pods:
        async with pods.exec.stream("one", ["sh"], tty=True) as process, anyio.create_task_group() as tasks:
            tasks.start_soon(process.stdin.send, b"x" * 1000)
            await connection.until(lambda: connection.blocked)

            async def resize() -> None:
                await process.resize(width=80, height=24)

            tasks.start_soon(resize)
            await anyio.wait_all_tasks_blocked()
            connection.widen(3)
            await connection.until(lambda: any(message[0] == 4 for message in connection.sent))
            assert len(connection.stdin) < 1000
            connection.widen(1000)
    assert connection.stdin == b"x" * 1000


async def test_the_end_of_stdin_waits_for_all_of_a_large_input() -> None:
    connection = NarrowConnection(READY, room=3)
    async with serving(connection, options=ClientOptions(stdin_chunk_size=10)) as pods:
        async with pods.exec.stream("one", ["cat"], stdin=True) as process, anyio.create_task_group() as tasks:
            tasks.start_soon(process.stdin.send, b"x" * 200)
            await connection.until(lambda: connection.blocked)
            tasks.start_soon(process.stdin.aclose)
            await anyio.wait_all_tasks_blocked()
            connection.widen(1000)
    assert connection.stdin == b"x" * 200
    assert connection.sent[-1] == CLOSE_STDIN


# Both ways, and broken ------------------------------------------------------------------------------------------------------


async def test_a_megabyte_through_an_echo() -> None:
    data = bytes(range(256)) * 4096
    async with serving(EchoConnection(READY)) as pods, pods.exec.stream("one", ["cat"], stdin=True) as process:
        got: list[bytes] = []

        async def collect(stream: OutputStream) -> None:
            got.append(await read(stream))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, process.stdout)
            await process.stdin.send(data)
            await process.stdin.aclose()
        assert got == [data]


async def test_output_is_read_while_stdin_is_blocked() -> None:
    connection = NarrowConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.stdin.send, b"x")
            await connection.until(lambda: connection.blocked)
            connection.feed(out(b"output"))
            assert await process.stdout.receive() == b"output"
            connection.widen(1)


async def test_stdin_into_a_lost_connection_is_broken() -> None:
    connection = NarrowConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises(StdinBroken, match="takes no more input") as raised:
                    await process.stdin.send(b"x" * 100_000)
                assert raised.value.statistics is not None

            tasks.start_soon(send)
            await connection.until(lambda: connection.blocked)
            await connection.abort()
            connection.widen(1)


async def test_a_broken_stdin_says_nothing_about_the_ending() -> None:
    connection = MemoryConnection(READY, exited(3))
    async with serving(connection) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        assert await read(process.stdout) == b""
        with pytest.raises(StdinBroken):
            await process.stdin.send(b"x")
        assert await process.wait() == 3
