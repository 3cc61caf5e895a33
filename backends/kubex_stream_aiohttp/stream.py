"""The body of a response that is read as it comes."""

from __future__ import annotations

from typing import Self

import aiohttp

from kubex_stream.client import PreparedRequest
from kubex_stream_aiohttp.errors import mapped_errors

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
        content = self._response.content
        with mapped_errors(self._request):
            try:
                piece = await content.readany()
            except (aiohttp.ClientError, OSError) as error:
                piece = self._rest(error)
            except RuntimeError as error:
                # aiohttp's word for reading what this side has closed.
                raise aiohttp.ClientPayloadError(str(error)) from error
        if not piece:
            raise StopAsyncIteration
        return piece

    def _rest(self, error: aiohttp.ClientError | OSError) -> bytes:
        """What had come before ``error``, which aiohttp would tell first.

        :raises BaseException: ``error``, when there is nothing more
        """
        content = self._response.content
        content.set_exception(None)  # type: ignore[arg-type]  # the only public way to what is buffered behind an error
        piece = content.read_nowait()
        content.set_exception(error)
        if not piece:
            raise error
        return piece

    async def aclose(self) -> None:
        """End the response; its connection is not used again."""
        self._response.close()
