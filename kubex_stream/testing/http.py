"""HTTP/1.1 for the embedded cluster: h11 over a :class:`Connection`, one request after the other.

Rules of this file: what h11 does not let one say, an answer without a length for one, is written past it, and the connection ends.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from kubex_stream.testing.connection import Connection
from kubex_stream.testing.statuses import go_json

__all__ = ("Exchange", "RecordedRequest", "accept_key", "serve_http")

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MAX_BODY: Final = 3 * 1024 * 1024
_JSON: Final = "application/json"


def accept_key(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def reason_of(status: int) -> str:
    """The reason phrase of an HTTP status."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request as it came.

    :ivar method: GET, POST …
    :ivar path: without the query, decoded, with the prefix of the server if it has one
    :ivar query: the query's pairs, in order, decoded
    :ivar headers: name and value as they were sent, in order
    :ivar body: what was sent
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str, default: str = "") -> str:
        """The first header of this name; further lines of it are ignored, as the real server does with Sec-WebSocket-Protocol."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), default)

    def values(self, name: str) -> list[str]:
        """All values of a query parameter."""
        return [value for key, value in self.query if key == name]

    def value(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return next((value for key, value in self.query if key == name), default)

    def flag(self, name: str) -> bool:
        """A boolean query parameter: only absent, ``0`` and ``false`` are false; an empty value is true."""
        values = self.values(name)
        return bool(values) and values[0].lower() not in ("0", "false")

    @property
    def segments(self) -> tuple[str, ...]:
        """The path cut at its slashes."""
        return tuple(part for part in self.path.split("/") if part)

    @property
    def is_websocket(self) -> bool:
        """Whether it asks for an upgrade to WebSocket."""
        upgrade = "upgrade" in self.header("Connection").lower()
        return upgrade and self.header("Upgrade").lower() == "websocket"


class Exchange:
    """A request and the means to answer it, once.

    :ivar request: the request
    :ivar connection: for what goes past HTTP
    """

    def __init__(self, request: RecordedRequest, connection: Connection, http: h11.Connection) -> None:
        self.request = request
        self.connection = connection
        self._http = http
        self.detached = False

    async def respond(
        self, status: int, body: bytes, content_type: str = _JSON, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with a body of known length."""
        given = headers or {}
        fields = [
            (name, value)
            for name, value in _usual_headers(content_type)
            if name.lower() not in {key.lower() for key in given}
        ]
        fields += [*given.items(), ("Content-Length", str(len(body)))]
        data = self._http.send(h11.Response(status_code=status, headers=fields, reason=reason_of(status).encode()))
        data += self._http.send(h11.Data(data=b"" if self.request.method == "HEAD" else body)) or b""
        data += self._http.send(h11.EndOfMessage()) or b""
        await self.connection.send(data)

    async def respond_json(self, document: Mapping[str, Any], content_type: str = _JSON) -> None:
        """Answer with a document; a Status answers with its own code."""
        code = document["code"] if document.get("kind") == "Status" and "code" in document else 200
        await self.respond(code, go_json(document) + b"\n", content_type)

    async def respond_text(self, status: int, text: str) -> None:
        """Answer as the kubelet does: a plain text, and the end of the connection."""
        headers = {"Content-Length": str(len(text.encode())), "Content-Type": "text/plain; charset=utf-8"}
        await self.respond_raw(status, text.encode(), {**headers, "Date": formatdate(usegmt=True)})

    async def respond_raw(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer with exactly these headers, then end the connection."""
        self.detached = True
        lines = [f"HTTP/1.1 {status} {reason_of(status)}", *(f"{name}: {value}" for name, value in headers.items())]
        await self.connection.send("\r\n".join([*lines, "", ""]).encode() + body)
        await self.connection.close()

    async def start_stream(self, content_type: str = _JSON) -> None:
        """Begin an answer in chunks."""
        fields = [*_usual_headers(content_type), ("Transfer-Encoding", "chunked")]
        await self.connection.send(self._http.send(h11.Response(status_code=200, headers=fields, reason=b"OK")))

    async def send_chunk(self, data: bytes) -> None:
        """One chunk of the answer."""
        await self.connection.send(self._http.send(h11.Data(data=data)) or b"")

    async def end_stream(self) -> None:
        """The end of the answer."""
        await self.connection.send(self._http.send(h11.EndOfMessage()) or b"")

    async def upgrade(self, headers: Sequence[tuple[str, str]]) -> bytes:
        """Answer 101; what had come behind the request."""
        self.detached = True
        lines = ["HTTP/1.1 101 Switching Protocols", *(f"{name}: {value}" for name, value in headers)]
        await self.connection.send("\r\n".join([*lines, "", ""]).encode())
        return self.leftover

    @property
    def leftover(self) -> bytes:
        """What had come behind the request."""
        return self._http.trailing_data[0]


def _usual_headers(content_type: str) -> list[tuple[str, str]]:
    return [
        ("Cache-Control", "no-cache, private"),
        ("Content-Type", content_type),
        ("Date", formatdate(usegmt=True)),
    ]


Handler = Callable[[Exchange], Awaitable[None]]


async def serve_http(connection: Connection, handle: Handler) -> None:
    """Serve a connection until it ends, and close it.  ``handle`` answers each exchange."""
    http = h11.Connection(h11.SERVER)
    try:
        while (request := await _next_request(connection, http)) is not None:
            exchange = Exchange(request, connection, http)
            await handle(exchange)
            if exchange.detached or http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                break
            http.start_next_cycle()
    except h11.RemoteProtocolError as error:
        await connection.send(f"HTTP/1.1 {error.error_status_hint} Bad Request\r\nConnection: close\r\n\r\n".encode())
    await connection.close()


async def _next_event(
    connection: Connection, http: h11.Connection
) -> h11.Event | type[h11.PAUSED] | type[h11.NEED_DATA]:
    while True:
        event = http.next_event()
        if not isinstance(event, type) or event is h11.PAUSED:
            return event
        http.receive_data(await connection.receive())


async def _next_request(connection: Connection, http: h11.Connection) -> RecordedRequest | None:
    event = await _next_event(connection, http)
    if not isinstance(event, h11.Request):
        return None
    body = bytearray()
    while isinstance(data := await _next_event(connection, http), h11.Data):
        body += data.data
        if len(body) > _MAX_BODY:
            raise h11.RemoteProtocolError("too large", error_status_hint=413)
    target = urlsplit(event.target.decode())
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers.raw_items())
    query = tuple(parse_qsl(target.query, keep_blank_values=True))
    return RecordedRequest(event.method.decode(), unquote(target.path), query, headers, bytes(body))
