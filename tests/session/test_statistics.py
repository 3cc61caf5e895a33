"""Numbers and events: what was carried, and what an observer is told of it."""

from __future__ import annotations

import anyio
import pytest

from kubex_stream import ApiError, ConnectionLost, Observer, SessionStatistics
from kubex_stream.client import Response

from .memory import CLOSE_STDIN, READY, SUCCESS, V4, V5, MemoryConnection, err, failed, out, read, serving

pytestmark = pytest.mark.anyio

PATH = "/api/v1/namespaces/default/pods/one/exec"


class Diary(Observer):
    """Notes everything."""

    def __init__(self) -> None:
        self.lines: list[tuple[object, ...]] = []

    def opened(self, path: str, subprotocol: str) -> None:
        self.lines.append(("opened", path, subprotocol))

    def frame(self, path: str, *, sent: bool, channel: int, size: int) -> None:
        assert path == PATH
        self.lines.append(("sent" if sent else "received", channel, size))

    def closed(self, path: str, error: BaseException | None) -> None:
        self.lines.append(("closed", path, type(error)))


async def test_statistics_count_payloads_and_messages() -> None:
    connection = MemoryConnection(READY, out(b"abc"), err(b"de"), b"\x07dropped", out(b""), protocol=V5)
    async with serving(connection) as pods, pods.exec.stream("one", ["x"], stdin=True) as process:
        assert process.statistics[:4] == (0, 0, 0, 0)
        assert await process.stdout.receive() == b"abc"
        assert process.statistics[:4] == (3, 0, 2, 0)
        await process.stdin.send(b"x" * 80_000)
        await process.stdin.aclose()
        assert process.statistics[:4] == (3, 80_000, 2, 3)
        connection.feed(SUCCESS)
        await process.wait()
        now = process.statistics
    assert now[:4] == (5, 80_000, 6, 3)
    assert now.spooled == 0
    assert process.statistics[:4] == now[:4]


async def test_empty_messages_are_neither_counted_nor_told() -> None:
    """They have no channel."""
    for observer in (Diary(), None):
        connection = MemoryConnection(b"", out(b"abc"), b"", b"", err(b""), SUCCESS)
        async with serving(connection, observer=observer) as pods, pods.exec.stream("one", ["x"]) as process:
            assert await read(process.stdout) == b"abc"
            assert process.statistics.frames_in == 3
        if observer is not None:
            assert observer.lines[1:-1] == [("received", 1, 3), ("received", 2, 0), ("received", 3, len(SUCCESS) - 1)]


def test_statistics_as_text() -> None:
    numbers = SessionStatistics(10, 20, 3, 4, 1.25, 0.0123, 0)
    assert str(numbers) == "10 bytes in, 20 bytes out, idle for 1.2 s, rtt 12.3 ms"
    assert str(numbers._replace(rtt=None)) == "10 bytes in, 20 bytes out, idle for 1.2 s"


async def test_turned_off_and_drained_output_is_counted_too() -> None:
    async with serving(MemoryConnection(out(b"abc"), err(b"de"), SUCCESS)) as pods:
        async with pods.exec.stream("one", ["x"]) as process:
            await process.stdout.aclose()
            await process.wait()
            assert process.statistics.bytes_in == 5


@pytest.mark.parametrize("how", ["stream", "run"])
async def test_an_observer_is_told_of_a_session(how: str) -> None:
    diary = Diary()
    connection = MemoryConnection(READY, out(b"abc"), err(b"de"), SUCCESS)
    async with serving(connection, observer=diary) as pods:
        if how == "run":
            await pods.exec.run("one", ["x", "--secret"])
        else:
            async with pods.exec.stream("one", ["x", "--secret"]) as process:
                await process.wait()
    assert diary.lines == [
        ("opened", PATH, V4),
        ("received", 1, 0),
        ("received", 1, 3),
        ("received", 2, 2),
        ("received", 3, len(SUCCESS) - 1),
        ("closed", PATH, type(None)),
    ]


async def test_an_observer_is_told_of_what_is_sent() -> None:
    diary = Diary()
    async with serving(MemoryConnection(), observer=diary) as pods:
        async with pods.exec.stream("one", ["x"], stdin=True) as process:
            await process.stdin.send(b"x" * 80_000)
            await process.stdin.aclose()
    assert diary.lines[1:-1] == [("sent", 0, 64 * 1024), ("sent", 0, 80_000 - 64 * 1024), ("sent", CLOSE_STDIN[0], 1)]


async def test_an_observer_is_told_how_a_session_failed() -> None:
    diary = Diary()
    lost = MemoryConnection(READY)
    lost.lose()
    async with serving(lost, MemoryConnection(failed("x")), observer=diary) as pods:
        with pytest.raises(ConnectionLost):
            await pods.exec.run("one", ["x"])
        with pytest.raises(ApiError):
            await pods.exec.run("one", ["x"])
    assert [line[-1].__name__ for line in diary.lines if line[0] == "closed"] == ["ConnectionLost", "StartError"]  # type: ignore[attr-defined]


async def test_an_observer_is_told_what_ended_a_block() -> None:
    diary = Diary()

    async def fail() -> None:
        raise LookupError

    async with serving(MemoryConnection(READY), MemoryConnection(READY), observer=diary) as pods:
        try:
            async with pods.exec.stream("one", ["x"]):
                await fail()
        except LookupError:
            pass
        with anyio.CancelScope() as scope:
            async with pods.exec.stream("one", ["x"]) as process:
                scope.cancel()
                await process.wait()
    kinds = [line[-1] for line in diary.lines if line[0] == "closed"]
    assert kinds == [LookupError, anyio.get_cancelled_exc_class()]


async def test_a_refusal_opens_nothing() -> None:
    diary = Diary()
    async with serving(Response(500, [], b"container gone"), observer=diary) as pods:
        with pytest.raises(ApiError):
            await pods.exec.run("one", ["x"])
    assert diary.lines == []


async def test_an_observers_exception_is_its_callers() -> None:
    error = LookupError("the observer's own")

    class Failing(Observer):
        def frame(self, path: str, **_: object) -> None:  # noqa: ARG002
            raise error

    connections = [MemoryConnection(READY, out(b"x"), SUCCESS) for _ in range(2)]
    async with serving(*connections, observer=Failing()) as pods:
        with pytest.raises(LookupError) as raised:
            await pods.exec.run("one", ["x"])
        assert raised.value is error
        async with pods.exec.stream("one", ["x"]) as process:
            with pytest.raises(LookupError):
                await process.wait()
    assert all(connection.closed for connection in connections)
