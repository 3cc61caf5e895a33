"""How long things may take: wall-clock for a request as a whole, and for a stream until it is open."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from kubex_stream import (
    ClientConfiguration,
    ClientOptions,
    KubexClientException,
    StreamTimeout,
    Timeout,
    TooManyRequests,
)
from kubex_stream.client import PreparedRequest, Request, Response

from .memory import CLUSTER, V4, WAYS, Body, MemoryWebSocket, Way, go, hang, refusal, scripted

pytestmark = pytest.mark.anyio

SOON = 0.02
LATER = 3 * SOON
#: For what has to be done in time, also by a machine that is busy.
AMPLE = 0.4


async def drip(_: PreparedRequest) -> None:
    """An attempt that makes progress for ever, so that no phase of it is too long."""
    while True:
        await anyio.sleep(0.001)


async def slow(_: PreparedRequest) -> None:
    """A success that comes later than soon."""
    await anyio.sleep(LATER)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attempt", [hang, drip], ids=["hanging", "dripping"])
async def test_a_total_is_wall_clock(way: Way, attempt: Any) -> None:
    async with scripted(attempt, options=ClientOptions(timeout=SOON)) as client:
        with pytest.raises(StreamTimeout, match=r"/exec took longer than 0.02 s") as caught:
            await go(client, way, Request(path="/exec", query=[("command", "hunter2")]))
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, KubexClientException)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_has_its_own(way: Way) -> None:
    async with scripted(hang, options=ClientOptions(timeout=None)) as client:
        with pytest.raises(StreamTimeout):
            await go(client, way, Request(path="/", timeout=SOON))
    async with scripted(slow, options=ClientOptions(timeout=SOON)) as client:
        await go(client, way, Request(path="/", timeout=None))


@pytest.mark.parametrize("way", ["stream", "websocket"])
@pytest.mark.parametrize("timeout", [..., None, 3600], ids=repr)
async def test_opening_a_stream_has_a_limit_of_its_own(way: Way, timeout: Any) -> None:
    options = ClientOptions(timeout=timeout, open_timeout=SOON)
    async with scripted(hang, options=options) as client:
        with pytest.raises(StreamTimeout, match=r"took longer than 0.02 s"):
            await go(client, way)


@pytest.mark.parametrize("way", ["stream", "websocket"])
async def test_the_shorter_limit_counts(way: Way) -> None:
    async with scripted(hang, options=ClientOptions(timeout=SOON, open_timeout=3600)) as client:
        with pytest.raises(StreamTimeout, match=r"0.02 s"):
            await go(client, way)


async def test_a_plain_request_is_not_limited_by_it() -> None:
    async with scripted(slow, options=ClientOptions(open_timeout=SOON)) as client:
        await go(client, "request")


@pytest.mark.parametrize("way", WAYS)
async def test_without_limits_there_are_none(way: Way) -> None:
    async with scripted(slow, options=ClientOptions(timeout=None, open_timeout=None)) as client:
        await go(client, way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("client_timeout", "call_timeout", "passed_on"),
    [
        (..., ..., ...),
        (None, ..., None),
        (5, ..., Timeout(5)),
        (5, None, None),
        (5, 3, Timeout(3)),
        (..., Timeout(connect=1), Timeout(connect=1)),
    ],
    ids=repr,
)
async def test_the_phases_are_the_transports(way: Way, client_timeout: Any, call_timeout: Any, passed_on: Any) -> None:
    async with scripted(None, options=ClientOptions(timeout=client_timeout)) as client:
        await go(client, way, Request(path="/", timeout=call_timeout))
    assert client.sent[0].timeout == passed_on


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan")], ids=repr)
async def test_a_wrong_timeout_of_a_call_is_told_before_anything_is_sent(way: Way, timeout: Any) -> None:
    async with scripted() as client:
        with pytest.raises(ValueError, match="timeout must be a positive number of seconds or None"):
            await go(client, way, Request(path="/", timeout=timeout))


@pytest.mark.parametrize("way", WAYS)
async def test_a_pause_that_would_be_too_long_is_not_made(way: Way) -> None:
    """What the server said tells more than a timeout."""
    busy = refusal(429, ("retry-after", "60"))
    async with scripted(busy, options=ClientOptions(timeout=30)) as client:
        with pytest.raises(TooManyRequests):
            await go(client, way)
    assert len(client.sent) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_credentials_count(way: Way) -> None:
    async def never() -> str:
        await anyio.sleep_forever()
        raise AssertionError

    configuration = ClientConfiguration(url="http://cluster.test", token=never)
    async with scripted(configuration=configuration, options=ClientOptions(timeout=SOON)) as client:
        with pytest.raises(StreamTimeout):
            await go(client, way)


@pytest.mark.parametrize("way", WAYS)
async def test_a_timeout_of_something_else_stays_what_it_is(way: Way) -> None:
    async def vault() -> str:
        raise TimeoutError("the vault did not answer")

    configuration = ClientConfiguration(url="http://cluster.test", token=vault)
    async with scripted(configuration=configuration, options=ClientOptions(timeout=3600)) as client:
        with pytest.raises(TimeoutError, match="the vault did not answer") as caught:
            await go(client, way)
    assert not isinstance(caught.value, StreamTimeout)


async def test_a_timeout_of_a_phase_stays_what_it_is() -> None:
    async with scripted(StreamTimeout("connecting took longer than 1 s"), options=ClientOptions(timeout=60)) as client:
        with pytest.raises(StreamTimeout, match="connecting took longer"):
            await go(client, "request")


async def test_the_body_of_a_stream_is_not_limited() -> None:
    class Slow(Body):
        async def __anext__(self) -> bytes:
            await anyio.sleep(1.5 * AMPLE)
            return await super().__anext__()

    options = ClientOptions(timeout=AMPLE, open_timeout=AMPLE)
    async with scripted(Slow(b"late", b"later").response(), options=options) as client:
        async with client.stream(Request(path="/")) as response:
            assert [piece async for piece in response] == [b"late", b"later"]


async def test_an_open_websocket_is_not_limited() -> None:
    options = ClientOptions(timeout=AMPLE, open_timeout=AMPLE)
    async with scripted(MemoryWebSocket(V4, [b"late"]), options=options) as client:
        connection = await client.connect_websocket(Request(path="/"), [V4])
        await anyio.sleep(1.5 * AMPLE)
        assert await connection.receive_bytes() == b"late"
        await connection.close()


@pytest.mark.parametrize("way", WAYS)
async def test_cancellation_passes_through(way: Way) -> None:
    async with scripted(hang, options=ClientOptions(timeout=3600)) as client:
        with anyio.move_on_after(SOON) as scope:
            await go(client, way)
        assert scope.cancelled_caught
        # The client is as good as before.
        client.answers.append(None)
        await go(client, way)


@pytest.mark.parametrize("way", WAYS)
async def test_a_deadline_of_the_caller_stays_the_callers(way: Way) -> None:
    async with scripted(hang, options=ClientOptions(timeout=3600)) as client:
        with pytest.raises(TimeoutError) as caught:
            with anyio.fail_after(SOON):
                await go(client, way)
    assert not isinstance(caught.value, StreamTimeout)


async def test_cancellation_ends_a_pause_between_attempts() -> None:
    answer: Response = refusal(429, ("retry-after", "100"))
    async with scripted(answer, configuration=CLUSTER) as client:
        with anyio.move_on_after(SOON) as scope:
            await go(client, "request")
    assert scope.cancelled_caught
    assert len(client.sent) == 1
