"""The small parts: warnings of the API server, responses, observers, and what a minimal WebSocket can do."""

from __future__ import annotations

import warnings
from contextlib import suppress

import anyio
import pytest

from kubex_stream import ApiError, ClientOptions, NotFound, Observer
from kubex_stream.client import BaseClient, Response, WebSocketConnection
from kubex_stream.client.warning_header import warn_of

from .memory import WAYS, Body, MemoryWebSocket, Way, go, scripted

# Warnings --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "texts"),
    [
        ('299 - "v1beta1 is deprecated"', ["v1beta1 is deprecated"]),
        ('299 kube "a, b, c"', ["a, b, c"]),
        ('299 - "one", 299 - "two, too",299 - "three"', ["one", "two, too", "three"]),
        (r'299 - "say \"hi\" \\ there"', [r'say "hi" \ there']),
        (r'299 - "not 299 - \"another\""', ['not 299 - "another"']),
        ('299 - "with a date" "Wed, 21 Oct 2015 07:28:00 GMT"', ["with a date"]),
        ('299 - ""', [""]),
        ("", []),
        ("299 - unquoted", []),
        ('299 - "without an end', []),
        ('"only text"', []),
        ('299 - "zażółć"', ["zażółć"]),
    ],
)
def test_a_warning_header_may_hold_several(header: str, texts: list[str]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of([("content-type", '299 - "no"'), ("warning", header)])
    assert [str(warning.message) for warning in caught] == texts
    assert all(warning.category is UserWarning for warning in caught)


WARNED = [("warning", '299 - "first"'), ("x-other", "1"), ("warning", '299 - "second"')]


@pytest.mark.anyio
@pytest.mark.parametrize("code", [200, 404])
@pytest.mark.parametrize("way", WAYS)
async def test_warnings_of_the_server_are_warnings(way: Way, code: int) -> None:
    async with scripted(Response(code, WARNED, b"{}")) as client:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with suppress(ApiError):
                await go(client, way)
    assert [str(warning.message) for warning in caught] == ["first", "second"]


@pytest.mark.anyio
async def test_a_stream_whose_warning_is_an_error_is_closed() -> None:
    body = Body()
    async with scripted(body.response(200, WARNED)) as client:
        with pytest.raises(UserWarning, match="first"):
            await go(client, "stream")
    assert body.closed


@pytest.mark.anyio
@pytest.mark.parametrize("way", WAYS)
async def test_warnings_can_be_turned_off(way: Way) -> None:
    async with scripted(Response(404, WARNED, b"{}"), options=ClientOptions(log_api_warnings=False)) as client:
        with pytest.raises(NotFound):  # any warning would be an error here
            await go(client, way)


# Responses -------------------------------------------------------------------------------------------------------------


def test_a_response() -> None:
    response = Response(200, [("x-a", "1"), ("x-a", "2"), ("x-b", "3")], b'{"k": [1]}')
    assert response.header("X-A") == "1"
    assert response.header("x-b") == "3"
    assert response.header("x-c") is None
    assert response.json() == {"k": [1]}
    for content in (b"", b"<html>", b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            Response(200, [], content).json()


# Observers -------------------------------------------------------------------------------------------------------------


def test_an_observer_that_overrides_nothing_does_nothing() -> None:
    observer = Observer()
    observer.opened("/exec", "v4.channel.k8s.io")
    observer.frame("/exec", sent=True, channel=0, size=5)
    observer.closed("/exec", None)
    observer.closed("/exec", ValueError())
    observer.retried("/exec", ValueError(), 0.5)
    client = scripted()
    assert type(client.observer) is Observer
    assert isinstance(client, BaseClient)


# A WebSocket with nothing but the abstract members ---------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_defaults_of_a_websocket() -> None:
    connection = MemoryWebSocket(messages=[b"one", b"two"])
    assert (connection.last_activity, connection.last_pong, connection.close_code) == (None, None, None)
    with pytest.raises(NotImplementedError, match="MemoryWebSocket has no pings"):
        await connection.ping()
    assert list(await connection.receive_views()) == [b"one"]
    assert [message async for message in connection] == [b"two"]
    with pytest.raises(StopAsyncIteration):
        await connection.receive_bytes()


@pytest.mark.anyio
async def test_aborting_is_closing_without_waiting() -> None:
    connection = MemoryWebSocket()
    with anyio.fail_after(5):
        await connection.abort()
        await connection.abort()
    assert connection.closed
    assert connection.close_sent is None


def test_the_abstract_members_are_these() -> None:
    assert WebSocketConnection.__abstractmethods__ == {
        "closed",
        "negotiated_subprotocol",
        "send_bytes",
        "receive_bytes",
        "close",
    }
    assert BaseClient.__abstractmethods__ == {"start", "stop", "send_request", "open_stream", "open_websocket"}
