"""Lists and watches of pods."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from kubex_stream.testing.http import Exchange, RecordedRequest
from kubex_stream.testing.objects import pod_object
from kubex_stream.testing.selectors import Filter, SelectorError, pod_filter
from kubex_stream.testing.statuses import bad_request, go_json, status
from kubex_stream.testing.store import PodStore
from kubex_stream.testing.tables import table
from kubex_stream.testing.tasks import cancel_and_wait

__all__ = ("serve_list", "serve_watch", "wants_table")

_DEFAULT_TIMEOUT: Final = 1800.0
_FORBIDDEN: Final = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"


def wants_table(request: RecordedRequest) -> bool:
    """Whether the client would like to have a Table, as ``kubectl get`` does."""
    return "as=Table" in request.header("Accept")


def _filter(request: RecordedRequest, namespace: str) -> Filter:
    chosen = pod_filter(request.value("labelSelector"), request.value("fieldSelector"))
    return lambda item: (not namespace or item["metadata"]["namespace"] == namespace) and chosen(item)


def _current(store: PodStore, chosen: Filter) -> list[dict[str, Any]]:
    items = [pod_object(pod) for _, pod in sorted(store.pods.items())]
    return [item for item in items if chosen(item)]


async def serve_list(exchange: Exchange, store: PodStore, namespace: str) -> None:
    """Answer a list; all namespaces where ``namespace`` is empty."""
    try:
        items = _current(store, _filter(exchange.request, namespace))
    except SelectorError as error:
        await exchange.respond_json(bad_request(str(error)))
        return
    if wants_table(exchange.request):
        await exchange.respond_json(table("Pod", items, store.version))
        return
    for item in items:
        del item["kind"], item["apiVersion"]
    metadata = {"resourceVersion": str(store.version)}
    await exchange.respond_json({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items})


def _invalid(request: RecordedRequest) -> dict[str, Any] | None:
    match, initial = request.value("resourceVersionMatch"), request.values("sendInitialEvents")
    if initial and match != "NotOlderThan":
        cause = {"reason": "FieldValueForbidden", "message": _FORBIDDEN, "field": "resourceVersionMatch"}
        details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": [cause]}
        message = f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: {_FORBIDDEN}'
        return status(422, message, "Invalid", details)
    version = request.value("resourceVersion")
    if version and not version.isdecimal():
        text = f'strconv.ParseUint: parsing "{version}": invalid syntax'
        return status(500, f'resourceVersion: Invalid value: "{version}": {text}')
    return None


async def serve_watch(exchange: Exchange, store: PodStore, namespace: str) -> None:
    """Answer a watch, until its timeout or until the client leaves."""
    request = exchange.request
    invalid = _invalid(request)
    try:
        chosen = _filter(request, namespace)
    except SelectorError as error:
        invalid = bad_request(str(error))
    if invalid is not None:
        await exchange.respond_json(invalid)
        return
    await exchange.start_stream()
    seconds = float(request.value("timeoutSeconds") or _DEFAULT_TIMEOUT)
    leaving = asyncio.create_task(_gone(exchange))
    sending = asyncio.create_task(_send_events(exchange, _events(request, store, chosen)))
    try:
        await asyncio.wait({leaving, sending}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(leaving, sending)
    with contextlib.suppress(OSError):
        await exchange.end_stream()
    if leaving.done() and not leaving.cancelled():
        exchange.detached = True


async def _gone(exchange: Exchange) -> None:
    """Come back when the client has ended the connection; nothing else is expected from it meanwhile."""
    with contextlib.suppress(OSError):
        await exchange.connection.receive()


async def _send_events(exchange: Exchange, events: AsyncIterator[tuple[str, dict[str, Any]]]) -> None:
    as_table = wants_table(exchange.request)
    async for kind, item in events:
        document = item
        if as_table and kind in ("ADDED", "MODIFIED", "DELETED"):
            document = table("Pod", [item], int(item["metadata"]["resourceVersion"]))
        await exchange.send_chunk(go_json({"type": kind, "object": document}) + b"\n")


async def _events(
    request: RecordedRequest, store: PodStore, chosen: Filter
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    version = int(request.value("resourceVersion") or 0)
    bookmarks, initial = request.flag("allowWatchBookmarks"), request.flag("sendInitialEvents")
    event = store.watch()
    try:
        if version == 0 or initial:
            version = store.version
            for item in _current(store, chosen):
                yield "ADDED", item
            if bookmarks:
                yield "BOOKMARK", _bookmark(version)
        elif version < store.oldest:
            yield "ERROR", status(410, f"too old resource version: {version} ({store.oldest})", "Expired")
            return
        while True:
            event.clear()
            for change in tuple(store.log):
                if change.version > version:
                    version = change.version
                    if chosen(change.object):
                        yield change.type, change.object
            await event.wait()
    finally:
        store.unwatch(event)


def _bookmark(version: int) -> dict[str, Any]:
    metadata = {"resourceVersion": str(version), "annotations": {"k8s.io/initial-events-end": "true"}}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": None}, "status": {}}
