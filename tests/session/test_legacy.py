"""A forwarded connection in the older protocol: its first frames, its errors, and an end that cannot be told."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import ClientOptions, Observer, PortForwardError
from kubex_stream.session.conduit import EndOfInput
from kubex_stream.session.legacy import LegacyConduit
from tests.session.memory import (
    BRISK,
    PATIENCE,
    V4,
    MemoryConnection,
    NarrowConnection,
    PingableConnection,
    SteppingConnection,
)
from tests.session.test_turns import settled
from tests.session.tunnel_peer import PATH, QUIET, REFUSED

pytestmark = pytest.mark.anyio

#: What a server says first, of port 80.
FIRST = (b"\x00\x50\x00", b"\x01\x50\x00")
KEPT = EndOfInput(60.0, cuts=True)


def data(payload: bytes) -> bytes:
    return b"\x00" + payload


def trouble(text: str) -> bytes:
    return b"\x01" + text.encode()


@asynccontextmanager
async def conduit(
    connection: MemoryConnection,
    options: ClientOptions = QUIET,
    *,
    end: EndOfInput = KEPT,
    observer: Observer | None = None,
) -> AsyncGenerator[LegacyConduit, None]:
    """A connection to port 80, with its keeper; not asked yet whether it is open."""
    made = LegacyConduit(connection, options, 80, end, path=PATH, observer=observer or Observer())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.keep)
        try:
            with anyio.fail_after(PATIENCE):
                yield made
        finally:
            tasks.cancel_scope.cancel()


async def ending(made: LegacyConduit) -> tuple[bytes, PortForwardError | None]:
    received = b""
    while True:
        try:
            received += await made.receive()
        except anyio.EndOfStream:
            return received, None
        except PortForwardError as error:
            with pytest.raises(PortForwardError):
                await made.receive()
            return received, error


async def test_both_channels_begin_with_the_port_and_then_bytes_flow_both_ways() -> None:
    connection = SteppingConnection(*FIRST, data(b"hello "), data(b"world"), protocol=V4)
    async with conduit(connection, ClientOptions(heartbeat=None, stdin_chunk_size=4)) as made:
        await made.opened()
        assert await made.receive() == b"hello "
        await made.send(b"question")
        assert connection.sent == [data(b"ques"), data(b"tion")]
        assert await made.receive() == b"world"
        connection.finish()
        assert await ending(made) == (b"", None)
        assert (made.statistics.bytes_in, made.statistics.bytes_out) == (11, 8)


@pytest.mark.parametrize(
    "first",
    [
        (b"\x00\x51\x00", FIRST[1]),
        (FIRST[0], b"\x01\x00\x50"),
        (b"\x00\x50", FIRST[1]),
        (b"\x00\x50\x00more", FIRST[1]),
        (b"\x00hello", FIRST[1]),
        (FIRST[0], trouble("no such thing")),
    ],
)
async def test_a_server_that_answers_for_another_port_is_refused(first: tuple[bytes, bytes]) -> None:
    async with conduit(MemoryConnection(*first, protocol=V4)) as made:
        with pytest.raises(PortForwardError, match="asked for port 80, the server answered with") as caught:
            await made.opened()
        assert caught.value.kind == "failed"


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("first", [(), FIRST[:1]])
async def test_a_server_that_ends_before_it_has_answered(first: tuple[bytes, ...], lost: bool) -> None:
    connection = MemoryConnection(*first, protocol=V4)
    if lost:
        connection.lose("cable cut")
    else:
        connection.finish()
    async with conduit(connection) as made:
        with pytest.raises(PortForwardError) as caught:
            await made.opened()
        assert caught.value.kind == ("lost" if lost else "failed")


async def test_errors_in_the_first_frames_order_do_not_matter() -> None:
    async with conduit(MemoryConnection(*reversed(FIRST), data(b"x"), protocol=V4)) as made:
        await made.opened()
        assert await made.receive() == b"x"


@pytest.mark.parametrize("pieces", [1, 3])
async def test_an_error_text_is_told_after_everything_that_came(pieces: int) -> None:
    size = -(-len(REFUSED) // pieces)
    texts = [trouble(REFUSED[start : start + size]) for start in range(0, len(REFUSED), size)]
    connection = SteppingConnection(*FIRST, data(b"one"), *texts, data(b"two"), protocol=V4)
    connection.finish()
    async with conduit(connection) as made:
        await made.opened()
        received, error = await ending(made)
        assert received == b"onetwo"
        assert error is not None
        assert (error.kind, error.port) == ("refused", 80)
        with pytest.raises(PortForwardError) as sending:
            await made.send(b"x")
        assert sending.value.kind == "refused"


async def test_a_text_that_has_come_is_what_a_send_fails_with() -> None:
    connection = PingableConnection(*FIRST, data(b"first"), trouble(REFUSED), protocol=V4)
    connection.finish()
    async with conduit(connection, BRISK) as made:
        await made.opened()
        await connection.until(lambda: connection.left == 0)
        await settled()
        with pytest.raises(PortForwardError) as caught:
            await made.send(b"x")
        assert caught.value.kind == "refused"
        assert (await ending(made))[0] == b"first"  # nothing is lost by that


async def test_a_lost_connection_is_an_error_after_everything_that_came() -> None:
    connection = SteppingConnection(*FIRST, data(b"in time"), protocol=V4)
    connection.lose("cable cut", close_code=1006)
    async with conduit(connection) as made:
        await made.opened()
        received, error = await ending(made)
        assert received == b"in time"
        assert error is not None
        assert error.kind == "lost"
        assert "cable cut" in str(error)


async def test_sending_after_the_pods_end_is_an_error() -> None:
    connection = SteppingConnection(*FIRST, protocol=V4)
    async with conduit(connection) as made:
        await made.opened()
        connection.finish()
        assert await ending(made) == (b"", None)
        with pytest.raises(PortForwardError) as caught:
            await made.send(b"x")
        assert caught.value.kind == "closed"
        with pytest.raises(PortForwardError):
            await made.send_eof()


@pytest.mark.parametrize("steps", range(6))
async def test_a_cancelled_receive_loses_nothing(steps: int) -> None:
    connection = SteppingConnection(*FIRST, protocol=V4)
    async with conduit(connection) as made:
        await made.opened()
        received = b""
        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()

            async def read() -> None:
                nonlocal received
                with scope:
                    while True:
                        received += await made.receive()

            tasks.start_soon(read)
            connection.feed(data(b"one"), data(b"two"))
            for _ in range(steps):
                await checkpoint()
            scope.cancel()
        connection.finish()
        assert received + (await ending(made))[0] == b"onetwo"


async def cut_after_silence(*, waiting: bool) -> None:
    """An end that was asked for before a receive, or during one."""
    connection = SteppingConnection(*FIRST, data(b"answer"), protocol=V4)
    async with conduit(connection, end=EndOfInput(0.0, cuts=True)) as made:
        await made.opened()
        assert await made.receive() == b"answer"
        found: list[tuple[bytes, PortForwardError | None]] = []

        async def read() -> None:
            found.append(await ending(made))

        async with anyio.create_task_group() as tasks:
            if waiting:
                tasks.start_soon(read)
                await settled()
            await made.send_eof()
            await made.send_eof()
            with pytest.raises(anyio.ClosedResourceError):
                await made.send(b"more")
            if not waiting:
                tasks.start_soon(read)
        ((received, error),) = found
        assert received == b""
        assert error is not None
        assert error.kind == "cut"
        assert connection.closed


async def slow_and_whole() -> None:
    """A consumer that is busy elsewhere for longer than the pod may be silent."""
    connection = SteppingConnection(*FIRST, *[data(b"%d" % number) for number in range(5)], protocol=V4)
    async with conduit(connection, end=EndOfInput(0.0, cuts=True)) as made:
        await made.opened()
        await made.send_eof()
        received = b""
        for _ in range(5):
            received += await made.receive()
            if len(received) == 1:
                await anyio.sleep(1.1)
        assert received == b"01234"
        connection.finish()
        assert await ending(made) == (b"", None)


async def test_an_end_is_kept_back_until_the_pod_was_silent_and_what_follows_is_an_error() -> None:
    async with anyio.create_task_group() as tasks:  # as they take their time
        for waiting in (False, True):
            tasks.start_soon(lambda waiting=waiting: cut_after_silence(waiting=waiting))  # type: ignore[misc]
        tasks.start_soon(slow_and_whole)


@pytest.mark.parametrize("waiting", [False, True])
async def test_closing_ends_a_receive_and_all_calls_after_it(waiting: bool) -> None:
    class Watching(Observer):
        endings: list[BaseException | None]

        def closed(self, path: str, error: BaseException | None) -> None:
            assert path == PATH
            self.endings.append(error)

    observer = Watching()
    observer.endings = []
    connection = SteppingConnection(*FIRST, protocol=V4)
    async with conduit(connection, observer=observer) as made:
        await made.opened()
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                with pytest.raises(anyio.ClosedResourceError):
                    await made.receive()

            if waiting:
                tasks.start_soon(read)
                await settled()
            await made.aclose()
            await made.aclose()
        for call in (made.receive(), made.send(b"x"), made.send_eof()):
            with pytest.raises(anyio.ClosedResourceError):
                await call
        assert connection.closed_with == 1000
    assert observer.endings == [None]


async def test_a_send_that_is_blocked_ends_with_the_connection() -> None:
    connection = NarrowConnection(*FIRST, protocol=V4)
    async with conduit(connection) as made:
        await made.opened()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with pytest.raises((anyio.ClosedResourceError, PortForwardError)):
                    await made.send(b"x")

            tasks.start_soon(send)
            await connection.until(lambda: connection.blocked)
            await made.aclose()
            connection.widen(1)


async def test_cancelling_the_keeper_closes_it() -> None:
    connection = SteppingConnection(*FIRST, protocol=V4)
    async with conduit(connection) as made:
        await made.opened()
    assert connection.closed
    with pytest.raises(anyio.ClosedResourceError):
        await made.receive()


@pytest.mark.parametrize("lost", [False, True])
async def test_one_that_the_server_has_ended_and_nobody_closes_leaves_nothing_open(lost: bool) -> None:
    connection = PingableConnection(*FIRST, data(b"still here"), protocol=V4)
    async with conduit(connection, BRISK) as made:
        await made.opened()
        if lost:
            connection.lose()
        else:
            connection.finish()
        await connection.until(lambda: connection.closed)
        received, _ = await ending(made)
        assert received == b"still here"
    assert connection.closed
