"""Connections to a pod's port as httpcore's network, which is where httpcore takes its connections from.

Rules of this file:
- What the pod's server sends unasked while a connection rests, its end above all, makes the connection useless; httpcore looks for that
  on a socket, which there is none of here.  So a connection that has rested is looked at before anything is sent.
- That is not enough: behind containerd the end is told one second late.  So one that ends before it has answered again is told apart from
  others, since a request that may be repeated need not fail for it.
- A refused dial shows when the first answer is waited for, and is still a failure to connect: nothing has been executed.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any, Final, Protocol

import anyio
import httpcore
from anyio.abc import ByteStream
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSAttribute, TLSStream

from kubex_stream.errors import KubexClientException, PortForwardError, StreamTimeout
from kubex_stream_httpx.network import time_limit

__all__ = ("ITSELF", "Dropped", "Forwarder", "PodNetwork", "PodStream", "Useless", "owning_pod_streams")

#: Looks at a connection that has rested: the first may only find out that another task was reading.
_LOOKS: Final = 3
#: ``get_extra_info`` of this is the stream itself, also through httpcore's wrappers.
ITSELF: Final = "kubex_stream"


class Forwarder(Protocol):
    """What is needed of a :class:`kubex_stream.PortForwarder`."""

    async def open(self, port: int | str, /) -> ByteStream: ...


class Useless(Exception):
    """A connection came to its end while it rested; nothing was sent over it."""


class Dropped(Exception):
    """A connection that had rested came to its end instead of an answer; whether the request was received is not known."""


class PodNetwork(httpcore.AsyncNetworkBackend):
    """Makes connections to the ports of one target.

    :param shared: whether several requests may use one at once, also where TLS has not agreed on HTTP/2
    """

    def __init__(self, forwarder: Forwarder, *, shared: bool) -> None:
        self._forwarder = forwarder
        self._shared = shared

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002  (the forwarder knows where to go)
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """As httpcore says."""
        with time_limit(timeout, httpcore.ConnectTimeout), _as_httpcore(httpcore.ConnectError):
            wire = _Wire(await self._forwarder.open(port))
        return PodStream(wire, wire, shared=self._shared)

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class _Wire(ByteStream):
    """A connection to the pod.  Several tasks may send, one after another: who reads TLS may have to answer while another one writes."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._sending = anyio.Lock(fast_acquire=True)
        #: Whether it lies in the pool, or has just been taken out of it.
        self.resting = False
        #: Whether it has rested, and nothing has come since.
        self.reused = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send(self, item: bytes) -> None:
        async with self._sending:
            await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def check(self) -> None:
        """Whether a connection that has rested can be used.

        :raises Useless: it has ended, or something has come that is no answer to anything
        """
        self.resting, self.reused = False, True
        for _ in range(_LOOKS):
            with anyio.move_on_after(0):
                with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                    await self._stream.receive()
                raise Useless
            await checkpoint()


class PodStream(httpcore.AsyncNetworkStream):
    """What httpcore, and a WebSocket over it, use: the wire itself, or TLS on it.

    :ivar shared: whether several requests may use it at once
    """

    def __init__(self, wire: _Wire, stream: ByteStream, *, shared: bool) -> None:
        self.shared = shared
        self._wire = wire
        self._stream = stream
        made = _made.get()
        if made is not None:
            made.append(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with time_limit(timeout, httpcore.ReadTimeout), self._failing_as(httpcore.ReadError):
            try:
                data = await self._stream.receive(max_bytes)
            except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
                if self._wire.reused and not self.shared:
                    raise Dropped from error
                if isinstance(error, anyio.EndOfStream):
                    return b""
                raise
            self._wire.reused = False
            return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:
            return
        with time_limit(timeout, httpcore.WriteTimeout), self._failing_as(httpcore.WriteError):
            if self._wire.resting:
                await self._wire.check()
            await self._stream.send(buffer)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            with time_limit(timeout, httpcore.ConnectTimeout), _as_httpcore(httpcore.ConnectError):
                tls = await TLSStream.wrap(
                    self._stream,
                    server_side=False,
                    hostname=server_hostname,
                    ssl_context=ssl_context,
                    standard_compatible=False,  # as everywhere in HTTP: peers do not wait for each other's last word
                )
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise
        return PodStream(self._wire, tls, shared=self.shared or tls.extra(TLSAttribute.alpn_protocol) == "h2")

    async def aclose(self) -> None:
        await self._stream.aclose()

    def get_extra_info(self, info: str) -> Any:
        if info == ITSELF:
            return self
        if info == "is_readable":
            # Asked by httpcore of a connection that lies in its pool.
            self._wire.resting = True
            return False
        return self._stream.extra(TLSAttribute.ssl_object, None) if info == "ssl_object" else None

    @contextmanager
    def _failing_as(self, kind: type[Exception]) -> Generator[None, None, None]:
        try:
            with _as_httpcore(kind):
                yield
        except kind as error:
            if isinstance(error.__cause__, PortForwardError) and error.__cause__.kind == "refused":
                raise httpcore.ConnectError(str(error)) from error.__cause__
            raise


_made: ContextVar[list[PodStream] | None] = ContextVar("made", default=None)


@asynccontextmanager
async def owning_pod_streams() -> AsyncGenerator[None, None]:
    """Close the connections that were made in the block, where the block is left by an exception, unless other requests may use them.

    httpcore forgets one whose request is cancelled when it has just been made (1.0.9): it stays open until the pool is closed.
    """
    streams: list[PodStream] = []
    token = _made.set(streams)
    try:
        yield
    except BaseException:
        with anyio.CancelScope(shield=True):
            for stream in streams:
                if not stream.shared:
                    await stream.aclose()
        raise
    finally:
        _made.reset(token)


# Errors ---------------------------------------------------------------------------------------------------------------


@contextmanager
def _as_httpcore(kind: type[Exception]) -> Generator[None, None, None]:
    """From the forwarder's, anyio's and TLS's exceptions to httpcore's."""
    try:
        yield
    except (
        KubexClientException,
        anyio.BrokenResourceError,
        anyio.ClosedResourceError,
        anyio.EndOfStream,
        OSError,
    ) as error:
        cause = _reason(error)
        if isinstance(cause, StreamTimeout) and kind is httpcore.ConnectError:
            kind = httpcore.ConnectTimeout
        raise kind(str(cause) or _WORDS.get(type(cause), type(cause).__name__)) from cause


_WORDS: Final[Mapping[type, str]] = {
    anyio.EndOfStream: "the pod's server ended the connection during the TLS handshake",
    anyio.ClosedResourceError: "the connection was closed on this side",
}


def _reason(error: BaseException) -> BaseException:
    """What this library says about it, where TLS stands between."""
    cause = error.__cause__
    return cause if isinstance(cause, KubexClientException) and not isinstance(error, KubexClientException) else error
