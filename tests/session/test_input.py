"""``run(input=…)``: what a command is fed, how that ends, and what happens when either side gives up."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import ConnectionLost

from .memory import (
    CLOSE_STDIN,
    READY,
    SUCCESS,
    V5,
    EchoConnection,
    MemoryConnection,
    NarrowConnection,
    SteppingConnection,
    exited,
    out,
    serving,
    small,
)

pytestmark = pytest.mark.anyio


async def pieces(*given: bytes) -> AsyncGenerator[bytes, None]:
    for piece in given:
        await checkpoint()
        yield piece


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 1000], ids=len)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_input_is_sent_and_ended(data: bytes, kind: Callable[[bytes], bytes]) -> None:
    connection = EchoConnection(READY)
    async with serving(connection) as pods:
        done = await pods.exec.run("one", ["cat"], input=kind(data))
    assert (done.exit_code, done.stdout) == (0, data)
    assert connection.sent[-1] == CLOSE_STDIN
    assert connection.sent.count(CLOSE_STDIN) == 1
    assert done.statistics.bytes_out == len(data)


async def test_input_may_come_in_pieces() -> None:
    connection = EchoConnection(READY)
    async with serving(connection) as pods:
        done = await pods.exec.run("one", ["cat"], input=pieces(b"a", b"", b"b" * 100_000))
    assert done.stdout == b"a" + b"b" * 100_000


async def test_input_on_a_terminal_ends_with_a_character() -> None:
    class Shell(MemoryConnection):
        def on_message(self, message: bytes) -> None:
            if message == b"\x00\x04":
                self.feed(out(b"bye\r\n"), exited(3))

    connection = Shell(READY)
    async with serving(connection) as pods:
        done = await pods.exec.run("one", ["sh"], input=b"exit 3\n", tty=True)
    assert (done.exit_code, done.stdout) == (3, b"bye\r\n")
    assert connection.stdin == b"exit 3\n\x04"


async def test_a_failing_input_raises_its_own_exception() -> None:
    error = LookupError("the input's own")

    async def failing() -> AsyncIterator[bytes]:
        yield b"a"
        raise error

    connection = EchoConnection(READY)
    async with serving(connection) as pods:
        with pytest.raises(LookupError) as raised:
            await pods.exec.run("one", ["cat"], input=failing())
    assert raised.value is error
    assert CLOSE_STDIN not in connection.sent
    assert connection.closed


async def test_input_of_a_wrong_kind_raises_what_it_is() -> None:
    connection = EchoConnection(READY)
    async with serving(connection) as pods:
        with pytest.raises(TypeError):
            await pods.exec.run("one", ["cat"], input="text")  # type: ignore[call-overload]
    assert not connection.sent


async def test_a_process_that_ends_before_its_input_is_no_error() -> None:
    """As ``head -1`` does: what it had said counts, not that nobody took the rest."""

    class Head(NarrowConnection):
        def on_message(self, message: bytes) -> None:  # noqa: ARG002
            if len(self.sent) == 1:
                self.feed(out(b"first line\n"), SUCCESS)
                self.finish()

    for room in (1, 2, 1000):
        connection = Head(READY, room=room)
        async with serving(connection) as pods:
            done = await pods.exec.run("one", ["head", "-1"], input=bytes(30_000_000))
        assert (done.exit_code, done.stdout) == (0, b"first line\n")
        assert len(connection.stdin) < 30_000_000


@pytest.mark.parametrize("given", [b"hello", b""], ids=["some", "nothing"])
@pytest.mark.parametrize("in_pieces", [False, True])
async def test_whether_the_input_was_taken(given: bytes, in_pieces: bool) -> None:
    """The process has ended before the first byte was sent: that matters only where there is one."""

    class Gone(MemoryConnection):
        async def room(self) -> None:
            self.feed(SUCCESS)
            raise ConnectionLost("broken pipe")

    async with serving(Gone(READY)) as pods:
        done = await pods.exec.run("one", ["x"], input=pieces(given) if in_pieces else given)
        assert done.statistics.bytes_out == 0
        assert done.input_taken is not bool(given)
    async with serving(SteppingConnection(READY, SUCCESS)) as pods:
        done = await pods.exec.run("one", ["x"], input=given)
        assert done.input_taken is not bool(given)


async def test_a_connection_that_breaks_under_the_input_after_the_status_is_no_error() -> None:
    class Gone(MemoryConnection):
        async def room(self) -> None:
            await checkpoint()
            if self.sent:
                raise ConnectionLost("broken pipe")

    connection = Gone(READY)
    async with serving(connection) as pods, anyio.create_task_group() as tasks:

        async def answer() -> None:
            await connection.until(lambda: len(connection.sent) == 1 and connection.waiting)
            connection.feed(out(b"x"), exited(5))
            connection.lose("reset by peer")

        tasks.start_soon(answer)
        done = await pods.exec.run("one", ["x"], input=bytes(1_000_000))
    assert (done.exit_code, done.stdout) == (5, b"x")


async def test_an_input_that_is_not_used_up_is_let_go() -> None:
    """Whoever passes a generator cannot close it; so it is closed, and its ``finally`` runs."""
    state: list[str] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                await checkpoint()
                yield b"x" * 1000
        finally:
            state.append("closed")

    class Full(NarrowConnection):
        async def room(self) -> None:
            if len(self.sent) == 5:
                self.feed(SUCCESS)
            await super().room()

    async with serving(Full(READY, room=5)) as pods:
        done = await pods.exec.run("one", ["x"], input=endless())
        assert done.exit_code == 0
        assert state == ["closed"]


async def test_input_and_output_at_once() -> None:
    """The process writes more than any buffer before it has read all: whoever does one after the other hangs."""
    data = bytes(range(256)) * 2000
    async with serving(EchoConnection(READY), options=small(1000)) as pods:
        done = await pods.exec.run("one", ["cat"], input=data, protocols=[V5])
    assert done.stdout == data
