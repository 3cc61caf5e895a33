"""Watches: the open answers, what goes wrong with them on purpose, and what a user of the cluster does to them.

Rules of this file: an object that a selector no longer chooses is DELETED for that watch, and ADDED once it is chosen.  A bookmark is sent
only when every change before it has been.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.documents import Refused
from kubex_stream.testing.history import Event, History
from kubex_stream.testing.http import Exchange
from kubex_stream.testing.list_options import refused_watch, starts_with_state
from kubex_stream.testing.lists import WATCHED, chosen_by, current, wants_table
from kubex_stream.testing.selectors import Filter, SelectorError
from kubex_stream.testing.statuses import bad_request, go_json, status
from kubex_stream.testing.tables import table
from kubex_stream.testing.tasks import cancel_and_wait

if TYPE_CHECKING:
    from kubex_stream.testing.loop_thread import LoopThread
    from kubex_stream.testing.server import Server

__all__ = ("WatchAnswer", "WatchControls", "serve_watch")

#: Seconds before the end at which a last bookmark is sent.
_LAST_BOOKMARK: Final = 2.0
#: ``cut``: RST.  ``end``: the body ends in order.  ``silence``: the connection stays, and nothing is sent on it.
Fault = Literal["cut", "end", "silence"]
_Told = tuple[str, dict[str, Any]]


def _expired(version: int, history: History) -> dict[str, Any]:
    return status(410, f"too old resource version: {version} ({history.oldest})", "Expired")


class WatchAnswer:
    """An open answer.

    :ivar fault: what happens to it; None for nothing
    """

    def __init__(self, server: Server, exchange: Exchange, behaviour: Behaviour, resource: str, chosen: Filter) -> None:
        self.resource = resource
        self.fault: Fault | None = None
        self._history = server.store.history
        self._store = server.store
        self._exchange = exchange
        self._behaviour = behaviour
        self._chosen = chosen
        self._failing = asyncio.Event()
        self._sent = 0
        loop = asyncio.get_running_loop()
        asked = exchange.request.value("timeoutSeconds")
        self._deadline = loop.time() + (float(asked) if asked else behaviour.watch_timeout)

    def fail(self, fault: Fault) -> None:
        """Let it go wrong now."""
        self.fault = fault
        self._failing.set()

    async def serve(self) -> None:
        """Answer, until the time is over, the client leaves or something goes wrong."""
        leaving = asyncio.create_task(self._gone())
        failing = asyncio.create_task(self._failing.wait())
        sending = asyncio.create_task(self._send())
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            await asyncio.wait({leaving, failing, sending}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            await cancel_and_wait(failing, sending)
            if self.fault == "cut":
                await self._exchange.connection.reset()
            elif self.fault == "silence":
                await leaving
            elif not leaving.done():
                await self._exchange.end_stream()
        except OSError:
            pass
        finally:
            await cancel_and_wait(leaving, failing, sending)
        self._exchange.detached = self.fault == "cut" or (leaving.done() and not leaving.cancelled())

    async def _gone(self) -> None:
        """Come back when the client has ended the connection; nothing else is expected from it meanwhile."""
        with contextlib.suppress(OSError):
            await self._exchange.connection.receive()

    async def _send(self) -> None:
        as_table = wants_table(self._exchange.request)
        async for kind, item in self._events():
            document = item
            if as_table and kind in ("ADDED", "MODIFIED", "DELETED"):
                document = table(WATCHED[self.resource], [item], int(item["metadata"]["resourceVersion"]))
            await self._chunk(go_json({"type": kind, "object": document}) + b"\n")

    async def _chunk(self, data: bytes) -> None:
        cut, silent = self._behaviour.watch_cut_after_bytes, self._behaviour.watch_silent_after_bytes
        limit = min((each for each in (cut, silent) if each is not None), default=None)
        if limit is not None and self._sent + len(data) >= limit:
            await self._exchange.send_chunk(data[: limit - self._sent])
            self.fail("cut" if limit == cut else "silence")
            await asyncio.Event().wait()
        self._sent += len(data)
        await self._exchange.send_chunk(data)

    async def _events(self) -> AsyncIterator[_Told]:
        request, history = self._exchange.request, self._history
        version = int(request.value("resourceVersion") or 0)
        changed = history.watch()
        try:
            if starts_with_state(request):
                version = history.version
                for item in [item for item in current(self._store, self.resource) if self._chosen(item)]:
                    yield "ADDED", item
                if request.flag("allowWatchBookmarks"):
                    yield "BOOKMARK", self._bookmark(version, initial_end=True)
            elif version == 0:
                version = history.version
            elif version < history.oldest:
                yield "ERROR", _expired(version, history)
                return
            while True:
                changed.clear()
                if version < history.oldest_kept:
                    yield "ERROR", _expired(version, history)
                    return
                for change in list(history.after(version, self.resource)):
                    for told in self._seen(change):
                        yield told
                    version = change.version
                version = max(version, history.version) if not changed.is_set() else version
                if await self._quiet(changed):
                    yield "BOOKMARK", self._bookmark(version)
        finally:
            history.unwatch(changed)

    async def _quiet(self, changed: asyncio.Event) -> bool:
        """Wait for a change, or until it is time for a bookmark; whether it is."""
        if not self._exchange.request.flag("allowWatchBookmarks"):
            await changed.wait()
            return False
        left = self._deadline - _LAST_BOOKMARK - asyncio.get_running_loop().time()
        interval = self._behaviour.watch_bookmark_interval
        try:
            # Not wait_for, which up to Python 3.11 forgets a cancellation that comes together with what it waits for.
            async with asyncio.timeout(min(interval, left) if left > 0 else interval):
                await changed.wait()
        except TimeoutError:
            return True
        return False

    def _seen(self, change: Event) -> list[_Told]:
        """A change as this watch sees it."""
        before = change.previous is not None and self._chosen(change.previous)
        after = change.type != "DELETED" and self._chosen(change.object)
        if not before and not after:
            return []
        return [("MODIFIED" if before and after else "ADDED" if after else "DELETED", change.object)]

    def _bookmark(self, version: int, *, initial_end: bool = False) -> dict[str, Any]:
        metadata: dict[str, Any] = {"resourceVersion": str(version), "creationTimestamp": None}
        if initial_end:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        rest = {"spec": {"containers": None}, "status": {}} if self.resource == "pods" else {}
        return {"kind": WATCHED[self.resource], "apiVersion": "v1", "metadata": metadata, **rest}


async def serve_watch(server: Server, exchange: Exchange, behaviour: Behaviour, resource: str, namespace: str) -> None:
    """Answer a watch."""
    request, history = exchange.request, server.store.history
    refused = refused_watch(request, behaviour)
    version = request.value("resourceVersion")
    if refused is None and behaviour.watch_expired == "status" and 0 < int(version or 0) < history.oldest:
        refused = _expired(int(version), history)
    try:
        chosen = chosen_by(request, resource, namespace)
    except SelectorError as error:
        refused = bad_request(str(error))
    if refused is not None:
        await exchange.respond_json(refused)
        return
    answer = WatchAnswer(server, exchange, behaviour, resource, chosen)
    await exchange.start_stream()
    server.watches.add(answer)
    server.changed()
    try:
        await answer.serve()
    finally:
        server.watches.discard(answer)
        server.changed()


class WatchControls:
    """What a user of an embedded cluster does to its objects, and to those who watch them."""

    def _running(self) -> tuple[LoopThread, Server]:
        raise NotImplementedError

    def _on_server(self, function: Callable[[Server], object]) -> None:
        raise NotImplementedError

    @property
    def open_watches(self) -> int:
        """How many watches are open."""
        return len(self._running()[1].watches)

    @property
    def resource_version(self) -> int:
        """The latest resource version."""
        return self._running()[1].store.version

    def put_object(self, document: Mapping[str, Any], namespace: str = "default") -> None:
        """Create a ConfigMap or a Namespace, or replace the one of this name.

        :param document: as the API has it; ``kind`` and ``metadata.name`` are needed
        :param namespace: where ``metadata.namespace`` says none
        :raises ValueError: another kind, or the server would refuse it
        """
        self._changing(lambda server: server.put_document(document, namespace))

    def delete_object(self, kind: str, name: str, namespace: str = "default") -> None:
        """Delete a ConfigMap, or a Namespace with everything in it.

        :raises ValueError: another kind, or there is none of this name
        """
        thread, server = self._running()
        with _values():
            thread.call(server.delete_document(kind, name, namespace))

    def objects(self, kind: str, namespace: str = "default") -> tuple[dict[str, Any], ...]:
        """The ConfigMaps of a namespace, or all Namespaces, as they are now.

        :raises ValueError: another kind
        """
        return tuple(self._running()[1].documents(kind, namespace))

    def compact(self) -> None:
        """Forget every change so far: a watch that wants to go on from an older version gets a 410."""
        self._on_server(lambda server: server.store.history.compact())

    def fail_watches(self, fault: Fault = "cut", *, resource: str | None = None) -> int:
        """Let open watches go wrong; how many.  Requests after that are served as ever.

        :param fault: ``cut``: the connection is reset.  ``end``: the body ends in order, as when a server shuts down.  ``silence``: the
            connection stays, and nothing is sent on it any more
        :param resource: only those of this one, ``"pods"``
        """
        chosen: list[WatchAnswer] = []

        def fail(server: Server) -> None:
            chosen.extend(each for each in server.watches if resource in (None, each.resource) and each.fault is None)
            for each in chosen:
                each.fail(fault)

        self._on_server(fail)
        return len(chosen)

    def _changing(self, change: Callable[[Server], object]) -> None:
        with _values():
            self._on_server(change)


@contextlib.contextmanager
def _values() -> Any:
    try:
        yield
    except Refused as error:
        raise ValueError(str(error)) from None
