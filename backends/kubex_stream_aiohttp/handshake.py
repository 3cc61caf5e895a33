"""Making ``ws_connect`` report a refusal.

aiohttp's ``ws_connect`` drops the body of an answer that is not a 101, follows redirects with the credentials, repeats the request
when the connection breaks, and takes a response without Content-Length for one without a body.  The classes that a ClientSession can
be given cure all of it: the request is told to read such bodies, and the response ends the handshake as soon as its status is known.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
from aiohttp.client_reqrep import ClientRequest
from multidict import CIMultiDict, CIMultiDictProxy

from kubex_stream.client import Response
from kubex_stream.client.api_errors import MAX_ERROR_BODY
from kubex_stream_aiohttp.responses import SingleResponse, lower_case

__all__ = ("HandshakeRequest", "HandshakeResponse", "Refused", "UpgradedWebSocket")

#: Seconds that the body of a refusal may take; what has come until then counts.
_PATIENCE: Final = 2.0


class Refused(Exception):
    """The server answered a handshake with something else than a 101; this is how the answer leaves ``ws_connect``."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class HandshakeRequest(ClientRequest):
    """A request whose answer may have a body that only the end of the connection ends."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        """Send it; nothing can have been answered before, so the parser may still be replaced."""
        conn.protocol.set_response_params(read_until_eof=True, read_timeout=conn.protocol.read_timeout)
        return await super().send(conn)


class HandshakeResponse(SingleResponse):
    """The answer to a handshake; only a 101 gets out of :meth:`start`."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head, and the body too unless it is a 101.

        :raises Refused: any other status.  ClientSession closes a response whose start failed.
        """
        await super().start(connection)
        if self.status != 101:
            raise Refused(Response(self.status, lower_case(self), await self._refusal()))
        return self

    async def _refusal(self) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(_PATIENCE):
                while len(body) < MAX_ERROR_BODY and (piece := await self.content.readany()):
                    body += piece
        except (TimeoutError, aiohttp.ClientError, OSError):
            # Half of a reason is better than an error about the error.
            pass
        return bytes(body[:MAX_ERROR_BODY])

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The headers; ``Connection`` reads as aiohttp wants it where its list has the token that RFC 6455 asks for."""
        headers: CIMultiDictProxy[str] = super().headers
        tokens = [token.strip().lower() for value in headers.getall("Connection", ()) for token in value.split(",")]
        if self.status != 101 or tokens == ["upgrade"] or "upgrade" not in tokens:
            return headers
        plain = CIMultiDict(headers)
        plain["Connection"] = "Upgrade"
        return CIMultiDictProxy(plain)


class UpgradedWebSocket(aiohttp.ClientWebSocketResponse):
    """A WebSocket that shows the response that it came from, and so its transport, and the queue of its messages."""

    def __init__(
        self,
        reader: Any,
        writer: Any,
        protocol: str | None,
        response: aiohttp.ClientResponse,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(reader, writer, protocol, response, *args, **kwargs)
        self.response = response
        self.messages = reader
