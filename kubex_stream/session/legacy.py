"""A forwarded connection in a WebSocket of its own: the older channel pairs, with one port.

Rules of this file:
- There is no end of one direction.  The server's Close is the end of the pod's side; the end of this side can be said only by closing all,
  so it is kept back while the pod's side may still be answering, and what is cut off then is an error, not an end.
- Each channel begins with the port's number; a server that says another one is not forwarding what was asked for.
- Text on the error channel comes before the Close that belongs to it.
"""

from __future__ import annotations

import time
from typing import Final

import anyio

from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.errors import KubexClientException, PortForwardError
from kubex_stream.protocol.channels import ChannelProtocol
from kubex_stream.protocol.portforward import LEGACY_DATA, LEGACY_ERROR, LEGACY_PROTOCOL, explain, port_frame
from kubex_stream.session.buffer import ChannelBuffer
from kubex_stream.session.conduit import Conduit, EndOfInput
from kubex_stream.session.ending import Ending
from kubex_stream.session.keeper import Keeper
from kubex_stream.session.multiplexer import JOIN, ChannelSession
from kubex_stream.statistics import SessionStatistics

__all__ = ("LegacyConduit",)

_PROTOCOL: Final = ChannelProtocol(LEGACY_PROTOCOL, half_close=False, json_status=False, base64=False)
#: Seconds that a server may take to tell that the pod has ended its side: containerd gives the other side a second before.
_LATE: Final = 1.0


class _Close:
    """Reads the ending of a port-forward: a Close in order, whatever came on a channel that was not asked for."""

    def add(self, _part: bytes | memoryview, _statistics: SessionStatistics, /) -> Ending | None:
        """Nothing is on this channel."""

    def closed(self, _close_code: int | None, _statistics: SessionStatistics, /) -> Ending:
        """In order."""
        return Ending()


class LegacyConduit(Conduit):
    """One connection, one port, one WebSocket."""

    def __init__(
        self,
        connection: WebSocketConnection,
        options: ClientOptions,
        port: int,
        end_of_input: EndOfInput,
        *,
        path: str,
        observer: Observer,
    ) -> None:
        super().__init__(port, end_of_input)
        self._data = ChannelBuffer(f"port {port}", options.stream_buffer_size, LEGACY_DATA)
        self._errors = ChannelBuffer(f"the errors of port {port}", options.stream_buffer_size, LEGACY_ERROR)
        self._errors.touched = True
        outputs = {LEGACY_DATA: self._data, LEGACY_ERROR: self._errors}
        self._session = ChannelSession(
            connection, _PROTOCOL, options, path=path, outputs=outputs, observer=observer, status=_Close()
        )
        self._session.join = 0  # the first message of each channel is one by itself
        self._patience = end_of_input.patience + _LATE
        self._end_wanted = self._closed = False
        # Silence is what a call waits for in vain: a consumer that is busy elsewhere says nothing about the pod.
        self._silence: anyio.CancelScope | None = None
        self._waiting_since = self._silent_for = 0.0
        self._bytes_in = 0
        self._path, self._observer = path, observer

    async def keep(self) -> None:
        """Keep it alive until it ends; a task of its own.  It is closed when that task is cancelled."""
        try:
            await Keeper(self._session).run()
            await self._session.connection.close()  # what has come is kept for a consumer that may never close it
        except BaseException:
            await self.aclose()
            raise

    async def opened(self) -> None:
        """Wait for the server's answer.

        :raises PortForwardError: the server answered for another port, or ended the connection
        """
        wanted = port_frame(self.port)
        for buffer in (self._data, self._errors):
            try:
                first = await self._session.receive(buffer)
            except anyio.EndOfStream:
                raise self.error("failed", f"the server ended the connection to port {self.port} at once") from None
            except KubexClientException as error:
                raise self._lost(error) from error
            if first != wanted:
                raise self.error("failed", f"asked for port {self.port}, the server answered with {first[:8].hex()}")
        self._session.join = JOIN

    async def receive(self, size: int = 65536) -> bytes:  # noqa: ARG002  (its session joins by itself)
        if self._closed:
            raise anyio.ClosedResourceError
        if self.failure is not None and not self._data.size:
            raise self.failure.with_traceback(None)
        self._waiting_since = time.monotonic()
        try:
            with anyio.move_on_after(self._patience - self._silent_for if self._end_wanted else None) as self._silence:
                piece = await self._piece()
                self._silent_for = 0.0
                return piece
        except BaseException:
            self._silent_for += time.monotonic() - self._waiting_since
            raise
        finally:
            self._silence = None
        self.failure = self.error(
            "cut",
            f"the connection to port {self.port} was closed {self._patience:g} s after the last answer: this protocol, {LEGACY_PROTOCOL}, "
            "cannot tell the pod's server that the input has ended, so whatever it still had to say is not known",
        )
        with anyio.CancelScope(shield=True):
            await self._session.leave()
        raise self.failure

    async def _piece(self) -> bytes:
        try:
            piece = await self._session.receive(self._data)
        except anyio.EndOfStream:
            raise self._verdict() or anyio.EndOfStream from None
        except KubexClientException as error:
            self.failure = self._verdict() or self._lost(error)
            raise self.failure from error
        self._bytes_in += len(piece)
        return piece

    def _verdict(self) -> PortForwardError | None:
        text = bytearray()
        while self._errors.size:
            text += self._errors.take()
        if text and self.failure is None:
            trouble = explain(text.decode(errors="replace"), self.port)
            self.failure = self.error(trouble.kind, trouble.text)
        return self.failure

    def _lost(self, cause: Exception) -> PortForwardError:
        error = self.error("lost", f"the connection to port {self.port} broke: {cause}")
        error.__cause__ = cause
        return error

    async def send(self, data: bytes | bytearray | memoryview) -> None:
        self._check_sendable()
        if self._end_wanted:
            raise anyio.ClosedResourceError
        try:
            await self._session.input.send(LEGACY_DATA, data)
        except KubexClientException as error:
            self._check_sendable()
            raise self._lost(error) from error

    def _check_sendable(self) -> None:
        if self._closed:
            raise anyio.ClosedResourceError
        failure = self.failure or self._verdict()
        if failure is not None:
            raise failure.with_traceback(None)
        if self._session.ended:
            raise self.error("closed", f"the pod's server has ended the connection to port {self.port}")

    async def send_eof(self) -> None:
        self._check_sendable()
        if not self._end_wanted:
            self._end_wanted = True
            self._waiting_since, self._silent_for = time.monotonic(), 0.0
            if self._silence is not None:
                self._silence.deadline = anyio.current_time() + self._patience

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            with anyio.CancelScope(shield=True):
                await self._session.leave()
            self._observer.closed(self._path, self.failure)

    @property
    def statistics(self) -> SessionStatistics:
        # The session counts what the error channel says, and the numbers of the ports, too.
        return self._session.statistics._replace(bytes_in=self._bytes_in)
