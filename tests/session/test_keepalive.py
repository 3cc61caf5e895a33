"""Keep-alive: a dead connection is noticed, a busy or a paused one is never taken for dead."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel
import pytest

from kubex_stream import ClientOptions, ConnectionLost, KubexClientException

from .memory import (
    BRISK,
    READY,
    SUCCESS,
    V4,
    V5,
    MemoryConnection,
    NarrowConnection,
    PingableConnection,
    out,
    read,
    serving,
    small,
)

pytestmark = pytest.mark.anyio

DEADLINE = ClientOptions(heartbeat=0.01, heartbeat_timeout=0.05)


class DeafConnection(PingableConnection, NarrowConnection):
    """Has pings that nobody answers, and takes messages only as far as there is room."""

    def __init__(self, *messages: bytes, protocol: str | None = None) -> None:
        super().__init__(*messages, protocol=protocol)
        self.answers = False

    @property
    def last_activity(self) -> float | None:
        """As of a transport that would see an answer, and saw the opening only."""
        return 0.0


class BlindConnection(PingableConnection):
    """Sends pings but shows neither answers nor anything else that arrives."""

    @property
    def last_pong(self) -> float | None:
        return None


class LivelyConnection(DeafConnection):
    """Never answers a ping, but something arrives all the time."""

    @property
    def last_activity(self) -> float | None:
        return anyio.current_time()


class BrokenPing(PingableConnection):
    """A transport whose ping fails, since the connection is gone; what has arrived can still be read."""

    async def ping(self) -> None:
        self.pings += 1
        self._move()
        raise ConnectionLost("gone")


async def test_pings_go_out_while_somebody_waits_for_output() -> None:
    connection = PingableConnection(READY)
    async with serving(connection, options=DEADLINE) as pods, pods.exec.stream("one", ["x"]) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.wait)
            await connection.pinged(20)  # several deadlines long
            assert process.statistics.rtt is not None
            assert process.statistics.rtt >= 0
            assert process.statistics.idle_seconds < 5
            connection.feed(SUCCESS)
        assert process.exit_code == 0


async def test_pings_go_out_while_a_run_waits() -> None:
    connection = PingableConnection(READY)
    async with serving(connection, options=DEADLINE) as pods, anyio.create_task_group() as tasks:

        async def finish() -> None:
            await connection.pinged(10)
            connection.feed(SUCCESS)

        tasks.start_soon(finish)
        assert (await pods.exec.run("one", ["x"])).exit_code == 0


async def test_pings_go_out_while_nobody_calls_anything_and_nothing_waits() -> None:
    """The keeper reads for a consumer that is away, so a quiet session is kept alive too."""
    connection = PingableConnection(READY)
    async with serving(connection, options=BRISK) as pods, pods.exec.stream("one", ["x"]):
        await connection.pinged(5)


async def test_a_server_that_answers_no_ping_is_given_up() -> None:
    connection = DeafConnection(READY, out(b"last words"))
    async with serving(connection, options=DEADLINE) as pods, pods.exec.stream("one", ["x"]) as process:
        assert await process.stdout.receive() == b"last words"
        with pytest.raises(ConnectionLost, match="pings were not answered") as raised:
            await process.stdout.receive()
        assert raised.value.statistics is not None
        assert raised.value.statistics.bytes_in == 10
        assert connection.closed
        with pytest.raises(ConnectionLost):
            await process.wait()
    assert connection.cut


async def test_a_transport_that_shows_no_answers_is_never_given_up() -> None:
    """Its silence says nothing."""
    connection = BlindConnection(READY)
    async with serving(connection, options=DEADLINE) as pods:
        async with pods.exec.stream("one", ["x"]) as process, anyio.create_task_group() as tasks:
            tasks.start_soon(process.wait)
            await connection.until(lambda: connection.pings >= 12)  # more than a deadline's worth of them
            assert process.exit_code is None
            assert not connection.closed
            connection.feed(SUCCESS)


async def test_a_run_is_given_up_with_its_partial_output() -> None:
    connection = DeafConnection(READY, out(b"partial"))
    async with serving(connection, options=DEADLINE) as pods:
        with pytest.raises(ConnectionLost, match="pings were not answered") as raised:
            await pods.exec.run("one", ["x"])
    assert raised.value.stdout == b"partial"


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_a_paused_stream_is_never_given_up(protocol: str) -> None:
    """Nobody waits to read, so nobody could have seen an answer."""
    connection = DeafConnection(READY, *[out(b"x" * 400)] * 10, protocol=protocol)
    options = small(1000, spool_limit=0, heartbeat_timeout=0.05)
    async with serving(connection, options=options) as pods:
        async with pods.exec.stream("one", ["x"], protocols=[protocol]) as process:
            await connection.until(lambda: connection.left < 10)
            await anyio.sleep(0.2)  # four deadlines in which nothing may happen
            assert connection.left > 0
            assert not connection.closed
            connection.feed(SUCCESS)
            assert await read(process.stdout) == b"x" * 4000


async def test_a_full_buffer_is_never_pinged_for() -> None:
    """A ping into a session that has finished makes its runtime reset the connection, which costs output."""
    connection = PingableConnection(READY, *[out(b"x" * 400)] * 10, SUCCESS, protocol=V4)
    async with serving(connection, options=small(1000)) as pods, pods.exec.stream("one", ["x"]) as process:
        await connection.until(lambda: connection.left < 10)
        await anyio.sleep(0.1)  # ten intervals in which nothing may happen
        assert connection.pings == 0
        assert await read(process.stdout) == b"x" * 4000


async def test_any_byte_is_life() -> None:
    connection = DeafConnection(READY)
    async with serving(connection, options=DEADLINE) as pods, pods.exec.stream("one", ["x"]) as process:
        for number in range(20):
            connection.feed(out(b"%d" % number))
            assert await process.stdout.receive() == b"%d" % number
            with anyio.move_on_after(0.02):
                await process.stdout.receive()
        connection.feed(SUCCESS)
        assert await process.wait() == 0


async def test_an_event_loop_that_was_busy_was_not_listening() -> None:
    """Nor was a process that was stopped: what the server says comes right after that."""
    connection = DeafConnection(READY)
    async with serving(connection, options=DEADLINE) as pods:
        async with pods.exec.stream("one", ["x"]) as process, anyio.create_task_group() as tasks:
            tasks.start_soon(process.wait)
            await connection.until(lambda: connection.pings > 0)
            time.sleep(0.3)  # noqa: ASYNC251  # many deadlines, in which nobody else gets a turn
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            assert not connection.closed
            connection.feed(SUCCESS)
        assert process.exit_code == 0


async def test_what_only_the_transport_sees_is_life_too() -> None:
    connection = LivelyConnection(READY)
    async with serving(connection, options=DEADLINE) as pods, pods.exec.stream("one", ["x"]) as process:
        with anyio.move_on_after(0.3) as scope:
            await process.wait()
        assert scope.cancelled_caught
        assert not connection.closed


async def test_stdin_that_is_on_its_way_suspends_the_deadline() -> None:
    """A server that waits for its process to read stdin answers nothing."""
    connection = DeafConnection(READY)
    connection.widen(1)
    async with serving(connection, options=DEADLINE) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process:
            await process.stdin.send(b"x")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(process.wait)
                await connection.pinged(20)
                assert not connection.closed
                connection.feed(SUCCESS)
            assert process.exit_code == 0


async def test_a_blocked_send_suspends_the_deadline_and_the_pings() -> None:
    connection = DeafConnection(READY)
    async with serving(connection, options=DEADLINE) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process, anyio.create_task_group() as tasks:
            tasks.start_soon(process.stdin.send, b"x")
            await connection.until(lambda: connection.blocked)
            with anyio.move_on_after(0.3) as scope:
                await process.wait()
            assert scope.cancelled_caught
            assert not connection.closed
            assert connection.pings == 0
            connection.widen(1)


async def test_stdin_that_the_server_has_taken_suspends_nothing() -> None:
    connection = PingableConnection(READY)
    async with serving(connection, options=DEADLINE) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process, anyio.create_task_group() as tasks:
            await process.stdin.send(b"x")

            async def wait() -> None:
                with pytest.raises(ConnectionLost, match="pings were not answered"):
                    await process.wait()

            tasks.start_soon(wait)
            await connection.pinged(3)  # the answers say that it has taken it
            connection.answers = False


async def test_a_transport_without_pings_works_and_is_never_given_up() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection, options=DEADLINE) as pods, pods.exec.stream("one", ["x"]) as process:
        with anyio.move_on_after(0.3) as scope:
            await process.wait()
        assert scope.cancelled_caught
        connection.feed(out(b"x"), SUCCESS)
        assert await read(process.stdout) == b"x"
        assert process.statistics.rtt is None


async def test_without_a_heartbeat_nothing_is_pinged() -> None:
    connection = PingableConnection(READY)
    options = ClientOptions(heartbeat=None, heartbeat_timeout=0.01)
    async with serving(connection, options=options) as pods, pods.exec.stream("one", ["x"]) as process:
        with anyio.move_on_after(0.1) as scope:
            await process.wait()
        assert scope.cancelled_caught
        assert connection.pings == 0
        assert not connection.closed


async def test_without_a_deadline_nothing_is_given_up() -> None:
    connection = DeafConnection(READY)
    async with serving(connection, options=BRISK) as pods, pods.exec.stream("one", ["x"]) as process:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.wait)
            await connection.pinged(20)
            assert not connection.closed
            connection.feed(SUCCESS)


async def test_a_ping_that_fails_leaves_it_to_the_reader() -> None:
    connection = BrokenPing(READY)
    async with serving(connection, options=DEADLINE) as pods, pods.exec.stream("one", ["x"]) as process:
        seen: list[KubexClientException] = []

        async def receive() -> None:
            assert await process.stdout.receive() == b"still there"
            try:
                await process.stdout.receive()
            except KubexClientException as error:
                seen.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await connection.pinged(2)
            connection.feed(out(b"still there"))
            connection.lose("reset by peer")
        assert "reset by peer" in str(seen[0])


async def test_the_round_trip_time_is_that_of_the_last_answered_ping() -> None:
    connection = PingableConnection(READY)
    async with serving(connection, options=BRISK) as pods, pods.exec.stream("one", ["x"]) as process:
        assert "rtt" not in str(process.statistics)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.wait)
            await connection.pinged(3)
            connection.feed(SUCCESS)
        rtt = process.statistics.rtt
        assert rtt is not None
        assert 0 <= rtt < 5
        assert f"rtt {rtt * 1000:.1f} ms" in str(process.statistics)
