"""Lists of what can be watched: whole, in pages, or as a Table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from kubex_stream.testing.http import Exchange, RecordedRequest
from kubex_stream.testing.list_options import refused_list
from kubex_stream.testing.selectors import Filter, SelectorError, object_filter
from kubex_stream.testing.statuses import bad_request, status
from kubex_stream.testing.tables import table

if TYPE_CHECKING:
    from kubex_stream.testing.store import PodStore

__all__ = ("WATCHED", "chosen_by", "current", "serve_list", "wants_table")

#: The resources that can be watched, and their kinds.
WATCHED: Final[Mapping[str, str]] = {"pods": "Pod", "configmaps": "ConfigMap", "namespaces": "Namespace"}
_EXPIRED: Final = (
    "The provided continue parameter is too old to display a consistent list result. You must start a new list without the continue "
    "parameter."
)


def wants_table(request: RecordedRequest) -> bool:
    """Whether the client would like to have a Table, as ``kubectl get`` does."""
    return "as=Table" in request.header("Accept")


def chosen_by(request: RecordedRequest, resource: str, namespace: str) -> Filter:
    """Which objects a request is about; those of all namespaces where ``namespace`` is empty.

    :raises SelectorError: a selector is none
    """
    chosen = object_filter(request.value("labelSelector"), request.value("fieldSelector"), resource)
    return lambda item: (not namespace or item["metadata"]["namespace"] == namespace) and chosen(item)


def current(store: PodStore, resource: str) -> list[dict[str, Any]]:
    """All objects of a resource."""
    return store.items() if resource == "pods" else store.documents.items(resource)


async def serve_list(exchange: Exchange, store: PodStore, resource: str, namespace: str) -> None:
    """Answer a list."""
    request, kind = exchange.request, WATCHED[resource]
    refused = refused_list(request, store.version)
    if refused is not None:
        await exchange.respond_json(refused)
        return
    try:
        chosen = chosen_by(request, resource, namespace)
    except SelectorError as error:
        await exchange.respond_json(bad_request(str(error)))
        return
    found = _page(request, store, resource, chosen)
    if found is None:
        await exchange.respond_json(status(410, _EXPIRED, "Expired"))
        return
    version, items, metadata = found
    if wants_table(request):
        answer = table(kind, items, version)
        answer["metadata"] |= metadata
        await exchange.respond_json(answer)
        return
    bare = [{key: value for key, value in item.items() if key not in ("kind", "apiVersion")} for item in items]
    metadata = {"resourceVersion": str(version), **metadata}
    await exchange.respond_json({"kind": f"{kind}List", "apiVersion": "v1", "metadata": metadata, "items": bare})


def _page(
    request: RecordedRequest, store: PodStore, resource: str, chosen: Filter
) -> tuple[int, list[dict[str, Any]], dict[str, Any]] | None:
    """A version, the objects, and what is to be said of the rest; None where the list has been forgotten."""
    name, _, place = request.value("continue").partition("/")
    start, limit = int(place or 0), max(0, int(request.value("limit") or 0))
    if name:
        kept = store.history.kept(name)
        if kept is None:
            return None
        version, items = kept
    else:
        version, items = store.version, [item for item in current(store, resource) if chosen(item)]
    end = start + limit if limit else len(items)
    if end >= len(items):
        return version, items[start:], {}
    name = name or store.history.keep(items)
    return version, items[start:end], {"continue": f"{name}/{end}", "remainingItemCount": len(items) - end}
