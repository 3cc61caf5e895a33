"""Network streams that are not ours, of an application's own ``httpx.AsyncClient``.

httpcore's streams have one way to send, which waits, and which says nothing of how much went out when it is cancelled.  On asyncio
without TLS the event loop has taken all of it or nothing, so nothing is cut.  Elsewhere the connection can only be received from, and
be dropped, after a send was cancelled; a client without ``session=`` has no such limit.
"""

from __future__ import annotations

import select
import sys
from typing import Any

import httpcore

from kubex_stream_httpx.network import STREAM, Stream

__all__ = ("as_stream",)


def as_stream(stream: httpcore.AsyncNetworkStream) -> Stream:
    """The stream of ours under ``stream``, or one made of it.  Reading has to go through ``stream``, which may hold the first bytes."""
    own = stream.get_extra_info(STREAM)
    return own if isinstance(own, Stream) else _ForeignStream(stream)


class _ForeignStream(Stream):
    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._unsent: list[bytes] = []
        self._sending = False
        self._cut = False

    @property
    def backlog(self) -> int:
        return sum(map(len, self._unsent))

    async def receive(self, max_bytes: int) -> bytes:
        return await self._inner.read(max_bytes)

    def queue(self, data: bytes) -> None:
        if self._cut:
            raise httpcore.WriteError("a send was cancelled in the middle of a frame, which cannot be completed")
        self._unsent.append(data)

    def try_send(self) -> bool:
        return not self._unsent

    async def nudge(self) -> None:
        if self._unsent and not self._sending and self._has_room():
            await self.flush()

    async def flush(self) -> None:
        self._sending = True
        try:
            while self._unsent:
                data = b"".join(self._unsent)
                self._unsent.clear()
                whole = False
                try:
                    await self._inner.write(data)
                    whole = True
                finally:
                    self._cut = self._cut or not (whole or self._takes_all_or_nothing())
        finally:
            self._sending = False

    async def abort(self) -> None:
        self._cut = True
        await self._inner.aclose()

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        """As httpcore says, and :data:`~kubex_stream_httpx.network.STREAM`."""
        return self if info == STREAM else self._inner.get_extra_info(info)

    def _takes_all_or_nothing(self) -> bool:
        trio = sys.modules.get("trio")
        on_trio = trio is not None and trio.lowlevel.in_trio_run()
        return not on_trio and self._inner.get_extra_info("ssl_object") is None

    def _has_room(self) -> bool:
        connected = self._inner.get_extra_info("socket")
        if connected is None:
            return True
        try:
            return bool(select.select([], [connected.fileno()], [], 0)[1])
        except (OSError, ValueError):
            # A descriptor above select's limit; better a late pong than a reader that waits.
            return False
