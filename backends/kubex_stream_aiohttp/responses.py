"""Responses that leave nothing behind.

aiohttp closes TLS politely, in the background: it waits up to 30 s for the peer's last word, long after the request and the client are
gone.  These responses end TCP at once where their connection is not used again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from kubex_stream_aiohttp.errors import Unanswered
from kubex_stream_aiohttp.leaving import end_tcp
from kubex_stream_aiohttp.reading import guard_reading

__all__ = ("PromptResponse", "SingleResponse", "lower_case")


class PromptResponse(aiohttp.ClientResponse):
    """A response whose connection ends at once when it ends."""

    transport: asyncio.Transport | None = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head."""
        # A short response gives its connection back while its head is read.
        self.transport = connection.transport
        guard_reading(connection.protocol)
        return await super().start(connection)

    def close(self) -> None:
        """End the response, and its connection unless that has gone back to the pool already."""
        held = self.connection is not None
        super().close()
        if self.transport is not None and (held or self.transport.is_closing()):
            end_tcp(self.transport)

    def finish(self) -> None:
        """After the whole body was read: when the connection is not kept for another request, end it."""
        if self.transport is not None and self.transport.is_closing():
            end_tcp(self.transport)


class SingleResponse(PromptResponse):
    """A response to a request that aiohttp must not repeat."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head.

        :raises Unanswered: the connection ended before
        """
        try:
            return await super().start(connection)
        except TimeoutError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise Unanswered(str(error)) from error


def lower_case(response: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    """The headers of a response as the seam wants them."""
    return [(name.lower(), value) for name, value in response.headers.items()]
