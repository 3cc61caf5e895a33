"""The byte stream that an application holds: a connection to a port of a pod."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketAttribute

from kubex_stream.errors import PortForwardError
from kubex_stream.session.conduit import Conduit
from kubex_stream.statistics import SessionStatistics

__all__ = ("PortForwardStream",)


class PortForwardStream(ByteStream):
    """A TCP connection to a port of a pod, as an anyio byte stream.

    One task may receive while another one sends; neither waits for the other.  Not receiving is back-pressure: the pod's server is paused.
    What has been received is handed out before an end or an error is told.

    :ivar pod: the pod's name
    :ivar port: the port in the pod
    :ivar protocol: the subprotocol that carries it
    """

    def __init__(
        self, conduit: Conduit, *, pod: str, protocol: str, failed: Callable[[PortForwardError], None]
    ) -> None:
        self.pod = pod
        self.port = conduit.port
        self.protocol = protocol
        self._conduit = conduit
        self._failed = failed
        self._rest = memoryview(b"")
        self._receiving = anyio.ResourceGuard("receiving from")
        self._sending = anyio.ResourceGuard("sending to")

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """The next bytes.  A cancelled call loses nothing.

        :param max_bytes: at most so many
        :raises anyio.EndOfStream: the pod's server has ended its side, and everything has been handed out
        :raises anyio.ClosedResourceError: this stream was closed here
        :raises anyio.BusyResourceError: another task is receiving
        :raises PortForwardError: the dial was refused, the connection was reset, what carries it broke, …: see its ``kind``
        """
        if max_bytes < 1:
            raise ValueError(f"max_bytes must be positive, not {max_bytes}")
        with self._receiving:
            if not self._rest:
                try:
                    piece = await self._conduit.receive(max_bytes)
                except PortForwardError as error:
                    self._failed(error)
                    raise
                if len(piece) <= max_bytes:
                    return piece
                self._rest = memoryview(piece)
            taken, self._rest = bytes(self._rest[:max_bytes]), self._rest[max_bytes:]
            return taken

    async def send(self, item: bytes | bytearray | memoryview) -> None:
        """Send bytes.  Returns when the transport has room again; nobody acknowledges that they have reached the pod.

        A cancelled call may have sent some of them.

        :raises anyio.ClosedResourceError: this stream, or its sending half, was closed here
        :raises anyio.BusyResourceError: another task is sending
        :raises PortForwardError: the connection has failed, or the pod's server has ended it
        """
        with self._sending:
            try:
                await self._conduit.send(item)
            except PortForwardError as error:
                self._failed(error)
                raise

    async def send_eof(self) -> None:
        """End what this side sends; receiving goes on.

        Where the pod's container runtime carries such an end (CRI-O) it is sent at once.  containerd does not: one second after it, the
        runtime cuts the whole connection.  There, and where the runtime is not known, the end is therefore kept back until nothing has
        come from the pod for ``half_close_delay`` seconds, so that an answer that is under way arrives whole.  The older protocol has no
        such end at all: after those seconds, and one more, the connection is closed, and ``receive`` raises a :class:`PortForwardError` of
        kind ``cut``.

        Raises as :meth:`send`.
        """
        with self._sending:
            await self._conduit.send_eof()

    async def aclose(self) -> None:
        """Close the connection.  What was sent is still delivered; what the pod still sends is dropped.

        It waits at most ``close_timeout`` seconds for a transport that takes no bytes.
        """
        self._rest = memoryview(b"")
        await self._conduit.aclose()

    @property
    def statistics(self) -> SessionStatistics:
        """Bytes, frames and idle seconds of this connection, now."""
        return self._conduit.statistics

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """``SocketAttribute.remote_port``."""
        return {SocketAttribute.remote_port: lambda: self.port}

    def __repr__(self) -> str:
        return f"<PortForwardStream pod {self.pod}, port {self.port}>"
