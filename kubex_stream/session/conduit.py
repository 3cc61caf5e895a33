"""One forwarded TCP connection, whatever carries it: what a tunnel's pair of streams and an older WebSocket have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from kubex_stream.errors import PortForwardError, PortForwardFailure
from kubex_stream.statistics import SessionStatistics

__all__ = ("Conduit", "EndOfInput", "SpoiledTunnelError")


class SpoiledTunnelError(Exception):
    """A tunnel takes no new connections any more, and nothing was sent; another one is needed."""


@dataclass(frozen=True, slots=True)
class EndOfInput:
    """What becomes of the end of what this side sends.

    containerd carries no end: when one direction is over, it gives the other one second and then cuts both
    (internal/cri/server/sandbox_portforward_linux.go).  So the end is kept back while the pod's side may still be answering.

    :ivar patience: seconds of silence from the pod after which the end is passed on; 0: at once
    :ivar cuts: whether the pod's runtime is known to cut a second later, so that an answer after that may be incomplete
    """

    patience: float
    cuts: bool


class Conduit(ABC):
    """A connection to a pod's port.  One task receives and one sends at a time; neither waits for the other."""

    def __init__(self, port: int, end_of_input: EndOfInput) -> None:
        self.port = port
        self.end_of_input = end_of_input
        #: How it failed, None while it has not.
        self.failure: PortForwardError | None = None

    @abstractmethod
    async def receive(self, size: int = 65536) -> bytes:
        """The next bytes, at least one; a cancelled call loses nothing.

        :param size: bytes beyond which what has arrived already is not joined; a single piece may be larger

        :raises anyio.EndOfStream: the pod's side has ended in order, and everything was handed out
        :raises anyio.ClosedResourceError: closed on this side
        :raises PortForwardError: it failed, and everything that had come was handed out
        """

    @abstractmethod
    async def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; returns when the transport has taken them.  A cancelled call may have sent some.

        :raises anyio.ClosedResourceError: closed on this side, or the end has been sent
        :raises PortForwardError: it failed
        """

    @abstractmethod
    async def send_eof(self) -> None:
        """Send the end, as :attr:`end_of_input` says.  Raises as :meth:`send`."""

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of it.  What was sent is still delivered; what arrives from now on is dropped.  Never raises, waits for little."""

    @property
    @abstractmethod
    def statistics(self) -> SessionStatistics:
        """What it has carried."""

    def error(self, kind: PortForwardFailure, text: str) -> PortForwardError:
        """A failure of this connection."""
        return PortForwardError(text, kind=kind, port=self.port, statistics=self.statistics)
