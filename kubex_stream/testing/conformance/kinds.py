"""The three kinds of requests a client makes, so that a test of the way to a server runs with each, and a server for all of them."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

from kubex_stream.client import BaseClient, PreparedRequest, StreamedResponse, WebSocketConnection
from kubex_stream.testing.conformance.raw import Peer, frame, response

__all__ = ("OFFER", "QUERY", "USER", "Send", "plain", "serve", "stream", "told", "websocket")

OFFER = ["v4.channel.k8s.io"]
#: Never to be told.
QUERY = "?command=swordfish"
USER = "user:opensesame@"

Send = Callable[[BaseClient, PreparedRequest], Awaitable[None]]


async def plain(client: BaseClient, request: PreparedRequest) -> None:
    assert (await client.send_request(request)).content == b"body"


async def stream(client: BaseClient, request: PreparedRequest) -> None:
    answer = await client.open_stream(request)
    assert isinstance(answer, StreamedResponse)
    assert b"".join([piece async for piece in answer]) == b"body"
    await answer.aclose()


async def websocket(client: BaseClient, request: PreparedRequest) -> None:
    connection = await client.open_websocket(request, OFFER)
    assert isinstance(connection, WebSocketConnection), connection
    await connection.send_bytes(b"there")
    assert await connection.receive_bytes() == b"and back"
    await connection.close()


def serve(peer: Peer) -> None:
    """A server for all three."""
    while peer.has_request():
        head = peer.head()
        if not head.all("Upgrade"):
            peer.send(response("200 OK", b"body"))
            continue
        peer.send(peer.switching(head))
        assert peer.frame().payload == b"there"
        peer.send(frame(b"and back"))
        peer.send(frame(peer.frame().payload, 8))


def told(error: BaseException) -> str:
    """All that a log would show of an error, its causes included."""
    text = "".join(traceback.format_exception(error))
    assert "swordfish" not in text
    assert "opensesame" not in text
    return text
