"""The body of a response that is read as it comes."""

from __future__ import annotations

import asyncio
from typing import Self

import aiohttp

from kubex_stream.client import PreparedRequest
from kubex_stream_aiohttp.errors import lost

__all__ = ("Pieces",)


class Pieces:
    """The pieces of a body.

    A class and no generator, since a generator ends for good when a call of it is cancelled, and would then look like the body's end.
    """

    def __init__(self, response: aiohttp.ClientResponse, request: PreparedRequest) -> None:
        self._response = response
        self._request = request

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._response.content.readany()
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            piece = self._behind(error)
            if not piece:
                raise lost(error, self._request) from error
        if not piece:
            raise StopAsyncIteration
        return piece

    def _behind(self, error: Exception) -> bytes:
        """What had come before ``error``, which aiohttp tells first."""
        content = self._response.content
        content.set_exception(None)  # type: ignore[arg-type]  # the only public way to what is buffered
        piece = content.read_nowait()
        content.set_exception(error)
        return piece

    async def aclose(self) -> None:
        """End the response; its connection is not used again."""
        self._response.close()
        # The transport closes its socket in the next turn of the loop.
        await asyncio.sleep(0)
