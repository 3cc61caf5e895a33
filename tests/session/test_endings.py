"""How a session ends: one of four things, never mixed up, and never before everything that came before it."""

from __future__ import annotations

import json

import anyio
import pytest

from kubex_stream import (
    ConnectionLost,
    KubexClientException,
    ProtocolViolation,
    StartError,
    StatusMissing,
    StdinBroken,
    StreamError,
)
from kubex_stream.protocol.status import MAX_STATUS_SIZE

from .memory import (
    READY,
    SUCCESS,
    MemoryConnection,
    SteppingConnection,
    err,
    exited,
    failed,
    out,
    read,
    serving,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("code", [0, 1, 7, 126, 127, 137, 143, 255])
async def test_an_exit_code_is_that_of_the_status(code: int) -> None:
    async with serving(MemoryConnection(READY, exited(code) if code else SUCCESS)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            assert repr(process).endswith("(running)>")
            assert await process.wait() == code
            assert await process.wait() == code
            assert process.exit_code == code
            assert process.status is not None
            assert repr(process).endswith(f"(exited {code})>")


async def test_the_exit_code_stays_when_the_session_is_left() -> None:
    async with serving(MemoryConnection(exited(3))) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            await process.wait()
        assert process.exit_code == 3


async def test_leaving_before_the_end_leaves_no_exit_code() -> None:
    async with serving(MemoryConnection(READY)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            assert repr(process).endswith("(running)>")
        assert process.exit_code is None
        with pytest.raises(anyio.ClosedResourceError):
            await process.stdout.receive()
        with pytest.raises(anyio.ClosedResourceError):
            process.stdout.receive_nowait()
        with pytest.raises(anyio.ClosedResourceError):
            await process.wait()


async def test_attach_has_no_exit_code() -> None:
    async with serving(MemoryConnection(READY, SUCCESS)) as pods:
        async with pods.attach.stream("one") as process:
            assert repr(process).endswith("(attached)>")
            await process.wait()
            assert not hasattr(process, "exit_code")
            assert repr(process).endswith("(ended)>")


async def test_the_initial_empty_frame_is_no_data() -> None:
    for ready in (b"\x01", b"\x02", b"\x03"):
        async with serving(MemoryConnection(ready, out(b"x"), SUCCESS)) as pods:
            done = await pods.exec.run("one", ["x"])
            assert (done.exit_code, done.stdout, done.stderr) == (0, b"x", b"")


async def test_an_initial_empty_frame_on_the_status_channel_ends_nothing() -> None:
    """Without stdout and stderr a server's first frame is an empty one on channel 3, long before the Status."""
    connection = MemoryConnection(b"\x03")
    async with serving(connection) as pods, anyio.create_task_group() as tasks:

        async def later() -> None:
            await connection.until(lambda: connection.waiting)
            connection.feed(exited(7))

        tasks.start_soon(later)
        assert (await pods.exec.run("one", ["x"], input=b"", stdout=False, stderr=False)).exit_code == 7


async def test_empty_frames_are_nothing_wherever_they_are() -> None:
    noise = (b"\x01", b"\x02", b"\x03", b"", b"\x07", b"\x00")
    messages = [*noise, out(b"a"), *noise, err(b"b"), *noise, out(b"c"), *noise, SUCCESS]
    async with serving(MemoryConnection(*messages), SteppingConnection(*messages)) as pods:
        done = await pods.exec.run("one", ["x"])
        assert (done.stdout, done.stderr) == (b"ac", b"b")
        async with pods.exec.stream("one", ["x"]) as process:
            assert [chunk async for chunk in process.stdout] == [b"a", b"c"]
            assert [chunk async for chunk in process.stderr] == [b"b"]


async def test_what_comes_for_unknown_channels_is_dropped() -> None:
    messages = [b"\x07seven", out(b"a"), b"\x00stdin", b"\x04{}", b"\xff\x00", out(b"b"), SUCCESS]
    async with serving(MemoryConnection(*messages), MemoryConnection(*messages)) as pods:
        assert (await pods.exec.run("one", ["x"])).stdout == b"ab"
        async with pods.exec.stream("one", ["x"]) as process:
            assert await read(process.stdout) == b"ab"
            assert await process.wait() == 0


async def test_what_comes_for_a_channel_that_was_not_requested_is_dropped() -> None:
    messages = [out(b"a"), err(b"e" * 5000), out(b"b"), SUCCESS]
    async with serving(MemoryConnection(*messages), MemoryConnection(*messages)) as pods:
        done = await pods.exec.run("one", ["x"], stderr=False)
        assert (done.stdout, done.stderr) == (b"ab", b"")
        async with pods.exec.stream("one", ["x"], stderr=False) as process:
            assert await read(process.stdout) == b"ab"
            with pytest.raises(RuntimeError, match="stderr was not requested"):
                _ = process.stderr


async def test_a_status_may_come_in_pieces() -> None:
    status = exited(7)[1:]
    pieces = [b"\x03" + status[start : start + 20] for start in range(0, len(status), 20)]
    async with serving(MemoryConnection(READY, *pieces)) as pods:
        assert (await pods.exec.run("one", ["x"])).exit_code == 7


async def test_a_status_in_very_many_pieces_is_read_when_the_server_closes() -> None:
    """Trying after each of them would take time that grows with the square."""
    connection = MemoryConnection(READY, *[b"\x03 "] * 100_000, exited(7))
    connection.finish()
    async with serving(connection) as pods:
        assert (await pods.exec.run("one", ["x"])).exit_code == 7


async def test_the_first_status_counts() -> None:
    async with serving(MemoryConnection(exited(7), SUCCESS)) as pods:
        assert (await pods.exec.run("one", ["x"])).exit_code == 7


async def test_a_failure_to_start_is_told_with_its_status() -> None:
    async with serving(MemoryConnection(READY, failed("no such program", 404))) as pods:
        with pytest.raises(StartError, match=r"^no such program$") as raised:
            await pods.exec.run("one", ["x"])
    assert raised.value.status_code == 404
    assert raised.value.status is not None
    assert raised.value.status.reason == "InternalError"


async def test_a_close_without_a_status_is_no_exit_code() -> None:
    connection = MemoryConnection(READY, out(b"partial"))
    connection.finish()
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        assert await process.stdout.receive() == b"partial"
        for _ in range(2):
            with pytest.raises(StatusMissing, match="no Status said how the process ended"):
                await process.stdout.receive()
        with pytest.raises(StatusMissing):
            await process.wait()
        assert process.exit_code is None
        assert repr(process).endswith("(failed: StatusMissing)>")


@pytest.mark.parametrize("close_code", [None, 1002, 1006, 1011])
async def test_a_lost_connection_is_told_with_what_is_known_of_it(close_code: int | None) -> None:
    connection = MemoryConnection(READY, out(b"partial"), err(b"e"))
    connection.lose("TCP ended", close_code)
    async with serving(connection) as pods:
        with pytest.raises(ConnectionLost, match=r"^TCP ended \(8 bytes in, 0 bytes out, idle for ") as raised:
            await pods.exec.run("one", ["x"])
    error = raised.value
    assert isinstance(error, ConnectionError)
    assert error.close_code == close_code
    assert error.statistics is not None
    assert (error.statistics.bytes_in, error.statistics.frames_in) == (8, 3)
    assert (getattr(error, "stdout", None), getattr(error, "stderr", None)) == (b"partial", b"e")
    assert type(error.__cause__) is ConnectionLost


async def test_a_connection_that_breaks_after_the_status_has_ended_well() -> None:
    for code in (0, 7):
        connection = MemoryConnection(out(b"x"), exited(code) if code else SUCCESS)
        connection.lose("reset by peer")
        async with serving(connection) as pods:
            done = await pods.exec.run("one", ["x"])
        assert (done.exit_code, done.stdout) == (code, b"x")


@pytest.mark.parametrize(
    "garbage", [b"{", b"boom", b"\xff\xfe", b"{}", b"[]", b'{"status":"Weird"}', b"[" * 100_000, b'{"code":1e999}']
)
async def test_a_garbage_status_is_a_violation(garbage: bytes) -> None:
    connection = MemoryConnection(out(b"x"), b"\x03" + garbage)
    connection.finish()
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        assert await process.stdout.receive() == b"x"
        with pytest.raises(ProtocolViolation, match="error stream protocol error: "):
            await process.stdout.receive()
        with pytest.raises(ProtocolViolation):
            await process.wait()
        assert process.exit_code is None


async def test_a_failure_without_an_exit_code_keeps_its_status() -> None:
    status = {"status": "Failure", "message": "killed by the runtime", "reason": "NonZeroExitCode"}
    async with serving(MemoryConnection(b"\x03" + json.dumps(status).encode())) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            with pytest.raises(ProtocolViolation, match="details must be set"):
                await process.wait()
            assert process.status is not None
            assert process.status.message == "killed by the runtime"


async def test_a_status_over_the_limit_is_a_violation() -> None:
    piece = b"\x03" + b" " * (1024 * 1024)
    async with serving(MemoryConnection(out(b"x"), *[piece] * 5, SUCCESS)) as pods:
        with pytest.raises(ProtocolViolation, match=f"a Status of more than {MAX_STATUS_SIZE} bytes"):
            await pods.exec.run("one", ["x"])


async def test_what_the_transport_finds_wrong_is_told_with_the_statistics() -> None:
    connection = MemoryConnection(out(b"abc"))
    connection.fail(ProtocolViolation("a text message"))
    async with serving(connection) as pods:
        with pytest.raises(ProtocolViolation, match=r"^a text message \(3 bytes in") as raised:
            await pods.exec.run("one", ["x"])
    assert type(raised.value.__cause__) is ProtocolViolation


async def test_any_other_error_of_a_transport_arrives_as_it_is() -> None:
    error = StreamError("something of the transport's own")
    connection = MemoryConnection(out(b"x"))
    connection.fail(error)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        assert await process.stdout.receive() == b"x"
        with pytest.raises(StreamError) as raised:
            await process.stdout.receive()
    assert raised.value is error
    assert error.__cause__ is None


@pytest.mark.parametrize("ending", ["success", "failed", "missing", "lost", "garbage"])
async def test_everything_that_came_is_handed_out_before_the_end(ending: str) -> None:
    connection = MemoryConnection(*[out(b"%d " % n) for n in range(50)], *[err(b"%d " % n) for n in range(50)])
    kinds: dict[str, type[Exception]] = {
        "success": anyio.EndOfStream,
        "failed": StartError,
        "missing": StatusMissing,
        "lost": ConnectionLost,
        "garbage": ProtocolViolation,
    }
    connection.feed(*{"success": [SUCCESS], "failed": [failed("x")], "garbage": [b"\x03{"]}.get(ending, []))
    connection.lose() if ending == "lost" else connection.finish()
    expected = b"".join(b"%d " % n for n in range(50))
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:
        if ending == "success":
            assert await process.wait() == 0
        else:
            with pytest.raises(kinds[ending]):
                await process.wait()
        for stream in (process.stderr, process.stdout):
            got = b""
            while len(got) < len(expected):
                got += await stream.receive(7)
            assert got == expected
            with pytest.raises(kinds[ending]):
                await stream.receive()
            with pytest.raises(kinds[ending]):
                stream.receive_nowait()


async def test_the_ending_of_a_lost_session_is_told_to_every_task() -> None:
    connection = MemoryConnection(READY)
    seen: list[type[Exception]] = []
    async with serving(connection) as pods, pods.exec.stream("one", ["x"]) as process:

        async def receive(what: str) -> None:
            try:
                await (process.wait() if what == "wait" else getattr(process, what).receive())
            except KubexClientException as error:
                seen.append(type(error))

        async with anyio.create_task_group() as tasks:
            for what in ("stdout", "stderr", "wait"):
                tasks.start_soon(receive, what)
            await connection.until(lambda: connection.waiting)
            connection.lose()
    assert seen == [ConnectionLost] * 3


async def test_stdin_is_broken_once_the_session_has_ended() -> None:
    connection = MemoryConnection(exited(1))
    async with serving(connection) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        await process.wait()
        with pytest.raises(StdinBroken, match="the session has ended") as raised:
            await process.stdin.send(b"x")
        assert isinstance(raised.value, BrokenPipeError)
        assert isinstance(raised.value, anyio.BrokenResourceError)
        await process.stdin.aclose()
        assert connection.sent == []
