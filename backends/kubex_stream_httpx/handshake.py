"""The WebSocket handshake: httpx-ws makes it, and this is the client that it makes it with.

:func:`httpx_ws.aconnect_ws` needs one method of a client, ``stream``.  :class:`Handshake` has that one, and uses it to see the answer
while it is still open: to read the body of a refusal, and to check a 101, which httpx-ws does not.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx

from kubex_stream.client import PreparedRequest, Response
from kubex_stream.errors import KubexClientException, ProtocolViolation
from kubex_stream_httpx.body import Body, header_pairs
from kubex_stream_httpx.errors import origin_of

__all__ = ("Handshake", "accept_value", "check_upgrade")

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#: As much of a refusal's body as is read, in bytes and seconds: some come without a length and without an end.
_LARGEST_BODY: Final = 64 * 1024
_PATIENCE: Final = 2.0


def accept_value(key: str) -> str:
    """The ``Sec-WebSocket-Accept`` that belongs to a ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1(key.strip().encode() + _GUID, usedforsecurity=False).digest()).decode()


def check_upgrade(where: str, key: str, headers: httpx.Headers) -> None:
    """Check the headers of a 101.

    :param where: whose it is, for the message
    :raises ProtocolViolation: it is none for a WebSocket, or not for this one
    """
    wrong = _wrong(key, headers)
    if wrong is not None:
        raise ProtocolViolation(f"the 101 of {where} is no WebSocket handshake: {wrong}")


def _wrong(key: str, headers: httpx.Headers) -> str | None:
    if headers.get("upgrade", "").strip().lower() != "websocket":
        return "it has no 'Upgrade: websocket' header"
    if "upgrade" not in [token.strip().lower() for token in headers.get("connection", "").split(",")]:
        return "it has no 'Connection: Upgrade' header"
    if headers.get("sec-websocket-accept", "").strip() != accept_value(key):
        return "its Sec-WebSocket-Accept header is missing, or not the answer to the key that was sent"
    if headers.get("sec-websocket-extensions", "").strip():
        return "it names a WebSocket extension, though none was offered"
    return None


class Handshake:
    """Stands for an ``httpx.AsyncClient`` in one handshake.

    :param send: sends an upgrade request made from the headers; returns with the head of the response
    :param release: called once, when the response is over
    :ivar answer: the response, where it was not a 101
    """

    def __init__(
        self,
        request: PreparedRequest,
        send: Callable[[httpx.Headers], Awaitable[httpx.Response]],
        release: Callable[[], Awaitable[None]],
    ) -> None:
        self._request = request
        self._send = send
        self._release = release
        self.answer: Response | None = None

    @asynccontextmanager
    async def stream(
        self,
        method: str,  # noqa: ARG002  (always GET)
        url: str,  # noqa: ARG002  (that of the request)
        *,
        headers: httpx.Headers,
        **_: Any,
    ) -> AsyncGenerator[httpx.Response, None]:
        """As ``httpx.AsyncClient.stream``."""
        try:
            response = await self._send(headers)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._release()
            raise
        body = Body(response, self._request, self._release)
        try:
            if response.status_code == 101:
                check_upgrade(origin_of(self._request.url), headers["sec-websocket-key"], response.headers)
            else:
                self.answer = Response(response.status_code, header_pairs(response), await _refusal(body))
            yield response
        finally:
            await body.aclose()


async def _refusal(body: Body) -> bytes:
    """What comes of a body; one that breaks off, or does not end, says enough by what has come."""
    content = bytearray()
    with anyio.move_on_after(_PATIENCE):
        try:
            async for piece in body:
                content += piece
                if len(content) >= _LARGEST_BODY:
                    break
        except KubexClientException:
            pass
    return bytes(content[:_LARGEST_BODY])
