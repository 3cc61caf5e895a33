"""Requests for what can be watched: pods, ConfigMaps and Namespaces, one or many, to read and to change."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from kubex_stream.testing import statuses
from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.documents import KINDS, Refused, merged, parsed
from kubex_stream.testing.http import Exchange, RecordedRequest
from kubex_stream.testing.lists import WATCHED, serve_list, wants_table
from kubex_stream.testing.objects import pod_object
from kubex_stream.testing.tables import table
from kubex_stream.testing.watches import serve_watch

if TYPE_CHECKING:
    from kubex_stream.testing.server import Server

__all__ = ("delete_namespace", "serve_collection", "serve_object")

_NOT_ALLOWED: Final = statuses.status(
    405, "the server does not allow this method on the requested resource", "MethodNotAllowed", {}
)


async def serve_collection(
    server: Server, exchange: Exchange, behaviour: Behaviour, resource: str, namespace: str
) -> None:
    """Answer a request for all objects of a resource; those of all namespaces where ``namespace`` is empty."""
    request = exchange.request
    if request.method == "POST" and resource in KINDS and (namespace or resource == "namespaces"):
        await _change(server, exchange, resource, namespace, "")
    elif request.method != "GET":
        await exchange.respond_json(_NOT_ALLOWED)
    elif request.flag("watch"):
        await serve_watch(server, exchange, behaviour, resource, namespace)
    else:
        await serve_list(exchange, server.store, resource, namespace)


async def serve_object(server: Server, exchange: Exchange, resource: str, namespace: str, name: str) -> None:
    """Answer a request for one object."""
    if exchange.request.method != "GET":
        await _change(server, exchange, resource, namespace, name)
        return
    try:
        item = _find(server, resource, namespace, name)
    except Refused as error:
        await exchange.respond_json(error.status)
        return
    if wants_table(exchange.request):
        item = table(WATCHED[resource], [item], server.store.version)
    await exchange.respond_json(item)


def _find(server: Server, resource: str, namespace: str, name: str) -> dict[str, Any]:
    if resource != "pods":
        return server.store.documents.get(resource, namespace, name)
    pod = server.store.pods.get((namespace, name))
    if pod is None:
        raise Refused(statuses.not_found("pods", name))
    return pod_object(pod)


async def _change(server: Server, exchange: Exchange, resource: str, namespace: str, name: str) -> None:
    code = 200
    try:
        if exchange.request.method == "DELETE":
            item = await _delete(server, resource, namespace, name)
        elif resource == "pods":
            item = _NOT_ALLOWED
        else:
            item, code = _write(server, exchange.request, resource, namespace, name)
    except Refused as error:
        item = error.status
    if item.get("kind") == "Status":
        await exchange.respond_json(item)
    else:
        await exchange.respond(code, statuses.go_json(item) + b"\n")


def _write(
    server: Server, request: RecordedRequest, resource: str, namespace: str, name: str
) -> tuple[dict[str, Any], int]:
    documents = server.store.documents
    if request.method == "POST":
        return documents.create(resource, namespace, parsed(request.body)), 201
    if request.method == "PUT":
        return documents.update(resource, namespace, name, parsed(request.body)), 200
    if request.method != "PATCH":
        raise Refused(_NOT_ALLOWED)
    known = "merge-patch+json" in request.header("Content-Type")
    if not known:
        raise Refused(statuses.status(415, "only merge patches are served here", "UnsupportedMediaType"))
    patched: dict[str, Any] = merged(documents.get(resource, namespace, name), parsed(request.body))
    return documents.update(resource, namespace, name, json.loads(json.dumps(patched))), 200


async def _delete(server: Server, resource: str, namespace: str, name: str) -> dict[str, Any]:
    if resource == "namespaces":
        return await delete_namespace(server, name)
    item = _find(server, resource, namespace, name)
    if resource == "pods":
        pod = server.store.pods[namespace, name]
        await server.store.delete(pod)
        return pod_object(pod)
    server.store.documents.delete(resource, namespace, name)
    details = {"name": name, "kind": resource, "uid": item["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}


async def delete_namespace(server: Server, name: str) -> dict[str, Any]:
    """Delete a namespace with everything in it.

    :raises Refused: there is none of this name, or it has to stay
    """
    item = server.store.documents.terminate(name)
    for (namespace, _), pod in tuple(server.store.pods.items()):
        if namespace == name:
            await server.store.delete(pod)
    server.store.documents.delete("namespaces", "", name)
    return item
