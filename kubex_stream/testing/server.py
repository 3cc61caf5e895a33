"""The embedded cluster on its own event loop: connections, requests, and where each of them goes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from kubex_stream.testing import statuses
from kubex_stream.testing.access import UNAUTHORIZED, authenticated, refusal
from kubex_stream.testing.behaviour import Behaviour, HttpFailure
from kubex_stream.testing.catalogue import APPS, CORE, Catalogue
from kubex_stream.testing.connection import Connection, HangupWatcher
from kubex_stream.testing.discovery import VERSION, discovery
from kubex_stream.testing.documents import KINDS
from kubex_stream.testing.http import Exchange, RecordedRequest, serve_http
from kubex_stream.testing.lists import WATCHED
from kubex_stream.testing.log_streams import LogStream, serve_log
from kubex_stream.testing.portforward import serve_portforward
from kubex_stream.testing.resources import delete_namespace, serve_collection, serve_object
from kubex_stream.testing.store import PodStore
from kubex_stream.testing.streams import SessionInfo, serve_stream
from kubex_stream.testing.tasks import cancel_and_wait
from kubex_stream.testing.watches import WatchAnswer

__all__ = ("Server",)

_NOT_HERE: Final = statuses.status(404, "the server could not find the requested resource", "NotFound", {})
_NOT_ALLOWED: Final = statuses.status(
    405, "the server does not allow this method on the requested resource", "MethodNotAllowed", {}
)
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
#: Requests that are kept for who wants to look at them.
_REMEMBERED: Final = 10_000
_STREAMS: Final = ("exec", "attach")


class Server:
    """Serves a listening socket.  Everything here runs on one event loop.

    :param listener: the listening socket
    :param context: for TLS; None for plain HTTP
    :param behaviour: what to do differently
    :param prefix: what stands before ``/api`` in every path
    :param changed: called, on the event loop, after every change that the properties show
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext | None,
        behaviour: Behaviour,
        prefix: str,
        changed: Callable[[], None],
    ) -> None:
        self.changed = changed
        self.tokens: set[str] = set()
        self.requests: deque[RecordedRequest] = deque(maxlen=_REMEMBERED)
        self.sessions: list[SessionInfo] = []
        self.logs: set[LogStream] = set()
        self.watches: set[WatchAnswer] = set()
        self.connections = 0
        self.lost_bytes = 0
        self.forwarded = 0
        self.store = PodStore(changed)
        self.catalogue = Catalogue(self.store)
        self.watcher = HangupWatcher()
        self._listener = listener
        self._context = context
        self._prefix = prefix
        self._tasks: set[asyncio.Task[None]] = set()
        self.set_behaviour(behaviour)
        self._accepting = asyncio.create_task(self._accept())

    def set_behaviour(self, behaviour: Behaviour) -> None:
        """For requests from now on; failures are counted anew."""
        self.behaviour = behaviour
        self._failures = [0] * len(behaviour.failures)
        self.store.set_runtime("cri-o" if behaviour.half_close else "containerd")

    @contextlib.contextmanager
    def session(self, info: SessionInfo) -> Iterator[None]:
        """An open session, for as long as it lasts."""
        self.sessions.append(info)
        self.changed()
        try:
            yield
        finally:
            self.sessions.remove(info)
            self.changed()

    def count_loss(self, size: int) -> None:
        """Some output was lost on purpose."""
        self.lost_bytes += size
        self.changed()

    def count_forwarded(self, change: int) -> None:
        """So many more connections are open to ports of pods."""
        self.forwarded += change
        self.changed()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            self.connections += 1
            task = asyncio.create_task(self._serve(Connection(sock, self._context, self._count_down)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.handshake()
            await serve_http(connection, self._handle)
        except ssl.SSLError:
            await connection.close()  # the alert says why, so it has to arrive
        except OSError:
            pass
        finally:
            connection.abort()

    def _count_down(self) -> None:
        self.connections -= 1
        self.changed()

    async def aclose(self) -> None:
        """End everything."""
        # One after the other: a task that is cancelled before its first step closes nothing.
        await cancel_and_wait(self._accepting)
        await cancel_and_wait(*self._tasks)
        await self.store.aclose()
        self.watcher.close()

    async def _handle(self, exchange: Exchange) -> None:
        request, behaviour = exchange.request, self.behaviour
        self.requests.append(request)
        self.changed()
        if behaviour.http_delay:
            await asyncio.sleep(behaviour.http_delay)
        if behaviour.hang_handshake if request.header("Upgrade") else behaviour.hang_requests:
            while await exchange.connection.receive():
                pass
            exchange.detached = True
            return
        failure = self._failure(request, behaviour)
        if failure is not None:
            await _fail(exchange, failure)
            return
        certificate = exchange.connection.peer_certificate()
        if not authenticated(request, self.tokens, behaviour, certificate=certificate):
            await exchange.respond_json(UNAUTHORIZED)
            return
        await self._route(exchange, behaviour)

    def _failure(self, request: RecordedRequest, behaviour: Behaviour) -> HttpFailure | None:
        for index, failure in enumerate(behaviour.failures):
            if failure.path in request.path and (failure.times is None or self._failures[index] < failure.times):
                self._failures[index] += 1
                return failure
        return None

    async def _route(self, exchange: Exchange, behaviour: Behaviour) -> None:
        path = exchange.request.path
        if not path.startswith(self._prefix + "/"):
            await exchange.respond(404, b"404 page not found\n", "text/plain; charset=utf-8")
            return
        path = path.removeprefix(self._prefix).rstrip("/")
        parts = tuple(part for part in path.split("/") if part)
        apps = parts[:3] == ("apis", "apps", "v1")
        rest = parts[3:] if apps else parts[2:] if parts[:2] == ("api", "v1") else ()
        if not rest:
            await self._discover(exchange, path)
        elif forbidden := refusal(exchange.request, rest, behaviour, "apps" if apps else ""):
            await exchange.respond_json(forbidden)
        elif apps:
            await self._catalogued(exchange, rest, APPS)
        else:
            await self._core(exchange, behaviour, rest)

    async def _discover(self, exchange: Exchange, path: str) -> None:
        request = exchange.request
        aggregated = "as=APIGroupDiscoveryList" in request.header("Accept") and path in ("/api", "/apis")
        host, port = self._listener.getsockname()[:2]
        document = VERSION if path == "/version" else discovery(path, f"{host}:{port}", aggregated=aggregated)
        if document is None and path in ("/healthz", "/livez", "/readyz"):
            await exchange.respond(200, b"ok", "text/plain; charset=utf-8")
        elif document is None:
            await exchange.respond(404, b"404 page not found\n", "text/plain; charset=utf-8")
        elif request.method not in ("GET", "HEAD"):
            await exchange.respond_json(_NOT_ALLOWED)
        else:
            await exchange.respond_json(document, _AGGREGATED if aggregated else "application/json")

    async def _core(self, exchange: Exchange, behaviour: Behaviour, parts: tuple[str, ...]) -> None:
        """What lies behind ``/api/v1``."""
        match parts:
            case (resource,) if resource in WATCHED:
                await serve_collection(self, exchange, behaviour, resource, "")
            case ("namespaces", name):
                await serve_object(self, exchange, "namespaces", "", name)
            case ("namespaces", namespace, resource) if resource in WATCHED:
                await serve_collection(self, exchange, behaviour, resource, namespace)
            case ("namespaces", namespace, resource, name) if resource in WATCHED:
                await serve_object(self, exchange, resource, namespace, name)
            case ("namespaces", namespace, "pods", name, kind) if kind in _STREAMS:
                pod = self.store.pods.get((namespace, name))
                await serve_stream(self, exchange, behaviour, pod, kind, name)
            case ("namespaces", namespace, "pods", name, "log"):
                await serve_log(self, exchange, behaviour, self.store.pods.get((namespace, name)), name)
            case ("namespaces", namespace, "pods", name, "portforward"):
                pod = self.store.pods.get((namespace, name))
                await serve_portforward(self, exchange, behaviour, pod, name)
            case _:
                await self._catalogued(exchange, parts, CORE)

    async def _catalogued(self, exchange: Exchange, parts: tuple[str, ...], resources: Mapping[str, str]) -> None:
        """Services and workloads."""
        match parts:
            case (resource,) if resource in resources:
                await self.catalogue.serve(exchange, resource, "", "")
            case ("namespaces", namespace, resource) if resource in resources:
                await self.catalogue.serve(exchange, resource, namespace, "")
            case ("namespaces", namespace, resource, name) if resource in resources:
                await self.catalogue.serve(exchange, resource, namespace, name)
            case _:
                await exchange.respond_json(_NOT_HERE)

    def put_document(self, document: Mapping[str, Any], namespace: str) -> None:
        """Create or replace a ConfigMap or a Namespace.

        :raises Refused: the server would
        :raises ValueError: another kind
        """
        resource, name = _resource_of(str(document.get("kind"))), document["metadata"]["name"]
        where = "" if resource == "namespaces" else document["metadata"].get("namespace", namespace)
        if self.store.documents.has(resource, where, name):
            self.store.documents.update(resource, where, name, document)
        else:
            self.store.documents.create(resource, where, document)

    def documents(self, kind: str, namespace: str) -> list[dict[str, Any]]:
        """The ConfigMaps of a namespace, or all Namespaces.

        :raises ValueError: another kind
        """
        items = self.store.documents.items(_resource_of(kind))
        return [item for item in items if item["metadata"].get("namespace", namespace) == namespace]

    async def delete_document(self, kind: str, name: str, namespace: str) -> None:
        """Delete a ConfigMap or a Namespace.  Raises as :meth:`put_document`."""
        resource = _resource_of(kind)
        if resource == "namespaces":
            await delete_namespace(self, name)
        else:
            self.store.documents.delete(resource, namespace, name)


def _resource_of(kind: str) -> str:
    found = next((resource for resource, each in KINDS.items() if each == kind), None)
    if found is None:
        raise ValueError(f"{kind!r} is none of the kinds that are kept as documents: {', '.join(KINDS.values())}")
    return found


async def _fail(exchange: Exchange, failure: HttpFailure) -> None:
    if failure.content_length:
        kind = "application/json" if failure.body[:1] == b"{" else "text/plain; charset=utf-8"
        await exchange.respond(failure.status, failure.body, kind, failure.headers)
    else:
        await exchange.respond_raw(failure.status, failure.body, {"Connection": "close", **failure.headers})
