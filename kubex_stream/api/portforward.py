"""Forwarding ports of pods: as streams, and as local listeners."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import EllipsisType
from typing import TypedDict, Unpack

from kubex_stream.api.forwarder import ForwardOptions, PortForwarder, PortForwardProtocol
from kubex_stream.api.listener import ConnectionEvent, Listeners
from kubex_stream.api.ports import parse_addresses, parse_ports
from kubex_stream.api.targets import Target
from kubex_stream.client.base import BaseClient
from kubex_stream.core.params import TimeoutTypes
from kubex_stream.session.forward_stream import PortForwardStream

__all__ = ("ConnectOptions", "PortForward")


class ConnectOptions(TypedDict, total=False):
    """What every way of forwarding takes; :meth:`PortForward.forwarder` says what it means."""

    namespace: str | None
    protocol: PortForwardProtocol
    half_close_delay: float | None
    reconnect: float
    request_timeout: TimeoutTypes | EllipsisType
    headers: Mapping[str, str] | None


class PortForward:
    """``pods.portforward``: TCP connections to ports of pods."""

    def __init__(self, client: BaseClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def forwarder(
        self,
        target: str,
        *,
        namespace: str | None = None,
        protocol: PortForwardProtocol = "auto",
        share: bool = False,
        max_tunnels: int = 32,
        half_close_delay: float | None = None,
        reconnect: float = 30.0,
        request_timeout: TimeoutTypes | EllipsisType = ...,
        headers: Mapping[str, str] | None = None,
    ) -> PortForwarder:
        """Many connections to one target: ``async with pods.portforward.forwarder("svc/web") as forwarder``.

        Entering it finds the pod and opens a tunnel; then ``async with forwarder.connect(80) as stream`` costs one round trip.  A tunnel
        could carry a thousand connections, but one of them whose server does not read brings it to a stop after a few megabytes; so each
        has a tunnel of its own, which is used again afterwards, and only above ``max_tunnels`` do they share, the least loaded first.

        A new connection whose tunnel or pod is gone looks for the target again; those that were open end with an error.

        :param target: ``web-0`` (a pod), ``svc/web``, ``deploy/web``, ``rs/…``, ``sts/…``, ``ds/…``, ``rc/…``, ``job/…``
        :param protocol: ``tunnel``: SPDY in a WebSocket, of Kubernetes 1.30 and later; ``legacy``: the older channels, one WebSocket for each
            connection and no half-close; ``auto``: the tunnel, and where its handshake is refused the older one
        :param share: one tunnel for all connections
        :param max_tunnels: tunnels at most, that is, connections that cannot slow each other down
        :param half_close_delay: seconds of silence from the pod after which an end of input is passed on; None: at once where the pod's
            container runtime carries it (CRI-O), else 1.0.  See :meth:`PortForwardStream.send_eof`.
        :param reconnect: seconds in which a new connection tries to find the pod again; 0: no second try
        :param request_timeout: of each request and handshake, as everywhere
        :param headers: more headers for requests and handshakes
        :raises TypeError, ValueError: a target or an option that is none
        :raises NotFound: on entering: no such object, or no pod of it
        :raises ApiError: on entering: the pod does not run, or the server refused
        :raises ConnectionFailed: on entering
        """
        options = ForwardOptions(
            protocol=protocol,
            share=share,
            max_tunnels=max_tunnels,
            half_close_delay=half_close_delay,
            reconnect=reconnect,
            request_timeout=request_timeout,
            headers=dict(headers or {}),
        )
        where = self._namespace if namespace is None else namespace
        return PortForwarder(self._client, Target.parse(target, where), options)

    def connect(
        self, target: str, port: int | str, **options: Unpack[ConnectOptions]
    ) -> AbstractAsyncContextManager[PortForwardStream]:
        """One connection to a port, without a local one: ``async with pods.portforward.connect("web-0", 5432) as stream``.

        Entering it returns when the server has answered; whether anything listens on the port shows then: a refused dial is a
        :class:`~kubex_stream.PortForwardError` of the first send or receive after it.

        :param target: as of :meth:`forwarder`, as are the options; many connections to one target are cheaper with one
        :param port: a number, or the name that the Service or a container of the pod gives it
        :raises NotFound: on entering: no such object, pod or port
        :raises PortForwardError: on entering: the server refused
        :raises ApiError: on entering: the pod does not run, the port is one of UDP, or the server refused
        """
        return _connection(self.forwarder(target, max_tunnels=1, **options), port)

    def open_connection(
        self, target: str, port: int | str, **options: Unpack[ConnectOptions]
    ) -> AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """:meth:`connect` for libraries of asyncio that want a reader and a writer; see :meth:`PortForwarder.open_connection`."""
        return _asyncio_connection(self.forwarder(target, max_tunnels=1, **options), port)

    def listen(
        self,
        target: str,
        ports: str | int | Sequence[str | int],
        *,
        address: str | Sequence[str] = "localhost",
        share: bool = False,
        max_tunnels: int = 32,
        on_event: Callable[[ConnectionEvent], None] | None = None,
        on_unavailable: Callable[[int, OSError], None] | None = None,
        **options: Unpack[ConnectOptions],
    ) -> Listeners:
        """Local listeners: ``async with pods.portforward.listen("svc/web", ["8080:80", ":443"]) as listeners``.

        ``listeners[0].local_port`` is the port that was chosen.  A connection that cannot be carried, or not to its end, is reset; the others
        and the listeners go on.  An orderly end is passed on in both directions as :meth:`PortForwardStream.send_eof` says.  Leaving the block
        ends the listeners and cuts what is open.

        :param target: as of :meth:`forwarder`, as are the options
        :param ports: kubectl's syntax: ``"8080:80"``, ``":80"`` (any free local port), ``"80"``, ``80``, ``"http"``, ``"8080:http"``
        :param address: where to listen: ``localhost`` (127.0.0.1 and ::1, one of them is enough) or IP addresses, all of which must be possible
        :param share: one tunnel for all connections
        :param max_tunnels: tunnels at most, that is, connections that cannot slow each other down
        :param on_event: called when a connection is opened, closed, or failed; it must return at once
        :param on_unavailable: called with each local port that cannot be had, and why; one of several is enough then.  None: all are needed
        :raises TypeError, ValueError: ports or addresses that are none; nothing is sent
        :raises OSError: on entering: a local port cannot be had; with ``on_unavailable``: none of them can
        :raises NotFound: on entering: no such object, pod or port
        :raises ApiError: on entering: the pod does not run, or the server refused
        """
        specs, addresses = parse_ports(ports), parse_addresses(address)
        forwarder = self.forwarder(target, share=share, max_tunnels=max_tunnels, **options)
        return Listeners(forwarder, specs, addresses, on_event, on_unavailable)


@asynccontextmanager
async def _connection(forwarder: PortForwarder, port: int | str) -> AsyncGenerator[PortForwardStream, None]:
    async with forwarder, forwarder.connect(port) as stream:
        yield stream


@asynccontextmanager
async def _asyncio_connection(
    forwarder: PortForwarder, port: int | str
) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
    async with forwarder, forwarder.open_connection(port) as pair:
        yield pair
