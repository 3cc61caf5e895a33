"""The body of a response, piece by piece.

httpx's bodies are chains of async generators.  One that is left in the middle would be finished by the garbage collector, in a task
that nobody started (asyncio) or with a warning (trio); so :meth:`Body.aclose` runs the chain into an error: a cancellation, or where
the chain is driven from outside, so that a cancelled read loses nothing (see ``drive.py``), the end of the network stream.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, Self, cast

import anyio
import httpcore
import httpx

from kubex_stream.client import PreparedRequest
from kubex_stream.errors import ConnectionLost
from kubex_stream_httpx.drive import Drive
from kubex_stream_httpx.errors import LIBRARY_ERRORS, mapped, origin_of
from kubex_stream_httpx.network import STREAM, Stream

__all__ = ("Body", "header_pairs")

#: Bytes of pieces that are joined, about.
_JOINED: Final = 32 * 1024


def header_pairs(response: httpx.Response) -> list[tuple[str, str]]:
    """Names in lower case, with values, in order."""
    return [(name.decode("ascii").lower(), value.decode("latin-1")) for name, value in response.headers.raw]


class Body(AsyncIterator[bytes]):
    """What arrives of a body, decompressed; never an empty piece.

    :param release: called once, when the response is over
    :param resumable: whether a cancelled read loses nothing, which a connection that is used again afterwards cannot promise, nor one
        that is not ours
    """

    def __init__(
        self,
        response: httpx.Response,
        request: PreparedRequest,
        release: Callable[[], Awaitable[None]],
        *,
        resumable: bool = False,
    ) -> None:
        self._response = response
        self._request = request
        self._release = release
        self._network: httpcore.AsyncNetworkStream | None = response.extensions.get("network_stream")
        own = None if self._network is None else self._network.get_extra_info(STREAM)
        self._driven: Stream | None = own if resumable and isinstance(own, Stream) else None
        if self._driven is not None:
            self._driven.driven = True
        self._pieces = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
        self._next: Drive[bytes] | None = None
        self._arrived: list[bytes] = []
        self._late: Exception | None = None
        self._started = self._reading = self._ended = self._closed = False
        self._broken: str | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next piece.

        :raises ConnectionLost: the body is cut short, also by :meth:`aclose`; it is never a quiet end then
        """
        self._check()
        self._started = self._reading = True
        try:
            with mapped(self._request):
                return await self._joined()
        finally:
            self._reading = False

    def _check(self) -> None:
        if self._arrived and not self._closed:
            return  # told before what came behind it
        if self._late is not None:
            late, self._late = self._late, None
            with mapped(self._request):
                raise late
        if self._ended:
            raise StopAsyncIteration
        if self._broken is not None:
            raise ConnectionLost(self._broken)

    async def _joined(self) -> bytes:
        """The next piece, and with it what needs no further read: of a chunked body every chunk is a piece, and a chunk may be a line."""
        arrived = self._arrived
        if not arrived:
            arrived.append(await self._pull())
        size = sum(map(len, arrived))
        while self._driven is not None and size < _JOINED and (more := await self._pull_arrived()):
            arrived.append(more)
            size += len(more)
        self._arrived = []
        return b"".join(arrived)

    async def _pull_arrived(self) -> bytes:
        """A piece that is here already; nothing where the next one has to be read, or there is none."""
        if self._next is not None or self._ended or self._broken is not None:
            return b""
        step = self._next = Drive(_step(self._pieces))
        try:
            piece = await step.arrived()
        except StopAsyncIteration:
            self._ended = True
            return b""
        except Exception as error:  # noqa: BLE001  # told when what came before it has been handed out
            self._break("was cut short before")
            self._late = error
            return b""
        except BaseException:
            self._break("was cut short before")
            raise
        if piece is None:
            return b""
        self._next = None
        return piece

    async def _pull(self) -> bytes:
        self._next = self._next or Drive(_step(self._pieces))
        try:
            piece = await self._next
        except StopAsyncIteration:
            self._ended = True
            raise
        except BaseException:
            if not self._next.asking:
                self._break("was cut short before")
            raise
        self._next = None
        return piece

    def _break(self, how: str) -> None:
        self._broken = self._broken or f"the response of {origin_of(self._request.url)} {how}"

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
            self._break("was closed by this side")
        if self._reading or (unfinished and self._driven is not None):
            with suppress(*LIBRARY_ERRORS):
                await (self._driven or self._network or self._response).aclose()
        if unfinished and not self._reading:
            with suppress(*LIBRARY_ERRORS, StopAsyncIteration), anyio.CancelScope() as scope:
                if self._driven is None:
                    scope.cancel()
                while True:
                    await self._pull()
        with suppress(*LIBRARY_ERRORS):
            await self._response.aclose()


async def _step(pieces: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(pieces)
