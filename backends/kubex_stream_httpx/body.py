"""The body of a response, piece by piece.

httpx's bodies are chains of async generators.  One that is left in the middle would be finished by the garbage collector, in a task
that nobody started (asyncio) or with a warning (trio); so :meth:`Body.aclose` ends the network stream first and then runs the chain
into the error that this makes.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Self, cast

import anyio
import httpx

from kubex_stream.client import PreparedRequest
from kubex_stream.errors import ConnectionLost
from kubex_stream_httpx.errors import LIBRARY_ERRORS, mapped, origin_of

__all__ = ("Body", "header_pairs")


def header_pairs(response: httpx.Response) -> list[tuple[str, str]]:
    """Names in lower case, with values, in order."""
    return [(name.decode("ascii").lower(), value.decode("latin-1")) for name, value in response.headers.raw]


class Body(AsyncIterator[bytes]):
    """What arrives of a body, decompressed; never an empty piece.

    :param release: called once, when the response is over
    """

    def __init__(
        self, response: httpx.Response, request: PreparedRequest, release: Callable[[], Awaitable[None]]
    ) -> None:
        self._response = response
        self._request = request
        self._release = release
        self._pieces = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
        self._started = self._reading = self._ended = self._closed = False
        self._broken: str | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece.

        :raises ConnectionLost: the body is cut short, also by a cancelled call or :meth:`aclose` before; never a quiet end then
        """
        if self._ended:
            raise StopAsyncIteration
        if self._broken is not None:
            raise ConnectionLost(self._broken)
        self._started = self._reading = True
        self._broken = f"the response of {origin_of(self._request.url)} was cut short before"
        try:
            with mapped(self._request):
                piece = await anext(self._pieces)
        except StopAsyncIteration:
            self._ended = True
            raise
        finally:
            self._reading = False
        if not self._closed:
            self._broken = None
        return piece

    async def read(self) -> bytes:
        """All that is left."""
        return b"".join([piece async for piece in self])

    async def aclose(self) -> None:
        """End the response.  Calling it again does nothing."""
        if self._closed:
            return
        self._closed = True
        with anyio.CancelScope(shield=True):
            try:
                await self._leave()
            finally:
                await self._release()

    async def _leave(self) -> None:
        unfinished = self._started and not self._ended and self._broken is None
        if not self._ended:
            self._broken = self._broken or "the response was closed by this side"
        with suppress(*LIBRARY_ERRORS):
            network = self._response.extensions.get("network_stream")
            if (unfinished or self._reading) and network is not None:
                await network.aclose()
            if unfinished and network is None:
                await self._pieces.aclose()
            elif unfinished and not self._reading:
                async for _ in self._pieces:
                    pass
        with suppress(*LIBRARY_ERRORS):
            await self._response.aclose()
