"""One local connection and the pod's end of it.

Rules of this file:
- Bytes flow both ways at once, and each way only as fast as its receiver takes them.
- An end is passed on as an end, a failure as a reset: a client that reads until the end must not take a part for the whole.  A reset
  destroys what its receiver has not been sent yet, so that is waited for first.
- A connection whose pod turned out to be gone before anything came from it has had no effect there; it is tried again, with what was sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio

from kubex_stream.api.local import LocalConnection
from kubex_stream.errors import PortForwardError
from kubex_stream.protocol.portforward import LEGACY_PROTOCOL
from kubex_stream.session.forward_stream import PortForwardStream

__all__ = ("Relay",)

#: Bytes that are kept for a second try.
_KEPT: Final = 256 * 1024
_TRIES: Final = 5
_PIECE: Final = 256 * 1024
#: Seconds for the local side to take what is left before it is reset.
_DELIVERY: Final = 5.0
#: Seconds for the local client to notice the end.
_LINGER: Final = 1.0


class Relay:
    """Carries one local connection.

    :param local: the accepted connection; it is closed at the end
    :param connect: opens the pod's end
    """

    def __init__(self, local: LocalConnection, connect: Callable[[], Awaitable[PortForwardStream]]) -> None:
        self._local = local
        self._connect = connect
        self._kept = bytearray()
        self._keeping = True
        self._local_ended = self._complete = False
        self._upwards_ended = anyio.Event()
        self._protocol = ""
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
        except PortForwardError as error:
            await self._reset(_DELIVERY)
            # The older protocol cannot tell the pod of the local client's end.  Mostly nobody is there any more to miss an answer.
            if error.kind != "cut" or self._protocol != LEGACY_PROTOCOL:
                raise
        except Exception:
            await self._reset(_DELIVERY)
            raise
        except BaseException:
            if not self._complete:
                await self._reset(0)  # who leaves cuts what is open
            raise
        else:
            self._local.close()

    async def _once(self) -> None:
        remote = await self._connect()
        self._protocol = remote.protocol
        self._upwards_ended = anyio.Event()
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
            except OSError:
                return  # the local client has gone, and nobody wants the rest
            self.bytes_in += len(piece)
        await self._end()

    async def _end(self) -> None:
        """Pass the end on.  A socket that is closed with something unread in it resets its peer, so that is read away for a moment."""
        with suppress(OSError), anyio.move_on_after(_LINGER):
            self._local.end()
            self._complete = True
            await self._upwards_ended.wait()  # it reads too, until there is something that nobody takes any more
            while await self._local.receive():
                pass

    async def _upwards(self, remote: PortForwardStream, scope: anyio.CancelScope) -> None:
        try:
            if self._kept:
                await remote.send(bytes(self._kept))  # it is forgotten as soon as something comes
            while not self._local_ended:
                piece = await self._received(scope)
                self._local_ended = not piece
                self._keep(piece)
                if piece:
                    await remote.send(piece)
                    self.bytes_out += len(piece)
            await remote.send_eof()
        except (PortForwardError, anyio.ClosedResourceError):
            return  # how the connection ended is for the other direction to say
        finally:
            self._upwards_ended.set()

    async def _received(self, scope: anyio.CancelScope) -> bytes:
        try:
            return await self._local.receive()
        except OSError:
            scope.cancel()  # reset by the local client, who wants no answer any more
            await anyio.sleep_forever()
            raise

    def _keep(self, piece: bytes) -> None:
        if self._keeping:
            self._kept += piece
            if len(self._kept) > _KEPT:
                self._keeping = False
                self._kept.clear()

    async def _reset(self, patience: float) -> None:
        with anyio.move_on_after(patience, shield=True):
            await self._local.delivered()
        self._local.reset()
