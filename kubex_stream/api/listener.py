"""Local listeners whose connections end in a pod.

Rules of this file:
- The pod is found, and its tunnel opened, before anything listens, so a listener that exists has worked once.
- One connection's trouble is its own: it is reset, reported, and the listener goes on.  So does one whose pod is being replaced.
- Listeners are on loopback unless the caller says otherwise.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, overload

import anyio
from anyio.abc import TaskGroup

from kubex_stream.api.forwarder import PortForwarder
from kubex_stream.api.local import LocalConnection, LocalListener
from kubex_stream.api.ports import PortSpec
from kubex_stream.api.relay import Relay
from kubex_stream.api.targets import ForwardedPod
from kubex_stream.errors import KubexClientException

__all__ = ("ConnectionEvent", "Listeners", "PortForwardListener")

_logger = logging.getLogger("kubex_stream")
#: A moment for other connections to end, when no descriptor is left.
_PAUSE: Final = 0.1
#: Tries to get the same free port on both addresses of localhost.
_TRIES: Final = 10


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """Something happened to a local connection.

    :ivar kind: ``opened``: it was accepted.  ``closed``: it came to its end.  ``failed``: it could not be carried, or not to its end
    :ivar listener: the listener that accepted it
    :ivar number: counts the connections of all listeners from 1
    :ivar peer: the local client's address
    :ivar error: why it failed
    :ivar bytes_in: bytes that came from the pod
    :ivar bytes_out: bytes that were sent to it
    """

    kind: Literal["opened", "closed", "failed"]
    listener: PortForwardListener = field(repr=False)
    number: int
    peer: str
    error: Exception | None = None
    bytes_in: int = 0
    bytes_out: int = 0


class PortForwardListener:
    """One forwarded port.

    :ivar local_port: the port that it listens on
    :ivar remote_port: the port of the target, as a number; of a Service its own
    :ivar addresses: the local addresses that it listens on
    """

    def __init__(self, spec: PortSpec, remote_port: int, local_port: int, addresses: Sequence[str]) -> None:
        self.remote_port = remote_port
        self.local_port = local_port
        self.addresses = tuple(addresses)
        self._remote = spec.remote
        #: Connections so far, those that failed, and those that are open.
        self.connections = self.failures = self.active = 0
        #: Bytes from the pod and to it, of connections that have ended.
        self.bytes_in = self.bytes_out = 0

    @property
    def remote(self) -> int | str:
        """The port of the target as it was asked for."""
        return self._remote

    def __repr__(self) -> str:
        return f"<PortForwardListener {', '.join(self.addresses)} port {self.local_port} -> {self._remote}>"


class Listeners(Sequence[PortForwardListener]):
    """The listeners of a :meth:`~kubex_stream.api.portforward.PortForward.listen`, in the order of its ports."""

    def __init__(
        self,
        forwarder: PortForwarder,
        specs: Sequence[PortSpec],
        addresses: Sequence[tuple[str, bool]],
        on_event: Callable[[ConnectionEvent], None] | None,
        on_unavailable: Callable[[int, OSError], None] | None = None,
    ) -> None:
        #: What carries the connections.
        self.forwarder = forwarder
        self._specs = specs
        self._addresses = addresses
        self._on_event = on_event
        self._on_unavailable = on_unavailable
        self._listeners: list[PortForwardListener] = []
        self._sockets: list[LocalListener] = []
        self._tasks: TaskGroup | None = None
        self._numbers = 0

    @overload
    def __getitem__(self, index: int) -> PortForwardListener: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[PortForwardListener]: ...

    def __getitem__(self, index: int | slice) -> PortForwardListener | Sequence[PortForwardListener]:
        return self._listeners[index]

    def __len__(self) -> int:
        return len(self._listeners)

    def __iter__(self) -> Iterator[PortForwardListener]:
        return iter(self._listeners)

    # Life -------------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Listeners:
        await self.forwarder.__aenter__()
        tasks = self._tasks = anyio.create_task_group()
        await tasks.__aenter__()
        try:
            await self._listen_on_all(await self.forwarder.pod(), tasks)
        except BaseException as error:
            await self._close(error)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close(error)

    async def _close(self, error: BaseException | None) -> None:
        assert self._tasks is not None
        try:
            _close_all(self._sockets)
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
        finally:
            await self.forwarder.__aexit__(None, error, None)

    # Listening --------------------------------------------------------------------------------------------------------

    async def _listen_on_all(self, pod: ForwardedPod, tasks: TaskGroup) -> None:
        failures = []
        for spec in self._specs:
            shown = pod.service_number(spec.remote)
            pod.number(spec.remote)  # raises for one that is not there
            wanted = shown if spec.local is None else spec.local
            try:
                self._listen(spec, shown, wanted, tasks)
            except OSError as error:
                if self._on_unavailable is None:
                    raise
                self._on_unavailable(wanted, error)
                failures.append(error)
        if not self._listeners:
            raise failures[0]

    def _listen(self, spec: PortSpec, shown: int, wanted: int, tasks: TaskGroup) -> None:
        sockets = self._bound(wanted)
        listener = PortForwardListener(spec, shown, sockets[0].port, [each.address for each in sockets])
        self._listeners.append(listener)
        self._sockets += sockets
        for each in sockets:
            tasks.start_soon(self._accept, each, listener, tasks)

    def _bound(self, wanted: int) -> list[LocalListener]:
        """Listeners with one port on all addresses.

        A free port of one address may be taken on another; then another one is looked for.
        """
        for last in range(1 - _TRIES, 1):
            sockets: list[LocalListener] = []
            try:
                failures = self._bind(wanted, sockets)
            except OSError as error:
                if wanted or not last or error.errno != errno.EADDRINUSE:
                    raise
                continue
            if not sockets:
                raise failures[0]
            taken = [each for each in failures if each.errno == errno.EADDRINUSE]
            if wanted or not last or not taken:
                for each in taken:
                    _logger.warning("%s; connections to that address go elsewhere", each.strerror)
                return sockets
            _close_all(sockets)
        raise AssertionError("the last try returns or raises")

    def _bind(self, port: int, sockets: list[LocalListener]) -> list[OSError]:
        failures = []
        for address, needed in self._addresses:
            try:
                sockets.append(LocalListener(address, port))
            except OSError as error:
                if needed:
                    _close_all(sockets)
                    raise
                failures.append(error)
            else:
                port = sockets[-1].port
        return failures

    async def _accept(self, sockets: LocalListener, listener: PortForwardListener, tasks: TaskGroup) -> None:
        while True:
            try:
                local = await sockets.accept()
            except anyio.ClosedResourceError:
                return
            except OSError as error:
                # No descriptors, most likely: connections that are open must not suffer, and those that wait may be lucky.
                _logger.warning("%r cannot accept a connection: %s", listener, error)
                await anyio.sleep(_PAUSE)
            else:
                tasks.start_soon(self._serve, local, listener)

    async def _serve(self, local: LocalConnection, listener: PortForwardListener) -> None:
        self._numbers += 1
        number, peer = self._numbers, local.peer
        listener.connections += 1
        listener.active += 1
        relay = Relay(local, lambda: self.forwarder.open(listener.remote))
        error: Exception | None = None
        try:
            self._tell(ConnectionEvent("opened", listener, number, peer))
            await relay.run()
        except KubexClientException as failure:
            error = failure
            _logger.debug("%r: connection from %s: %s", listener, peer, failure)
        except Exception as failure:  # of this library: the other connections must not suffer
            error = failure
            _logger.exception("%r: connection from %s failed", listener, peer)
        finally:
            local.close()
            listener.active -= 1
            listener.failures += error is not None
            listener.bytes_in += relay.bytes_in
            listener.bytes_out += relay.bytes_out
            kind: Final = "closed" if error is None else "failed"
            self._tell(ConnectionEvent(kind, listener, number, peer, error, relay.bytes_in, relay.bytes_out))

    def _tell(self, event: ConnectionEvent) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(event)
        except Exception:  # of the application: the other connections have nothing to do with it
            _logger.exception("on_event failed")


def _close_all(sockets: Sequence[LocalListener]) -> None:
    for each in sockets:
        each.close()
