"""Making connections: name lookup, TCP, proxies.

Proxies are handled here rather than by httpcore, whose tunnels verify the URL's host even where another name is asked for, and cannot
reach IPv6 literals.  TLS to a proxy uses the TLS context of the request, as Go's client does.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import Any, Final, TypeAlias
from urllib.parse import unquote, urlsplit

import anyio
import h11
import httpcore

from kubex_stream_httpx.network import SocketStream, Stream, time_limit

__all__ = ("Dialer", "Proxy", "open_socket", "owning_streams")

#: Seconds before the next address of a name is tried as well (RFC 8305 recommends this).
_HEAD_START: Final = 0.25
_READ_SIZE: Final = 64 * 1024

#: The connections that were made for the request under way.
_made: ContextVar[list[Stream] | None] = ContextVar("made", default=None)

_Address: TypeAlias = tuple[Any, Any, int, Any]


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    :ivar authorization: the value of ``Proxy-Authorization``, None without credentials
    """

    scheme: str
    host: str
    port: int
    authorization: bytes | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """A proxy from its URL, whose user and password are quoted."""
        parts = urlsplit(url)
        credentials = None
        if parts.username or parts.password:
            pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
            credentials = b"Basic " + base64.b64encode(pair.encode())
        default = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname or "", parts.port or default, credentials)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What a request to the proxy carries for it."""
        return [] if self.authorization is None else [(b"Proxy-Authorization", self.authorization)]


class Dialer(httpcore.AsyncNetworkBackend):
    """Makes the connections of a pool.

    :param proxy: through which they go, None for none
    :param tunnel: whether the proxy is asked for a tunnel (CONNECT); otherwise it gets the requests themselves
    :param proxy_context: for a proxy that is reached by TLS
    """

    def __init__(self, proxy: Proxy | None, *, tunnel: bool, proxy_context: ssl.SSLContext | None) -> None:
        self._proxy = proxy
        self._tunnel = tunnel
        self._proxy_context = proxy_context

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002  (no pool of ours sets it)
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> Stream:
        """As httpcore says.

        :raises httpcore.ProxyError: nothing can be had from the proxy
        """
        with time_limit(timeout, httpcore.ConnectTimeout):
            if self._proxy is not None:
                return _noted(await self._through(self._proxy, host, port))
            try:
                return _noted(SocketStream(await open_socket(host, port)))
            except OSError as error:
                raise httpcore.ConnectError(str(error)) from error

    async def _through(self, proxy: Proxy, host: str, port: int) -> Stream:
        try:
            stream: Stream = SocketStream(await open_socket(proxy.host, proxy.port))
        except OSError as error:
            raise httpcore.ProxyError(str(error)) from error
        try:
            if proxy.scheme == "https":
                stream = await stream.start_tls(self._proxy_context or await _default_context(), proxy.host)
            if self._tunnel:
                await _open_tunnel(stream, proxy, host, port)
        except BaseException as error:
            await stream.abort()
            if isinstance(error, httpcore.ConnectError | httpcore.ReadError | httpcore.WriteError | h11.ProtocolError):
                raise httpcore.ProxyError(str(error)) from error
            raise
        return stream

    async def sleep(self, seconds: float) -> None:
        """As httpcore says."""
        await anyio.sleep(seconds)


@asynccontextmanager
async def owning_streams() -> AsyncGenerator[None, None]:
    """End the connections that were made in the block, where the block is left by an exception.

    httpcore forgets one whose request is cancelled when it has just been made (1.0.9): it stays open until the pool is closed.
    """
    streams: list[Stream] = []
    token = _made.set(streams)
    try:
        yield
    except BaseException:
        for stream in streams:
            await stream.abort()
        raise
    finally:
        _made.reset(token)


def _noted(stream: Stream) -> Stream:
    streams = _made.get()
    if streams is not None:
        streams.append(stream)
    return stream


async def _default_context() -> ssl.SSLContext:
    return await anyio.to_thread.run_sync(lambda: ssl.create_default_context())


async def _open_tunnel(stream: Stream, proxy: Proxy, host: str, port: int) -> None:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection = h11.Connection(h11.CLIENT)
    headers = [(b"Host", authority.encode()), *proxy.headers]
    await stream.write(connection.send(h11.Request(method="CONNECT", target=authority, headers=headers)) or b"")
    connection.send(h11.EndOfMessage())
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive(_READ_SIZE))
        elif isinstance(event, h11.Response):
            break
    if not 200 <= event.status_code < 300:
        reason = event.reason.decode("ascii", "replace")
        raise httpcore.ProxyError(f"{event.status_code} {reason}".strip())
    if connection.trailing_data[0]:
        raise httpcore.ProxyError("it sent data before the tunnel was used")


async def open_socket(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket.  The addresses of a name are tried one after another, each with a short head start.

    :raises OSError: there is no such name, or no address answers
    """
    try:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no valid host name") from error
    addresses = _alternating([(family, kind, protocol, where) for family, kind, protocol, _, where in found])
    if len(addresses) == 1:
        return await _connect(addresses[0])
    race = _Race()
    try:
        await race.run(addresses)
    except BaseException:
        race.drop()
        raise
    if race.winner is None:
        raise OSError("; ".join(dict.fromkeys(str(failure) for failure in race.failures)) or "the name has no address")
    return race.winner


def _alternating(addresses: Sequence[_Address]) -> list[_Address]:
    """The families by turns, beginning with what the system prefers, so that a broken one does not hold the other back."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for address in chain.from_iterable(zip_longest(first, others)) if address is not None]


class _Race:
    def __init__(self) -> None:
        self.winner: socket.socket | None = None
        self.failures: list[OSError] = []

    async def run(self, addresses: Sequence[_Address]) -> None:
        async with anyio.create_task_group() as group:
            for address in addresses:
                ended = anyio.Event()
                group.start_soon(self._attempt, address, ended, group.cancel_scope)
                with anyio.move_on_after(_HEAD_START):
                    await ended.wait()

    async def _attempt(self, address: _Address, ended: anyio.Event, scope: anyio.CancelScope) -> None:
        try:
            connected = await _connect(address)
        except OSError as error:
            self.failures.append(error)
        else:
            if self.winner is not None:
                connected.close()
            else:
                self.winner = connected
                scope.cancel()
        ended.set()

    def drop(self) -> None:
        if self.winner is not None:
            self.winner.close()


async def _connect(address: _Address) -> socket.socket:
    family, kind, protocol, where = address
    connected = socket.socket(family, kind, protocol)
    try:
        connected.setblocking(False)
        try:
            connected.connect(where)
        except BlockingIOError:
            await anyio.wait_writable(connected)
            problem = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                raise OSError(problem, os.strerror(problem)) from None
        with suppress(OSError):
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connected.close()
        raise
    return connected
