"""stdout and stderr: all bytes, in order, for any number of consumers of any speed."""

from __future__ import annotations

import anyio
import pytest

from kubex_stream import STDOUT, ClientOptions, OutputStream, UnreadChannelError

from .memory import (
    BRISK,
    READY,
    SUCCESS,
    V4,
    V5,
    MemoryConnection,
    PingableConnection,
    SteppingConnection,
    err,
    out,
    read,
    serving,
    small,
)

pytestmark = pytest.mark.anyio

OPTIONS = ClientOptions(stream_buffer_size=100)


async def test_two_consumers_each_get_all_of_theirs_in_order() -> None:
    pieces = [b"%04d" % number for number in range(500)]
    messages = [message for piece in pieces for message in (out(piece), err(piece))]
    for kind in (MemoryConnection, SteppingConnection):
        async with serving(kind(*messages, SUCCESS), options=OPTIONS) as pods:
            async with pods.exec.stream("one", ["x"]) as process, anyio.create_task_group() as tasks:
                got: dict[str, bytes] = {}

                async def consume(name: str, stream: OutputStream, got: dict[str, bytes] = got) -> None:
                    got[name] = await read(stream)

                tasks.start_soon(consume, "stdout", process.stdout)
                tasks.start_soon(consume, "stderr", process.stderr)
            assert got == {"stdout": b"".join(pieces), "stderr": b"".join(pieces)}


async def test_a_waiting_consumer_takes_over_when_the_reading_one_is_cancelled() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        got: list[bytes] = []

        async def consume(stream: OutputStream) -> None:
            got.append(await stream.receive())

        async with anyio.create_task_group() as tasks:
            reading = anyio.CancelScope()

            async def read_first() -> None:
                with reading:
                    await consume(process.stdout)

            tasks.start_soon(read_first)
            await connection.until(lambda: connection.waiting)
            tasks.start_soon(consume, process.stderr)
            await anyio.wait_all_tasks_blocked()
            reading.cancel()
            await anyio.wait_all_tasks_blocked()
            connection.feed(err(b"e"))
        assert got == [b"e"]


async def test_two_receivers_of_one_stream_are_refused() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        got: list[bytes] = []

        async def receive() -> None:
            got.append(await process.stdout.receive())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            await connection.until(lambda: connection.waiting)
            with pytest.raises(anyio.BusyResourceError):
                await process.stdout.receive()
            connection.feed(out(b"x"))
        assert got == [b"x"]


# A channel that nobody reads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_an_output_that_nobody_reads_is_named_and_nothing_is_lost(protocol: str) -> None:
    written = [b"%09d " % number for number in range(100)]
    connection = MemoryConnection(*map(err, written), out(b"done"), SUCCESS, protocol=protocol)
    async with serving(connection, options=OPTIONS) as pods:
        async with pods.exec.stream("one", ["x"], protocols=[protocol]) as process:
            with pytest.raises(UnreadChannelError, match=r"receive stderr in a task.*\(stderr=False\)") as raised:
                await process.stdout.receive()
            assert raised.value.statistics is not None
            with pytest.raises(UnreadChannelError, match="bytes of stderr are waiting"):
                await process.wait()
            got = b""
            while len(got) < 1000:
                got += await process.stderr.receive()
            assert got == b"".join(written)
            assert await process.stdout.receive() == b"done"
            assert await process.wait() == 0


async def test_waiting_for_the_end_names_the_output_that_is_full() -> None:
    connection = MemoryConnection(*[out(b"x" * 60)] * 10, SUCCESS)
    async with serving(connection, options=OPTIONS) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            with pytest.raises(UnreadChannelError, match="bytes of stdout are waiting"):
                await process.wait()
            assert await read(process.stdout) == b"x" * 600


