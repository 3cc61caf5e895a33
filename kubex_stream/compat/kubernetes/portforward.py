"""``portforward``: ports of a pod as sockets, called as the official client's function of this name is."""

from __future__ import annotations

import asyncio
import socket
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Final

from kubex_stream.api.asyncio_streams import ForwardedSocket
from kubex_stream.api.pods import Pods
from kubex_stream.compat.kubernetes.calls import Call, recorded
from kubex_stream.compat.kubernetes.clients import Lease, lease_of
from kubex_stream.compat.kubernetes.errors import translated
from kubex_stream.compat.kubernetes.loop import BackgroundLoop, background
from kubex_stream.compat.kubernetes.official import client as official
from kubex_stream.compat.kubernetes.streams import RequestTimeout, time_limits

__all__ = ("PortForward", "portforward")

#: Seconds between two looks whether a socket that has been shut down for writing is closed.
_LOOK: Final = 1.0


class _Socket(socket.socket):
    """One end of a pair, for libraries that take it for TCP."""

    def setsockopt(self, level: int, optname: int, *value: Any) -> None:
        """Options of TCP have no meaning here, and are taken without a word."""
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, optname, *value)


class PortForward:
    """Connections to ports of one pod; got from :func:`portforward`.

    Each socket ends as a connection does: it may be shut down for writing and read on, and closing it closes the connection.
    """

    def __init__(self, loop: BackgroundLoop, sockets: Mapping[int, socket.socket], carriers: _Carriers) -> None:
        self._loop = loop
        self._sockets = dict(sockets)
        self._carriers = carriers

    @property
    def connected(self) -> bool:
        """Whether any of them is still carried."""
        return self._carriers.carrying

    def socket(self, port_number: int) -> socket.socket:
        """The socket of a port.

        :raises ValueError: another port than those that were asked for
        """
        return self._sockets[self._checked(port_number)]

    def error(self, port_number: int) -> str | None:
        """Why a connection failed, as that nothing listens on the port; its socket shows no more than an end then.

        :returns: None while it has not failed
        :raises ValueError: another port than those that were asked for
        """
        failure = self._carriers.failure(self._checked(port_number))
        return None if failure is None else str(failure)

    def close(self) -> None:
        """Close all sockets, and wait until the connections are closed."""
        self._loop.check_process()
        for each in self._sockets.values():
            each.close()
        if self._loop.usable and not self._loop.inside:
            self._loop.run(self._carriers.stop)

    def _checked(self, port: object) -> int:
        self._loop.check_process()
        if not isinstance(port, int) or port not in self._sockets:
            raise ValueError(f"{port!r} was not asked for; ports are {', '.join(map(str, self._sockets))}")
        return port

    def __repr__(self) -> str:
        return f"<PortForward to {', '.join(map(str, self._sockets))} ({'open' if self.connected else 'closed'})>"


class _Carriers:
    """What carries the sockets, in the loop."""

    def __init__(
        self, loop: BackgroundLoop, lease: Lease, where: tuple[str, str], ports: list[int], **given: Any
    ) -> None:
        self._loop = loop
        self._lease = lease
        self._namespace, self._pod = where
        self._ports = ports
        self._given = given
        self._ends: dict[int, ForwardedSocket] = {}
        self._near: dict[int, weakref.ref[socket.socket]] = {}
        self._sockets: dict[int, socket.socket] = {}  # until somebody has them
        self._task: asyncio.Task[None] | None = None
        self.carrying = True

    def failure(self, port: int) -> Exception | None:
        end = self._ends[port]
        return end.failure or end.refusal

    async def start(self) -> dict[int, socket.socket]:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = self._loop.spawn(lambda: self._run(opened))
        try:
            await opened
            sockets, self._sockets = self._sockets, {}
            return sockets
        except BaseException:
            self._task.cancel()
            raise

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            async with self._lease() as client:
                pods = Pods(client, self._namespace)
                async with pods.portforward.forwarder(self._pod, **self._given) as forwarder:
                    for port in self._ports:
                        self._ends[port] = await forwarder.open_socket(port)
                    self._sockets = self._handed_out()
                    if not opened.done():
                        opened.set_result(None)
                    await self._until_closed()
        except Exception as error:  # noqa: BLE001  # told to whoever opens it
            if not opened.done():
                opened.set_exception(error)
        finally:
            self.carrying = False
            if not opened.done():
                opened.cancel()
            for each in (*self._sockets.values(), *(end.socket for end in self._ends.values())):
                each.close()

    def _handed_out(self) -> dict[int, socket.socket]:
        """The near ends, which are the caller's from now on, to close or to forget."""
        handed: dict[int, socket.socket] = {}
        for port, end in self._ends.items():
            near = handed[port] = _Socket(fileno=end.socket.detach())
            near.setblocking(True)
            self._near[port] = weakref.ref(near)
        return handed

    async def _until_closed(self) -> None:
        for port, end in self._ends.items():
            await end.sent.wait()
            while (near := self._near[port]()) is not None and near.fileno() >= 0:
                del near
                await asyncio.sleep(_LOOK)


def portforward(
    api_method: Callable[..., Any], *args: Any, _request_timeout: RequestTimeout = None, **kwargs: Any
) -> PortForward:
    """Connect to ports of a pod: ``portforward(v1.connect_get_namespaced_pod_portforward, name, namespace, ports="80,5432")``.

    :param api_method: that method of a ``CoreV1Api``, not called
    :param args, kwargs: what the method takes
    :param _request_timeout: seconds until it is connected
    :raises ApiException: there is no such pod, it does not run, or the server refused; with its status, reason and body
    :raises TypeError, ValueError: wrong arguments, as ports that are none; nothing is sent
    """
    kwargs.pop("_preload_content", None)
    opened, _ = time_limits(_request_timeout)
    call = recorded(api_method, args, kwargs)
    namespace, pod, _ = call.pod("portforward")
    ports = _ports(call)
    loop = background()
    carriers = _Carriers(
        loop, lease_of(loop, call.api_client), (namespace, pod), ports,
        headers=call.headers, request_timeout=... if opened is None else opened,
    )  # fmt: skip
    with translated():
        sockets = loop.run(carriers.start)
    return PortForward(loop, sockets, carriers)


def _ports(call: Call) -> list[int]:
    ports: list[int] = []
    for word in ",".join(call.values("ports")).split(","):
        if not (word.isascii() and word.strip().isdecimal() and 0 < int(word) < 65536):
            raise official.ApiValueError(f"ports are numbers from 1 to 65535, as ports='80,5432'; {word!r} is none")
        if int(word) in ports:
            raise official.ApiValueError(f"port {word} is given twice")
        ports.append(int(word))
    return ports
