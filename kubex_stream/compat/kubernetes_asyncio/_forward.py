"""A forwarded port as frames.

On the wire of a port-forward the channels of a port are 2i and 2i+1, and each begins with the port's number.  The document of
``kubernetes_asyncio`` shows something better to use: the port's data on ``STDOUT_CHANNEL``, and on ``ERROR_CHANNEL`` a Status, which
says how it ended.  That is what is made here, of a connection of this library's.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AbstractAsyncContextManager
from typing import Final

import anyio

from kubex_stream.compat.kubernetes_asyncio._frames import Frames, Sendable
from kubex_stream.errors import PortForwardError
from kubex_stream.protocol.channels import CLOSE_CHANNEL, ERROR_CHANNEL, STDIN_CHANNEL, STDOUT_CHANNEL
from kubex_stream.session.forward_stream import PortForwardStream
from kubex_stream.statistics import SessionStatistics

__all__ = ("ForwardFrames",)

_SUCCESS: Final = b'{"metadata":{},"status":"Success"}'


def _failure(error: PortForwardError) -> bytes:
    cause = {"reason": "PortForward", "message": error.kind, "field": str(error.port or "")}
    status = {
        "metadata": {},
        "status": "Failure",
        "message": str(error),
        "reason": "PortForwardFailed",
        "details": {"causes": [cause]},
    }
    return json.dumps(status).encode()


class ForwardFrames(Frames):
    """One connection to a port; made by :meth:`open`.  What is sent goes on ``STDIN_CHANNEL``."""

    def __init__(self, connecting: AbstractAsyncContextManager[PortForwardStream]) -> None:
        loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[PortForwardStream] = loop.create_future()
        self._leave = asyncio.Event()
        self._carrying = loop.create_task(self._carry(connecting))
        self._told = False

    @classmethod
    async def open(cls, connecting: AbstractAsyncContextManager[PortForwardStream]) -> ForwardFrames:
        """Connect.  Raises as :meth:`kubex_stream.api.portforward.PortForward.connect`."""
        frames = cls(connecting)
        try:
            frames._stream = await asyncio.shield(frames._opened)
        except BaseException:
            frames._carrying.cancel()
            await asyncio.wait([frames._carrying])
            raise
        frames.subprotocol = frames._stream.protocol
        return frames

    _stream: PortForwardStream

    async def _carry(self, connecting: AbstractAsyncContextManager[PortForwardStream]) -> None:
        # A connection is entered and left by one task, and those who use it may be many.
        try:
            async with connecting as stream:
                self._opened.set_result(stream)
                await self._leave.wait()
        except BaseException as error:
            if self._opened.done():
                raise
            if isinstance(error, Exception):
                self._opened.set_exception(error)
                return
            self._opened.cancel()
            raise

    async def receive(self) -> tuple[int, bytes]:
        if self._told:
            raise anyio.EndOfStream
        try:
            return STDOUT_CHANNEL, await self._stream.receive()
        except anyio.EndOfStream:
            status = _SUCCESS
        except PortForwardError as error:
            status = _failure(error)
        self._told = True
        self._leave.set()  # whoever opened it may forget to close it
        return ERROR_CHANNEL, status

    async def send(self, channel: int, data: Sendable) -> None:
        if channel == STDIN_CHANNEL:
            await self._stream.send(data)
        elif channel == CLOSE_CHANNEL:
            if bytes(data) != bytes((STDIN_CHANNEL,)):
                raise ValueError("the data of CLOSE_CHANNEL is one byte, the channel to end, and only 0 can be")
            await self._stream.send_eof()
        else:
            raise ValueError(
                f"channel {channel} is none that a client writes to: STDIN_CHANNEL carries data to the port"
            )

    async def aclose(self) -> None:
        self._leave.set()
        if not self._carrying.done():
            await self._stream.aclose()  # so that a receive of another task ends now
            await asyncio.wait([self._carrying])

    @property
    def statistics(self) -> SessionStatistics:
        return self._stream.statistics
