"""The WebSocket handshake as golang.org/x/net/websocket does it: what it refuses, in which words, and its 101."""

from __future__ import annotations

from kubex_stream.testing.access import TOKEN_PROTOCOL
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.http import Exchange, RecordedRequest, accept_key

__all__ = ("accept_upgrade", "offered", "refuse_handshake", "requested_upgrade")


def requested_upgrade(request: RecordedRequest) -> str:
    """What a request asks to be upgraded to, in lower case; empty for a request that does not ask."""
    return request.header("Upgrade").lower() if "upgrade" in request.header("Connection").lower() else ""


def offered(request: RecordedRequest) -> list[str]:
    """The subprotocols that a client offers, its token left out."""
    names = [name.strip() for name in request.header("Sec-WebSocket-Protocol").split(",")]
    return [name for name in names if not name.startswith(TOKEN_PROTOCOL)]


async def refuse_handshake(exchange: Exchange, *, spoken: bool, hop: bool) -> bool:
    """Answer a request that is no good WebSocket handshake; False for a good one.

    :param spoken: whether a subprotocol that was offered is spoken here
    :param hop: whether the runtime answers, at the other end of the API server's byte pipe
    """
    request = exchange.request
    close = {"Connection": "close"} if hop else {}
    if request.method != "GET":
        await exchange.respond_raw(405, b"bad method", close)
    elif not request.header("Sec-WebSocket-Key"):
        await exchange.respond_raw(400, b"mismatch challenge/response", close)
    elif request.header("Sec-WebSocket-Version") != "13":
        spelling = "Sec-Websocket-Version" if hop else "Sec-WebSocket-Version"
        await exchange.respond_raw(400, b"missing or bad WebSocket Version", {**close, spelling: "13"})
    elif not spoken:
        await exchange.respond_raw(403, b"", close)
    else:
        return False
    return True


async def accept_upgrade(exchange: Exchange, subprotocol: str, behaviour: Behaviour) -> bytes:
    """Answer 101; what had come behind the request."""
    exchange.connection.byte_by_byte = behaviour.byte_by_byte
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", behaviour.accept or accept_key(exchange.request.header("Sec-WebSocket-Key"))),
        ("Sec-WebSocket-Protocol", subprotocol if behaviour.subprotocol is None else behaviour.subprotocol),
    ]
    omitted = {name.lower() for name in behaviour.omit_headers}
    return await exchange.upgrade([(name, value) for name, value in headers if name.lower() not in omitted])
