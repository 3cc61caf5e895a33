"""One answer to a watch: its lines, until it ends, breaks or falls silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Self

import anyio

from kubex_stream.api.objects import unexpected
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request, StreamedResponse
from kubex_stream.errors import ApiError, ConnectionLost
from kubex_stream.watch.lines import LineSplitter

__all__ = ("FellSilent", "WatchConnection", "no_event")


class FellSilent(ConnectionLost):
    """Nothing came for too long, not even an end."""


def no_event(request: Request) -> ApiError:
    """What came is not what a watch sends."""
    return unexpected(request, 200, "no watch event")


class WatchConnection:
    """An open answer."""

    def __init__(
        self, context: AbstractAsyncContextManager[StreamedResponse], request: Request, pieces: AsyncIterator[bytes]
    ) -> None:
        self._context = context
        self._request = request
        self._pieces = pieces
        self._lines = LineSplitter()

    @classmethod
    async def open(cls, client: BaseClient, request: Request) -> Self:
        """Ask.  Raises as :meth:`BaseClient.stream`."""
        context = client.stream(request)
        response = await context.__aenter__()
        return cls(context, request, aiter(response))

    async def lines(self, inactivity: float | None) -> list[bytes] | None:
        """The lines that end in the next piece, often none; None at the end.  To be called until then, and not after a cancellation.

        :param inactivity: seconds to wait for the piece
        :raises FellSilent: it did not come
        :raises ConnectionLost: the connection broke
        :raises ApiError: it ends within something that is no event
        """
        piece: bytes | None = None
        with anyio.move_on_after(inactivity) as waiting:
            piece = await anext(self._pieces, None)
        if waiting.cancelled_caught:
            raise FellSilent(f"watching {self._request.path}: nothing has come for {inactivity:g} s")
        if piece is not None:
            return self._lines.feed(piece)
        if (
            not self._lines.is_json
        ):  # a page of one line, of a proxy that wants a log-in: again and again, if it were an end
            raise no_event(self._request)
        return None

    async def aclose(self) -> None:
        """Close the connection."""
        await self._context.__aexit__(None, None, None)
