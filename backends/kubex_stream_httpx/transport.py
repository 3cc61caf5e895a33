"""Pools of connections, behind httpx's transport interface.

A transport is made for one :class:`Route`; a request that needs another TLS context, server name or proxy needs another transport, so
that no connection is ever used under an identity that it was not made with.  The request's target goes out as it is, byte for byte.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import anyio
import httpcore
import httpx

from kubex_stream.client import PreparedRequest
from kubex_stream_httpx.dialer import Dialer, Proxy, owning_streams
from kubex_stream_httpx.network import STREAM, Stream

__all__ = ("Lease", "Pair", "Pools", "Route", "Transport")


@dataclass(frozen=True, slots=True)
class Route:
    """What connections have to have in common to be exchangeable."""

    scheme: str
    ssl_context: ssl.SSLContext | None
    server_hostname: str | None
    proxy: Proxy | None

    @classmethod
    def of(cls, request: PreparedRequest) -> Route:
        """The route of a request."""
        proxy = None if request.proxy is None else Proxy.parse(request.proxy)
        return cls(httpx.URL(request.url).scheme, request.ssl_context, request.server_hostname, proxy)


class Transport(httpx.AsyncBaseTransport):
    """A pool for one route.  It raises httpcore's exceptions as they are.

    :param limits: of the pool
    """

    def __init__(self, route: Route, limits: httpx.Limits) -> None:
        self._route = route
        # A proxy gets plain http:// requests themselves, and is asked for tunnels otherwise.
        tunnel = route.scheme == "https"
        self._forward = None if tunnel else route.proxy
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=route.ssl_context,
            max_connections=None,  # the client counts
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            http1=True,
            http2=False,
            network_backend=Dialer(route.proxy, tunnel=tunnel, proxy_context=route.ssl_context),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; returns with the head of the response."""
        extensions = {**request.extensions, "sni_hostname": self._route.server_hostname}
        target = extensions.pop("target", request.url.raw_path)
        headers = request.headers.raw
        if self._forward is not None:
            target = b"http://" + request.headers["host"].encode("ascii") + target
            headers = [*headers, *self._forward.headers]
        async with owning_streams():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=target
                    ),
                    headers=headers,
                    content=_Once(request.content),
                    extensions=extensions,
                )
            )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(cast("_CoreStream", response.stream), response.extensions.get("network_stream")),
            extensions=response.extensions,
            request=request,
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


class _Once(AsyncIterator[bytes]):
    """The body of a request.  httpx's is a generator, which is left in the middle where the server hangs up early."""

    def __init__(self, content: bytes) -> None:
        self._left = [content] if content else []

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


class _CoreStream(AsyncIterator[bytes]):
    async def aclose(self) -> None: ...


class _Body(httpx.AsyncByteStream):
    def __init__(self, stream: _CoreStream, network: httpcore.AsyncNetworkStream | None) -> None:
        self._stream = stream
        self._network = network

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        except BaseException:
            # asyncio's own cancellation passes httpcore's shield, and what it interrupts there leaves the connection open for ever.
            own = None if self._network is None else self._network.get_extra_info(STREAM)
            if isinstance(own, Stream):
                await own.abort()
            raise


class Pair:
    """The two pools of a route: one with limits for plain requests, one without for whatever stays open."""

    def __init__(self, route: Route, limits: httpx.Limits) -> None:
        self.route = route
        self.plain = Transport(route, limits)
        self.streaming = Transport(route, httpx.Limits(max_connections=None, max_keepalive_connections=0))

    async def aclose(self) -> None:
        """Close every connection of both."""
        with anyio.CancelScope(shield=True):
            await self.plain.aclose()
            await self.streaming.aclose()


class Lease:
    """One request's use of the pools, until its response or its WebSocket is over.

    :ivar pair: the pools; None where the application's own client is used
    :ivar abandon: ends what is still open when the client is closed
    """

    def __init__(self, pools: Pools, pair: Pair | None) -> None:
        self._pools = pools
        self.pair = pair
        self.abandon: Callable[[], Awaitable[None]] | None = None

    async def release(self) -> None:
        """Say that it is over.  Calling it again does nothing."""
        await self._pools.release(self)


class Pools:
    """The pools of a client: those of the last route, and older ones for as long as something uses them."""

    def __init__(self, limits: httpx.Limits) -> None:
        self._limits = limits
        self._pairs: list[Pair] = []
        self._leases: set[Lease] = set()

    async def acquire(self, route: Route | None) -> Lease:
        """The pools for a route; None for none, where something else sends."""
        pair = None
        if route is not None:
            pair = next((pair for pair in self._pairs if pair.route == route), None) or Pair(route, self._limits)
            self._pairs = [other for other in self._pairs if other is not pair] + [pair]
        lease = Lease(self, pair)
        self._leases.add(lease)
        await self._close_unused()
        return lease

    async def release(self, lease: Lease) -> None:
        """As :meth:`Lease.release`."""
        self._leases.discard(lease)
        await self._close_unused()

    async def _close_unused(self) -> None:
        if len(self._pairs) > 1:
            used = {id(lease.pair) for lease in self._leases} | {id(self._pairs[-1])}
            unused = [pair for pair in self._pairs if id(pair) not in used]
            self._pairs = [pair for pair in self._pairs if id(pair) in used]
            for pair in unused:
                await pair.aclose()

    async def aclose(self) -> None:
        """Close every connection; what is still open is lost."""
        with anyio.CancelScope(shield=True):
            for lease in list(self._leases):
                if lease.abandon is not None:
                    await lease.abandon()
            pairs, self._pairs = self._pairs, []
            for pair in pairs:
                await pair.aclose()
