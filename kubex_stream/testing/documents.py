"""The ConfigMaps and Namespaces of a running cluster: objects that are nothing but their document.

Rules of this file: documents are replaced, never changed, since watches hold them.  What the server refuses is a :class:`Refused` with the
Status that says so.
"""

from __future__ import annotations

import copy
import json
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from kubex_stream.testing.history import History
from kubex_stream.testing.objects import timestamp
from kubex_stream.testing.statuses import bad_request, forbidden, not_found, status

__all__ = ("KINDS", "Documents", "Refused", "merged", "parsed")

#: The resources of this kind, and their kinds.
KINDS: Final[Mapping[str, str]] = {"configmaps": "ConfigMap", "namespaces": "Namespace"}
_FOR_EVER: Final = ("default", "kube-system")
_OURS: Final = ("uid", "creationTimestamp", "namespace", "name", "deletionTimestamp")


class Refused(Exception):
    """The server does not do it.

    :ivar status: its answer
    """

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__(found["message"])
        self.status = found


@dataclass(frozen=True, slots=True)
class Key:
    """Which object; ``namespace`` is empty for a Namespace."""

    resource: str
    namespace: str
    name: str


class Documents:
    """All of them.  Used on the cluster's event loop only."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._items: dict[Key, dict[str, Any]] = {}
        for name in _FOR_EVER:
            document = _completed(Key("namespaces", "", name), {"metadata": {}})
            self._items[Key("namespaces", "", name)] = document | {
                "metadata": {**document["metadata"], "resourceVersion": "1"}
            }

    def items(self, resource: str) -> list[dict[str, Any]]:
        """All objects of a resource, by namespace and name."""
        found = [(key.namespace, key.name, item) for key, item in self._items.items() if key.resource == resource]
        return [item for _, _, item in sorted(found, key=lambda each: each[:2])]

    def ensure_namespace(self, name: str) -> None:
        """Create a namespace, unless it is there."""
        if Key("namespaces", "", name) not in self._items:
            self.create("namespaces", "", {"metadata": {"name": name}})

    def has(self, resource: str, namespace: str, name: str) -> bool:
        """Whether there is one of this name."""
        return Key(resource, namespace, name) in self._items

    def get(self, resource: str, namespace: str, name: str) -> dict[str, Any]:
        """One object.

        :raises Refused: there is none of this name
        """
        found = self._items.get(Key(resource, namespace, name))
        if found is None:
            raise Refused(not_found(resource, name))
        return found

    def create(self, resource: str, namespace: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object.

        :raises Refused: it exists, it has no name, its namespace is not there
        """
        metadata = document.get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName", "") + secrets.token_hex(3)
        if not metadata.get("name") and not metadata.get("generateName"):
            text = f'{KINDS[resource]} "" is invalid: metadata.name: Required value: name or generateName is required'
            raise Refused(status(422, text, "Invalid", {"kind": KINDS[resource]}))
        if namespace:
            self.get("namespaces", "", namespace)
        key = Key(resource, namespace, name)
        if key in self._items:
            raise Refused(
                status(409, f'{resource} "{name}" already exists', "AlreadyExists", {"name": name, "kind": resource})
            )
        return self._store("ADDED", key, _completed(key, document))

    def update(self, resource: str, namespace: str, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """Replace an object.

        :raises Refused: there is none of this name, or the version that the document has is not that of the object
        """
        before = self.get(resource, namespace, name)
        asked = (document.get("metadata") or {}).get("resourceVersion")
        if asked not in (None, "", before["metadata"]["resourceVersion"]):
            text = "the object has been modified; please apply your changes to the latest version and try again"
            details = {"name": name, "kind": resource}
            raise Refused(
                status(409, f'Operation cannot be fulfilled on {resource} "{name}": {text}', "Conflict", details)
            )
        after = _completed(Key(resource, namespace, name), document)
        kept = {field: before["metadata"][field] for field in _OURS if field in before["metadata"]}
        after["metadata"] |= kept | {"resourceVersion": before["metadata"]["resourceVersion"]}
        if after == before:
            return before  # nothing has changed, so nothing is told
        return self._store("MODIFIED", Key(resource, namespace, name), after)

    def delete(self, resource: str, namespace: str, name: str) -> dict[str, Any]:
        """Delete an object; a namespace's pods are the caller's, its other objects go with it.

        :raises Refused: there is none of this name, or it has to stay
        """
        item = self.get(resource, namespace, name)
        if resource == "namespaces":
            if name in _FOR_EVER:
                raise Refused(forbidden("namespaces", name, "this namespace may not be deleted"))
            for key in [key for key in self._items if key.namespace == name]:
                self.delete(key.resource, key.namespace, key.name)
        del self._items[Key(resource, namespace, name)]
        return self._history.record("DELETED", resource, lambda version: _versioned(item, version))

    def terminate(self, name: str) -> dict[str, Any]:
        """Mark a namespace that is about to go.

        :raises Refused: as :meth:`delete`
        """
        item = self.get("namespaces", "", name)
        if name in _FOR_EVER:
            raise Refused(forbidden("namespaces", name, "this namespace may not be deleted"))
        metadata = {**item["metadata"], "deletionTimestamp": timestamp(datetime.now(UTC))}
        after = {**item, "metadata": metadata, "status": {"phase": "Terminating"}}
        return self._store("MODIFIED", Key("namespaces", "", name), after)

    def _store(self, kind: str, key: Key, document: dict[str, Any]) -> dict[str, Any]:
        def make(version: int) -> dict[str, Any]:
            self._items[key] = _versioned(document, version)
            return self._items[key]

        return self._history.record(kind, key.resource, make)


def _versioned(document: dict[str, Any], version: int) -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], "resourceVersion": str(version)}}


def _completed(key: Key, document: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {**(document.get("metadata") or {}), "name": key.name, "uid": str(uuid.uuid4())}
    metadata["creationTimestamp"] = timestamp(datetime.now(UTC))
    found = {"kind": KINDS[key.resource], "apiVersion": "v1", **copy.deepcopy(dict(document)), "metadata": metadata}
    if key.resource == "configmaps":
        metadata["namespace"] = key.namespace
        return found
    metadata["labels"] = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": key.name}
    return {**found, "spec": {"finalizers": ["kubernetes"]}, "status": found.get("status") or {"phase": "Active"}}


def merged(document: Any, patch: Any) -> Any:
    """``document`` with a JSON merge patch applied (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    found = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def parsed(body: bytes) -> dict[str, Any]:
    """The document of a request.

    :raises Refused: it has none
    """
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Refused(bad_request("the body of the request is no JSON object"))
    return document
