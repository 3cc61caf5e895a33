"""``run``: input in, output out or passed on, one result or one exception."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import STDOUT, ClientOptions, ConnectionLost, ProcessError, StatusMissing, StreamTimeout

from .memory import (
    READY,
    SUCCESS,
    MemoryConnection,
    NarrowConnection,
    SteppingConnection,
    err,
    exited,
    out,
    serving,
)

pytestmark = pytest.mark.anyio


class Writer:
    """An async writer that suspends."""

    def __init__(self) -> None:
        self.got = b""

    async def send(self, item: bytes) -> None:
        await checkpoint()
        self.got += item


# Results ------------------------------------------------------------------------------------------------------------------


async def test_a_run_gives_everything() -> None:
    async with serving(MemoryConnection(READY, out(b"a"), err(b"b"), out(b"c"), exited(7))) as pods:
        done = await pods.exec.run("one", ["sh", "-c", "x"])
    assert done.args == ("sh", "-c", "x")
    assert (done.exit_code, done.stdout, done.stderr) == (7, b"ac", b"b")
    assert done.status is not None
    assert done.status.reason == "NonZeroExitCode"
    assert (done.statistics.bytes_in, done.statistics.frames_in) == (3, 5)


async def test_large_outputs_are_whole() -> None:
    data = [bytes((number % 256,)) * 30_000 for number in range(200)]
    for kind in (MemoryConnection, SteppingConnection):
        async with serving(kind(*map(out, data), *map(err, reversed(data)), SUCCESS)) as pods:
            done = await pods.exec.run("one", ["x"])
        assert done.stdout == b"".join(data)
        assert done.stderr == b"".join(reversed(data))


async def test_check_raises_for_an_exit_code() -> None:
    async with serving(
        MemoryConnection(out(b"o"), err(b"cat: x: no such file\n"), exited(1)), MemoryConnection(SUCCESS)
    ) as pods:
        with pytest.raises(ProcessError, match=r"^the command ended with exit code 1: cat: x: no such file$") as raised:
            await pods.exec.run("one", ["cat", "--token=hunter2"], check=True)
        assert (await pods.exec.run("one", ["x"], check=True)).exit_code == 0
    assert raised.value.exit_code == 1
    assert raised.value.result.stdout == b"o"
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(raised.value.result)


async def test_check_can_be_asked_for_afterwards() -> None:
    async with serving(MemoryConnection(exited(2)), MemoryConnection(SUCCESS)) as pods:
        with pytest.raises(ProcessError, match=r"exit code 2$"):
            (await pods.exec.run("one", ["x"])).check_returncode()
        (await pods.exec.run("one", ["x"])).check_returncode()


async def test_text_is_decoded_as_a_whole() -> None:
    text = "schön 🐳"
    messages = [out(bytes((byte,))) for byte in text.encode()]
    async with serving(MemoryConnection(*messages, err(b"\xff"), SUCCESS)) as pods:
        done = await pods.exec.run("one", ["x"], encoding="utf-8", errors="replace")
    assert (done.stdout, done.stderr) == (text, "�")


async def test_stderr_may_go_where_stdout_goes() -> None:
    messages = [out(b"a"), err(b"b"), out(b"c"), SUCCESS]
    async with serving(*[MemoryConnection(*messages) for _ in range(2)]) as pods:
        done = await pods.exec.run("one", ["x"], stderr=STDOUT)
        assert (done.stdout, done.stderr) == (b"abc", b"")
        got: list[bytes] = []
        done = await pods.exec.run("one", ["x"], stdout=got.append, stderr=STDOUT)
        assert (b"".join(got), done.stdout, done.stderr) == (b"abc", b"", b"")


async def test_outputs_that_are_not_wanted_are_not_asked_for() -> None:
    async with serving(MemoryConnection(out(b"a"), err(b"b"), SUCCESS)) as pods:
        done = await pods.exec.run("one", ["x"], stdout=False)
    assert (done.stdout, done.stderr) == (b"", b"b")


# Passing output on ----------------------------------------------------------------------------------------------------------


async def test_output_is_passed_to_functions_and_writers() -> None:
    messages = [out(b"a"), err(b"1"), out(b"b"), err(b"2"), SUCCESS]
    plain: list[bytes] = []
    slow: list[bytes] = []
    writer = Writer()

    async def coroutine_function(chunk: bytes) -> None:
        await checkpoint()
        slow.append(chunk)

    async with serving(*[MemoryConnection(*messages) for _ in range(2)]) as pods:
        done = await pods.exec.run("one", ["x"], stdout=plain.append, stderr=coroutine_function)
        assert (done.stdout, done.stderr, done.exit_code) == (b"", b"", 0)
        done = await pods.exec.run("one", ["x"], stdout=writer)
        assert (done.stdout, done.stderr) == (b"", b"12")
    assert (plain, slow, writer.got) == ([b"a", b"b"], [b"1", b"2"], b"ab")


async def test_a_slow_function_is_back_pressure() -> None:
    connection = MemoryConnection(*[out(b"x" * 400)] * 50, SUCCESS)
    ahead: list[int] = []
    calls = 0

    async def slowly(_: bytes) -> None:
        nonlocal calls
        calls += 1
        ahead.append(connection.taken - calls)
        for _step in range(5):
            await checkpoint()

    async with serving(connection, options=ClientOptions(stream_buffer_size=1000, heartbeat=None)) as pods:
        await pods.exec.run("one", ["x"], stdout=slowly)
    assert calls == 50
    assert max(ahead) <= 4  # as many as the buffer holds, and the one that fills it


@pytest.mark.parametrize("which", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["function", "coroutine function", "writer"])
async def test_a_failing_target_raises_its_own_exception(which: str, kind: str) -> None:
    error = LookupError("the target's own")

    def function(_: bytes) -> None:
        raise error

    async def coroutine_function(_: bytes) -> None:
        await checkpoint()
        raise error

    class Failing:
        async def send(self, _: bytes, /) -> None:
            raise error

    targets: dict[str, object] = {
        "function": function,
        "coroutine function": coroutine_function,
        "writer": Failing(),
    }
    connection = MemoryConnection(READY, out(b"x"), err(b"x"))
    async with serving(connection) as pods:
        with pytest.raises(LookupError) as raised:
            await pods.exec.run("one", ["x"], **{which: targets[kind]})  # type: ignore[call-overload]
    assert raised.value is error
    assert connection.closed


async def test_a_lost_connection_under_targets_is_told_as_such() -> None:
    got: list[bytes] = []
    connection = MemoryConnection(out(b"partial"), err(b"e"))
    connection.lose("reset by peer")
    async with serving(connection) as pods:
        with pytest.raises(ConnectionLost, match="reset by peer") as raised:
            await pods.exec.run("one", ["x"], stdout=got.append)
    assert got == [b"partial"]
    assert (raised.value.stdout, raised.value.stderr) == (b"", b"e")


# Too late -------------------------------------------------------------------------------------------------------------------


async def test_a_timeout_tells_what_had_come() -> None:
    connection = MemoryConnection(READY, out(b"partial \xe2"), err(b"oops"))
    async with serving(connection) as pods:
        with pytest.raises(StreamTimeout, match=r"^the command did not end within 0\.3 s; it may still run") as raised:
            await pods.exec.run("one", ["sleep"], timeout=0.3)
    error = raised.value
    assert isinstance(error, TimeoutError)
    assert (error.stdout, error.stderr) == (b"partial \xe2", b"oops")
    assert error.statistics is not None
    assert error.statistics.bytes_in == 13
    assert connection.closed_with == 1000


async def test_a_timeout_tells_it_as_text_where_text_was_asked_for() -> None:
    async with serving(MemoryConnection(out("ab€".encode()[:-1]))) as pods:
        with pytest.raises(StreamTimeout) as raised:
            await pods.exec.run("one", ["sleep"], timeout=0.3, encoding="utf-8")
    assert raised.value.stdout == "ab�"


async def test_a_timeout_that_kills_does_not_say_that_it_runs() -> None:
    connection = MemoryConnection(READY)
    async with serving(connection) as pods:
        with pytest.raises(StreamTimeout) as raised:
            await pods.exec.run("one", ["sleep"], timeout=0.02, on_cancel="kill")
    assert "may still run" not in str(raised.value)
    assert connection.cut


async def test_a_timeout_bounds_a_blocked_input_and_a_slow_target() -> None:
    async def never(_: bytes) -> None:
        await anyio.sleep_forever()

    async def nothing() -> AsyncIterator[bytes]:
        await anyio.sleep_forever()
        yield b""

    target: Callable[[bytes], Awaitable[None]] = never
    async with serving(NarrowConnection(READY), MemoryConnection(READY), MemoryConnection(out(b"x"))) as pods:
        with pytest.raises(StreamTimeout):
            await pods.exec.run("one", ["sleep"], timeout=0.02, input=bytes(100_000))
        with pytest.raises(StreamTimeout):
            await pods.exec.run("one", ["sleep"], timeout=0.02, input=nothing())
        with pytest.raises(StreamTimeout):
            await pods.exec.run("one", ["sleep"], timeout=0.02, stdout=target)


async def test_a_run_that_is_in_time_has_no_timeout() -> None:
    async with serving(MemoryConnection(out(b"x"), SUCCESS)) as pods:
        assert (await pods.exec.run("one", ["x"], timeout=60)).stdout == b"x"


async def test_partial_output_is_in_every_error() -> None:
    connection = MemoryConnection(out(b"partial"), err(b"e"))
    connection.finish()
    async with serving(connection) as pods:
        with pytest.raises(StatusMissing) as raised:
            await pods.exec.run("one", ["x"], encoding="utf-8")
    assert (raised.value.stdout, raised.value.stderr) == ("partial", "e")