async def test_waiting_for_the_end_keeps_what_fits() -> None:
    async with serving(MemoryConnection(out(b"a"), err(b"b"), out(b"c"), SUCCESS)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            assert await process.wait() == 0
            assert await read(process.stdout) == b"ac"
            assert await read(process.stderr) == b"b"


@pytest.mark.parametrize("protocol", [V4, V5])
async def test_a_consumer_that_is_slow_but_reads_is_waited_for(protocol: str) -> None:
    """The other output is full time and again, but somebody has read it: that is back-pressure, never an error."""
    messages = [message for n in range(60) for message in (err(b"e" * 90), out(b"%02d" % n))]
    connection = PingableConnection(*messages, SUCCESS, protocol=protocol)
    async with serving(connection, options=small(100)) as pods:
        async with pods.exec.stream("one", ["x"], protocols=[protocol]) as process:
            got = {"stdout": b"", "stderr": b""}
            got["stderr"] += await process.stderr.receive()

            async def slowly() -> None:
                async for chunk in process.stderr:
                    got["stderr"] += chunk
                    if len(got["stderr"]) % 900 == 0:
                        await anyio.wait_all_tasks_blocked()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(slowly)
                got["stdout"] = await read(process.stdout)
            assert await process.wait() == 0
        assert got == {"stdout": b"".join(b"%02d" % n for n in range(60)), "stderr": b"e" * 90 * 60}


async def test_an_output_that_was_turned_off_is_dropped_and_stops_nobody() -> None:
    connection = MemoryConnection(*[err(b"x" * 60)] * 10, out(b"done"), *[err(b"x" * 60)] * 10, SUCCESS)
    async with serving(connection, options=OPTIONS) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            await process.stderr.aclose()
            assert await process.stdout.receive() == b"done"
            assert await process.wait() == 0
            with pytest.raises(anyio.ClosedResourceError):
                await process.stderr.receive()
            with pytest.raises(anyio.ClosedResourceError):
                process.stderr.receive_nowait()


async def test_turning_an_output_off_lets_the_other_go_on() -> None:
    connection = MemoryConnection(out(b"o"), *[err(b"x" * 60)] * 10, out(b"done"), SUCCESS, protocol=V4)
    async with serving(connection, options=OPTIONS) as pods:
        async with pods.exec.stream("one", ["x"]) as process, anyio.create_task_group() as tasks:
            got: list[bytes] = []

            async def consume() -> None:
                got.append(await read(process.stdout))

            await process.stdout.receive()
            connection.feed()
            tasks.start_soon(consume)
            with pytest.raises(anyio.WouldBlock):
                process.stderr.receive_nowait()  # it counts as read now, so the other one waits for it
            await anyio.wait_all_tasks_blocked()
            assert connection.left > 0
            await process.stderr.aclose()
        assert got == [b"done"]


async def test_closing_a_stream_that_somebody_is_about_to_take_from() -> None:
    connection = PingableConnection(out(b"x" * 200))
    async with serving(connection, options=small(100)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            seen: list[type[Exception]] = []

            async def receive() -> None:
                try:
                    await process.stdout.receive()
                except anyio.ClosedResourceError as error:
                    seen.append(type(error))

            await connection.until(lambda: connection.left == 0)  # the keeper has read it
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(receive)
                tasks.start_soon(process.stdout.aclose)
            assert seen in ([anyio.ClosedResourceError], [])
            with pytest.raises(anyio.ClosedResourceError):
                await process.stdout.receive()


# Pieces ---------------------------------------------------------------------------------------------------------------


async def test_pieces_are_as_large_as_asked_for() -> None:
    data = bytes(range(256)) * 40
    async with serving(MemoryConnection(out(data), out(b"end"), SUCCESS)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            assert await process.stdout.receive(1) == data[:1]
            assert process.stdout.receive_nowait(9) == data[1:10]
            got = data[:10]
            while len(got) < len(data):
                piece = await process.stdout.receive(100)
                assert 1 <= len(piece) <= 100
                got += piece
            assert got == data
            assert await process.stdout.receive() == b"end"


async def test_a_large_message_is_split_in_linear_time() -> None:
    """Every byte is copied once: a quadratic split would copy some 60 GB here."""
    data = bytes(500_000)
    async with serving(MemoryConnection(out(data), SUCCESS)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            count = 0
            while count < len(data):
                count += len(await process.stdout.receive(2))
            with pytest.raises(anyio.EndOfStream):
                await process.stdout.receive(2)


async def test_a_size_that_makes_no_sense_loses_nothing() -> None:
    async with serving(MemoryConnection(out(b"abc"), out(b"def"), SUCCESS)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            for size in (0, -1):
                with pytest.raises(ValueError, match=f"max_bytes must be positive, not {size}"):
                    await process.stdout.receive(size)
                with pytest.raises(ValueError, match="max_bytes must be positive"):
                    process.stdout.receive_nowait(size)
            assert await read(process.stdout) == b"abcdef"


# Without waiting --------------------------------------------------------------------------------------------------------


async def test_receiving_without_waiting_has_the_keeper_read() -> None:
    connection = PingableConnection(READY)
    async with serving(connection, options=BRISK) as pods, pods.exec.stream("one", ["x"]) as process:
        with pytest.raises(anyio.WouldBlock):
            process.stdout.receive_nowait()
        await connection.until(lambda: connection.waiting)
        connection.feed(out(b"abc"), out(b"def"), err(b"e"))
        await connection.until(lambda: connection.waiting and connection.left == 0)
        assert process.stdout.receive_nowait() == b"abc"
        assert process.stderr.receive_nowait() == b"e"
        assert process.stdout.receive_nowait(2) == b"de"
        assert process.stdout.receive_nowait(2) == b"f"
        with pytest.raises(anyio.WouldBlock):
            process.stdout.receive_nowait()
        connection.feed(out(b"g"), SUCCESS)
        await connection.until(lambda: connection.left == 0)
        await anyio.wait_all_tasks_blocked()
        assert process.stdout.receive_nowait() == b"g"
        with pytest.raises(anyio.EndOfStream):
            process.stdout.receive_nowait()
        assert process.exit_code == 0


async def test_asking_without_waiting_makes_the_keeper_read_at_once() -> None:
    """Without pings the keeper looks once a second; asking makes it look now, so this takes no time."""
    connection = MemoryConnection(READY, out(b"abc"))
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        with pytest.raises(anyio.WouldBlock):
            process.stdout.receive_nowait()
        await connection.until(lambda: connection.waiting)
        assert process.stdout.receive_nowait() == b"abc"


async def test_waiting_and_not_waiting_may_be_mixed() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        for number in range(20):
            with pytest.raises(anyio.WouldBlock):
                process.stdout.receive_nowait()
            await connection.until(lambda: connection.waiting)
            async with anyio.create_task_group() as tasks:

                async def receive(number: int = number) -> None:
                    assert await process.stdout.receive() == b"%d" % number

                tasks.start_soon(receive)
                await anyio.wait_all_tasks_blocked()
                connection.feed(out(b"%d" % number))


# stderr in stdout, and text -----------------------------------------------------------------------------------------------


async def test_stderr_may_be_merged_into_stdout() -> None:
    async with serving(MemoryConnection(out(b"a"), err(b"b"), out(b"c"), SUCCESS)) as pods:
        async with pods.exec.stream("one", ["x"], stderr=STDOUT) as process:
            assert await read(process.stdout) == b"abc"
            with pytest.raises(RuntimeError, match="stderr=STDOUT"):
                _ = process.stderr


async def test_text_survives_characters_that_are_split() -> None:
    text = "schön € 🐳 漢字"
    messages = [out(bytes((byte,))) for byte in text.encode()]
    async with serving(MemoryConnection(*messages, SUCCESS)) as pods:
        async with pods.exec.stream("one", ["x"], encoding="utf-8") as process:
            pieces = [piece async for piece in process.stdout]
    assert "".join(pieces) == text
    assert all(pieces)


async def test_text_that_ends_in_mid_character_is_told_by_errors() -> None:
    messages = [out("a€".encode()[:-1]), SUCCESS]
    async with serving(MemoryConnection(*messages), MemoryConnection(*messages)) as pods:
        async with pods.exec.stream("one", ["x"], encoding="utf-8", errors="replace") as process:
            assert "".join([piece async for piece in process.stdout]) == "a�"
        async with pods.exec.stream("one", ["x"], encoding="utf-8") as process:
            assert await process.stdout.receive() == "a"
            with pytest.raises(UnicodeDecodeError):
                await process.stdout.receive()
            with pytest.raises(anyio.EndOfStream):
                await process.stdout.receive()


async def test_text_without_waiting() -> None:
    connection = PingableConnection(READY)
    async with serving(connection, options=BRISK) as pods:
        async with pods.exec.stream("one", ["x"], encoding="utf-8") as process:
            with pytest.raises(anyio.WouldBlock):
                process.stdout.receive_nowait()
            euro = "€".encode()
            connection.feed(out(euro[:1]), out(euro[1:] + b"x"), SUCCESS)
            await connection.until(lambda: connection.left == 0)
            await anyio.wait_all_tasks_blocked()
            assert process.stdout.receive_nowait() == "€x"
            with pytest.raises(anyio.EndOfStream):
                process.stdout.receive_nowait()
            await process.stderr.aclose()
            with pytest.raises(anyio.ClosedResourceError):
                await process.stderr.receive()
