"""Streamed responses and WebSockets: what is an error, and that nothing stays open."""

from __future__ import annotations

import json

import anyio
import pytest

from kubex_stream import (
    ApiError,
    ClientOptions,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    NotFound,
    ProtocolViolation,
    StreamTimeout,
)
from kubex_stream.client import Request, Response
from kubex_stream.client.api_errors import MAX_ERROR_BODY

from .memory import V4, V5, WAYS, Body, HangingBody, MemoryWebSocket, Way, go, scripted

pytestmark = pytest.mark.anyio

LOG = Request(path="/api/v1/namespaces/x/pods/p/log", query=[("sinceSeconds", "hunter2")])
STATUS = json.dumps({"kind": "Status", "status": "Failure", "message": 'pods "p" not found', "code": 404}).encode()


async def read(body: Body, status: int = 200, options: ClientOptions | None = None) -> bytes:
    async with scripted(body.response(status), options=options) as client:
        async with client.stream(LOG) as response:
            return b"".join([piece async for piece in response])


async def test_a_body_comes_as_it_arrives_and_is_closed() -> None:
    body = Body(b"one\n", b"tw", b"o\n")
    assert await read(body) == b"one\ntwo\n"
    assert body.closed


async def test_a_body_left_in_the_middle_is_closed() -> None:
    body = Body(b"one", b"two")
    async with scripted(body.response()) as client:
        async with client.stream(LOG) as response:
            async for piece in response:
                assert piece == b"one"
                break
        assert body.closed
    assert list(body.pieces) == [b"two"]


async def test_a_body_is_closed_when_its_consumer_fails() -> None:
    body = Body(b"one")
    async with scripted(body.response()) as client:
        with pytest.raises(ZeroDivisionError):
            async with client.stream(LOG):
                raise ZeroDivisionError
    assert body.closed


async def test_a_body_is_closed_when_its_consumer_is_cancelled() -> None:
    body = HangingBody(b"one")
    async with scripted(body.response()) as client:
        with anyio.CancelScope() as scope:
            async with client.stream(LOG) as response:
                async for piece in response:
                    assert piece == b"one"
                    scope.cancel()
    assert scope.cancelled_caught
    assert body.closed


async def test_a_body_that_is_cut_short_is_no_end() -> None:
    body = Body(b"one", ConnectionLost("cut"))
    with pytest.raises(ConnectionLost, match="cut"):
        await read(body)
    assert body.closed


async def test_the_body_of_an_error_becomes_the_error() -> None:
    body = Body(STATUS[:20], STATUS[20:])
    with pytest.raises(NotFound, match='404 Not Found: pods "p" not found') as caught:
        await read(body, 404)
    assert caught.value.status is not None
    assert caught.value.status.code == 404
    assert "hunter2" not in str(caught.value)
    assert body.closed


async def test_an_error_whose_body_breaks_is_still_that_error() -> None:
    body = Body(b"forbidden by ", ConnectionLost("cut"))
    with pytest.raises(Forbidden, match="403 Forbidden: forbidden by"):
        await read(body, 403)
    assert body.closed


async def test_of_an_endless_error_only_the_beginning_is_read() -> None:
    body = Body(*[b"x" * 1024] * 1000)
    with pytest.raises(ApiError, match="500 Internal Server Error: xxx"):
        await read(body, 500)
    assert len(body.pieces) == 1000 - MAX_ERROR_BODY // 1024
    assert body.closed


async def test_an_error_whose_body_hangs_is_bounded_and_closed() -> None:
    body = HangingBody(b"for")
    with pytest.raises(StreamTimeout):
        await read(body, 403, ClientOptions(open_timeout=0.02))
    assert body.closed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_error_that_names_it(way: Way, code: int) -> None:
    answer = Response(code, [("location", "https://elsewhere.test/?token=hunter2")], b"<a>Moved</a>")
    async with scripted(answer) as client:
        with pytest.raises(ApiError, match=rf"GET /api/v1/pods: {code} .*redirects are not followed") as caught:
            await go(client, way)
    assert caught.value.status_code == code
    assert "hunter2" not in str(caught.value)
    assert len(client.sent) == 1


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("error", [ConnectionFailed("refused"), ConnectionLost("reset")], ids=repr)
async def test_a_connection_that_fails_is_not_tried_again(way: Way, error: Exception) -> None:
    async with scripted(error) as client:
        with pytest.raises(type(error), match=str(error)):
            await go(client, way)
    assert len(client.sent) == 1


async def test_each_attempt_of_a_stream_is_closed() -> None:
    busy, good = Body(b"busy"), Body(b"good")
    answers = [busy.response(429, [("retry-after", "0")]), good.response()]
    async with scripted(*answers) as client, client.stream(LOG) as response:
        assert busy.closed
        assert [piece async for piece in response] == [b"good"]
    assert good.closed


# WebSockets -----------------------------------------------------------------------------------------------------------

EXEC = Request(path="/api/v1/namespaces/x/pods/p/exec", query=[("command", "hunter2")])


@pytest.mark.parametrize("chosen", [None, "", "v3.channel.k8s.io", "v4.channel.k8s.io, v5.channel.k8s.io"])
async def test_a_subprotocol_that_was_not_offered_is_a_violation(chosen: str | None) -> None:
    connection = MemoryWebSocket(chosen)
    async with scripted(connection) as client:
        with pytest.raises(
            ProtocolViolation, match=r"expected one of v5.channel.k8s.io, v4.channel.k8s.io, got"
        ) as caught:
            await client.connect_websocket(EXEC, [V5, V4])
    assert repr(chosen) in str(caught.value)
    # Aborted: no Close was sent to whatever this is.
    assert connection.closed
    assert connection.close_sent is None


@pytest.mark.parametrize("chosen", [V4, V5])
async def test_a_subprotocol_that_was_offered_is_fine(chosen: str) -> None:
    connection = MemoryWebSocket(chosen)
    async with scripted(connection) as client:
        assert await client.connect_websocket(EXEC, [V5, V4]) is connection
    assert not connection.closed


@pytest.mark.parametrize("code", [200, 204])
async def test_an_answer_that_is_no_101_is_an_error(code: int) -> None:
    async with scripted(Response(code, [], b"<html>hello</html>")) as client:
        with pytest.raises(ApiError, match=rf"/exec: {code} instead of 101") as caught:
            await client.connect_websocket(EXEC, [V4])
    assert caught.value.status_code == code
    assert "redirect" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_the_error_of_a_handshake_is_the_error_of_a_request() -> None:
    refused = Response(404, [("content-type", "application/json")], STATUS)
    async with scripted(refused) as client:
        with pytest.raises(NotFound, match=r'/exec: 404 Not Found: pods "p" not found'):
            await client.connect_websocket(EXEC, [V4])
