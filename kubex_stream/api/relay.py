"""One local connection and the pod's end of it.

Rules of this file:
- Bytes flow both ways at once, and each way only as fast as its receiver takes them.
- An end is passed on as an end, a failure as a reset: a client that reads until the end must not take a part for the whole.  A reset
  destroys what its receiver has not been sent yet, so that is waited for first.
- A connection whose pod turned out to be gone before anything came from it has had no effect there; it is tried again, with what was sent.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import SocketAttribute, SocketStream

from kubex_stream.errors import PortForwardError
from kubex_stream.session.forward_stream import PortForwardStream

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ("Relay",)

#: Bytes that are kept for a second try.
_KEPT: Final = 256 * 1024
_TRIES: Final = 5
_PIECE: Final = 256 * 1024
#: Seconds for the local side to take what is left before it is reset.
_DELIVERY: Final = 5.0
#: Seconds for the local client to notice the end.
_LINGER: Final = 1.0
_SETTLING: Final = 0.05


class Relay:
    """Carries one local connection.

    :param local: the accepted connection; it is closed at the end
    :param connect: opens the pod's end
    """

    def __init__(self, local: SocketStream, connect: Callable[[], Awaitable[PortForwardStream]]) -> None:
        self._local = local
        self._connect = connect
        self._kept = bytearray()
        self._keeping = True
        self._local_ended = False
        self.bytes_in = self.bytes_out = 0

    async def run(self) -> None:
        """Until both sides have ended.

        :raises KubexClientException: how the pod's end could not be made, or failed; the local connection has been reset then
        """
        try:
            for last in range(1 - _TRIES, 1):
                try:
                    await self._once()
                    break
                except PortForwardError as error:
                    if error.kind != "gone" or not self._keeping or not last:
                        raise
        except BaseException:
            await self._reset()
            raise
        else:
            with anyio.CancelScope(shield=True):
                await self._local.aclose()

    async def _once(self) -> None:
        remote = await self._connect()
        try:
            failure: Exception | None = None
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._upwards, remote, tasks.cancel_scope)
                try:
                    await self._downwards(remote)
                except Exception as error:  # noqa: BLE001  # raised again outside of the task group, which would wrap it
                    failure = error
                tasks.cancel_scope.cancel()
            if failure is not None:
                raise failure
        finally:
            await remote.aclose()

    async def _downwards(self, remote: PortForwardStream) -> None:
        while True:
            try:
                piece = await remote.receive(_PIECE)
            except anyio.EndOfStream:
                break
            self._keeping = False
            self._kept.clear()
            try:
                await self._local.send(piece)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # the local client has gone, and nobody wants the rest
            self.bytes_in += len(piece)
        await self._end()

    async def _end(self) -> None:
        """Pass the end on.  A socket that is closed with something unread in it resets its peer, so that is read away for a moment."""
        try:
            await self._local.send_eof()
            with anyio.move_on_after(_LINGER):
                while not self._local_ended:
                    await self._local.receive(_PIECE)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.BusyResourceError):
            return

    async def _upwards(self, remote: PortForwardStream, scope: anyio.CancelScope) -> None:
        try:
            if self._kept:
                await remote.send(self._kept)
            while not self._local_ended:
                try:
                    piece = await self._local.receive(_PIECE)
                except anyio.EndOfStream:
                    self._local_ended = True
                    break
                self._keep(piece)
                await remote.send(piece)
                self.bytes_out += len(piece)
            await remote.send_eof()
        except PortForwardError:
            return  # how the connection ended is for the other direction to say
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()  # reset by the local client, who wants no answer any more

    def _keep(self, piece: bytes) -> None:
        if self._keeping:
            self._kept += piece
            if len(self._kept) > _KEPT:
                self._keeping = False
                self._kept.clear()

    async def _reset(self) -> None:
        with anyio.CancelScope(shield=True):
            raw: socket.socket = self._local.extra(SocketAttribute.raw_socket)
            with anyio.move_on_after(_DELIVERY):
                await _delivered(raw)
            with suppress(OSError):  # it is gone already
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await self._local.aclose()


async def _delivered(sock: socket.socket) -> None:
    """Wait until the peer has been sent all that was written."""
    if sys.platform != "linux":
        await anyio.sleep(_SETTLING)
        return
    left = bytearray(4)
    while True:
        try:
            fcntl.ioctl(sock, termios.TIOCOUTQ, left)
        except (OSError, ValueError):
            return
        if not any(left):
            return
        await anyio.sleep(_SETTLING / 10)  # the kernel tells nobody when its queue runs empty
