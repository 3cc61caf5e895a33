"""Connections to one target: finding its pod, carrying them, and finding it again.

Rules of this file:
- The tunnel comes first.  Where its handshake is refused, the older channels follow, one WebSocket for each connection; what was found out
  holds for as long as the forwarder does.
- A connection that was open is never replaced behind anybody's back; it ends with an error.  A new one looks for the pod again after a
  failure, with a growing, jittered delay, and gives up after ``reconnect`` seconds.
- What is found wrong by one connection (the pod is gone, its tunnel lost) counts for the next ones, but not for those that had found it
  wrong already: each finding has a number.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Self

import anyio
from anyio.abc import TaskGroup

from kubex_stream.api.asyncio_streams import ForwardedSocket, asyncio_streams
from kubex_stream.api.request import pod_path, tell_opened
from kubex_stream.api.targets import ForwardedPod, Target, find_pod
from kubex_stream.client.base import BaseClient
from kubex_stream.client.limits import deadline
from kubex_stream.client.request import Request
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.errors import (
    ApiError,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    NotFound,
    PortForwardError,
    ProtocolViolation,
    StreamTimeout,
    Unauthorized,
)
from kubex_stream.protocol.portforward import LEGACY_PROTOCOL, TUNNEL_PROTOCOL
from kubex_stream.session.conduit import Conduit, EndOfInput
from kubex_stream.session.forward_stream import PortForwardStream
from kubex_stream.session.legacy import LegacyConduit
from kubex_stream.session.pool import TunnelPool
from kubex_stream.session.tunnel import Tunnel

__all__ = ("ForwardOptions", "PortForwardProtocol", "PortForwarder")

PortForwardProtocol = Literal["auto", "tunnel", "legacy"]

#: Runtimes of which it is known whether the end of one direction reaches the pod.
_CARRIES_END: Final = frozenset({"cri-o", "docker"})
_CUTS: Final = frozenset({"containerd"})
_LONGEST_PAUSE: Final = 5.0
#: Seconds for what was sent last to reach the pod, when the forwarder is left: containerd tells of an end one second late.
_DELIVERY: Final = 2.0
_logger = logging.getLogger("kubex_stream")


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardOptions:
    """How a forwarder works; see :meth:`kubex_stream.api.portforward.PortForward.forwarder`."""

    protocol: PortForwardProtocol = "auto"
    share: bool = False
    max_tunnels: int = 32
    half_close_delay: float | None = None
    reconnect: float = 30.0
    request_timeout: Any = ...
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.protocol not in ("auto", "tunnel", "legacy"):
            raise ValueError(f"protocol is 'auto', 'tunnel' or 'legacy', not {self.protocol!r}")
        if self.max_tunnels < 1:
            raise ValueError(f"max_tunnels must be positive, not {self.max_tunnels}")
        if self.half_close_delay is not None and not 0 <= self.half_close_delay < float("inf"):
            raise ValueError(f"half_close_delay is a number of seconds or None, not {self.half_close_delay}")
        if not 0 <= self.reconnect < float("inf"):
            raise ValueError(f"reconnect is a number of seconds, not {self.reconnect}")


class _Connecting:
    """A connection that is to be made: ``async with`` closes it at the end, ``await`` gives it to whoever will."""

    def __init__(self, connect: Callable[[], Awaitable[PortForwardStream]]) -> None:
        self._connect = connect
        self._stream: PortForwardStream | None = None

    def __await__(self) -> Generator[Any, None, PortForwardStream]:
        return self._connect().__await__()

    async def __aenter__(self) -> PortForwardStream:
        self._stream = await self._connect()
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._stream is not None
        await self._stream.aclose()


class PortForwarder:
    """Connections to the ports of one target, for as long as the ``async with`` block lasts.

    Entering it finds the pod and opens the first tunnel, so what is wrong with the target is told there.  Connections may be opened and
    used by any task of the same event loop.
    """

    def __init__(self, client: BaseClient, target: Target, options: ForwardOptions) -> None:
        self.target = target
        self._client = client
        self._options = options
        self._tasks: TaskGroup | None = None
        self._left = False
        self._pod: ForwardedPod | None = None
        self._found = 0  # how often the pod was looked for
        self._finding = anyio.Lock()
        self._legacy = options.protocol == "legacy"
        self._pool: TunnelPool | None = None

    # Life -------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise RuntimeError("a forwarder is entered once; make another one")
        tasks = self._tasks = anyio.create_task_group()
        await tasks.__aenter__()
        limit = 1 if self._options.share else self._options.max_tunnels
        self._pool = TunnelPool(tasks, self._open_tunnel, limit)
        try:
            await self._current_pod()
            if not self._legacy:
                await self._prepare(self._pool)
        except BaseException:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)
            raise
        return self

    async def _prepare(self, pool: TunnelPool) -> None:
        try:
            await pool.prepare()
        except (ApiError, ProtocolViolation) as error:
            if not self._falls_back(error):
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._tasks is not None
        assert self._pool is not None
        self._left = True
        try:
            with anyio.CancelScope(shield=True), anyio.move_on_after(_DELIVERY):
                await self._pool.delivered()
        finally:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)

    # Connections ------------------------------------------------------------------------------------------------------

    def connect(self, port: int | str) -> _Connecting:
        """A connection to a port: ``async with forwarder.connect(80) as stream``, or ``stream = await forwarder.connect(80)``.

        It is there when the server has answered.  Whether anything listens on the port is known only then: a refused dial is a
        :class:`PortForwardError` of the first send or receive that comes after it.

        :param port: the number, or the name that the Service or the pod gives it
        :raises NotFound: there is no port of this name, or no such object, or no pod of it, and none came within ``reconnect`` seconds
        :raises PortForwardError: the server refused
        :raises ApiError: the server refused
        """
        return _Connecting(lambda: self.open(port))

    async def open(self, port: int | str) -> PortForwardStream:
        """Open a connection; whoever calls has to close it.  Parameters and errors are those of :meth:`connect`."""
        if self._tasks is None or self._left:
            raise RuntimeError("the forwarder is not open: use it in `async with`")
        pauses, until = 0, anyio.current_time() + self._options.reconnect
        while True:
            finding, number = self._found, None
            try:
                pod = await self._current_pod()
                finding = self._found
                number = pod.number(port)
                return self._stream(await self._carry(pod, number), pod, finding)
            except Exception as error:
                pause = min(_LONGEST_PAUSE, 0.1 * 2**pauses) * random.uniform(0.5, 1.0)
                wrong_port = number is None and self._pod is not None
                if wrong_port or not _recoverable(error):
                    raise
                self._forget(finding)
                if anyio.current_time() + pause > until:
                    raise
                pauses += 1
                _logger.info("%s: %s; trying again in %.1f s", self.target, error, pause)
                self._client.observer.retried(self._path(self.target.name), error, pause)
                await anyio.sleep(pause)

    async def open_socket(self, port: int | str) -> ForwardedSocket:
        """:meth:`open` as a socket, for libraries that want one; whoever calls has to close it.

        It is carried until it is closed, or the forwarder is left.  Parameters and errors are those of :meth:`connect`.
        """
        stream = await self.open(port)
        assert self._tasks is not None
        return await ForwardedSocket.serving(stream, self._tasks)

    @asynccontextmanager
    async def open_connection(
        self, port: int | str
    ) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter], None]:
        """:meth:`connect` as an asyncio reader and writer, for libraries that want them; on asyncio only.

        They are those of a socket pair, so ``writer.start_tls`` works, and the reader raises how the connection failed, after what came
        before.  Leaving the block closes both.

        :raises RuntimeError: on another event loop
        """
        async with self.connect(port) as stream, asyncio_streams(stream) as pair:
            yield pair

    def _stream(self, conduit: Conduit, pod: ForwardedPod, finding: int) -> PortForwardStream:
        return PortForwardStream(
            conduit,
            pod=pod.name,
            protocol=LEGACY_PROTOCOL if isinstance(conduit, LegacyConduit) else TUNNEL_PROTOCOL,
            failed=lambda error: self._learn(error, finding),
        )

    def _learn(self, error: PortForwardError, finding: int) -> None:
        if error.kind in ("gone", "lost"):
            self._forget(finding)

    def _forget(self, finding: int) -> None:
        """Look for the pod again, unless that has been done since."""
        if finding == self._found and self._pool is not None:
            self._pod = None
            self._pool.retire()

    async def pod(self) -> ForwardedPod:
        """The pod that new connections go to.  Raises as :meth:`connect`."""
        return await self._current_pod()

    async def _current_pod(self) -> ForwardedPod:
        async with self._finding:
            if self._pod is None:
                given = {"timeout": self._options.request_timeout, "headers": self._options.headers}
                self._pod = await find_pod(self._client, self.target, **given)
                self._found += 1
            return self._pod

    # Carrying ---------------------------------------------------------------------------------------------------------

    async def _carry(self, pod: ForwardedPod, port: int) -> Conduit:
        assert self._pool is not None
        if not self._legacy:
            try:
                with deadline(None, self._client.options.open_timeout, f"opening a connection to port {port}"):
                    return await self._pool.open(port, self._end_of_input(pod))
            except (ApiError, ProtocolViolation) as error:
                if not self._falls_back(error):
                    raise
        return await self._open_legacy(pod, port)

    def _falls_back(self, error: ApiError | ProtocolViolation) -> bool:
        """Whether the older protocol is tried; from now on it is the only one."""
        refused = isinstance(error, ProtocolViolation) or (
            error.status is None and error.status_code in (400, 403, 404, 405, 501)
        )
        if self._options.protocol == "auto" and refused:
            self._legacy = True
            _logger.debug("%s: no tunnel (%s); using %s", self.target, error, LEGACY_PROTOCOL)
        return self._legacy

    def _end_of_input(self, pod: ForwardedPod) -> EndOfInput:
        delay = self._options.half_close_delay
        if delay is None:
            delay = 0.0 if pod.runtime in _CARRIES_END else 1.0
        return EndOfInput(delay, cuts=pod.runtime in _CUTS)

    async def _open_tunnel(self, released: Callable[[Tunnel], None]) -> Tunnel:
        pod = await self._current_pod()
        connection = await self._handshake(pod, TUNNEL_PROTOCOL, [])
        return Tunnel(
            connection,
            self._client.options,
            path=self._path(pod.name),
            observer=self._client.observer,
            released=released,
        )

    async def _open_legacy(self, pod: ForwardedPod, port: int) -> LegacyConduit:
        connection = await self._handshake(pod, LEGACY_PROTOCOL, [("ports", str(port))])
        conduit = LegacyConduit(
            connection,
            self._client.options,
            port,
            self._end_of_input(pod),
            path=self._path(pod.name),
            observer=self._client.observer,
        )
        try:
            assert self._tasks is not None
            self._tasks.start_soon(conduit.keep)
            with deadline(None, self._client.options.open_timeout, f"opening a connection to port {port}"):
                await conduit.opened()
        except BaseException:
            await conduit.aclose()
            raise
        return conduit

    async def _handshake(self, pod: ForwardedPod, protocol: str, query: list[tuple[str, str]]) -> WebSocketConnection:
        path = self._path(pod.name)
        request = Request(path=path, query=query, headers=self._options.headers, timeout=self._options.request_timeout)
        connection = await self._client.connect_websocket(request, [protocol])
        await tell_opened(self._client, connection, path)
        return connection

    def _path(self, pod: str) -> str:
        return pod_path(self.target.namespace, pod, "portforward")

    @property
    def tunnels(self) -> int:
        """How many tunnels are open; of the older protocol there are none."""
        return len(self._pool.tunnels) if self._pool is not None else 0


def _recoverable(error: Exception) -> bool:
    """Whether it may be otherwise in a moment: the pod is being replaced, a node or the API server restarts."""
    if isinstance(error, Unauthorized | Forbidden):
        return False
    if isinstance(error, PortForwardError):
        return error.kind in ("gone", "lost", "timeout")
    if isinstance(error, ApiError):
        # 409 is this library's own: the pod does not run (yet, or any more).
        return isinstance(error, NotFound) or error.status_code in (400, 409, 429) or error.status_code >= 500
    return isinstance(error, ConnectionFailed | ConnectionLost | StreamTimeout)
