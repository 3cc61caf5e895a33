"""The Services and workloads of a running cluster, and the requests that read them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from kubex_stream.testing.http import Exchange
from kubex_stream.testing.lists import wants_table
from kubex_stream.testing.objects import timestamp
from kubex_stream.testing.selectors import SelectorError, pod_filter
from kubex_stream.testing.services import EmbeddedService, EmbeddedServicePort, EmbeddedWorkload
from kubex_stream.testing.statuses import bad_request, not_found, status
from kubex_stream.testing.store import PodStore
from kubex_stream.testing.tables import table

__all__ = ("APPS", "CORE", "Catalogue", "Declared", "default_declared")

Declared = EmbeddedService | EmbeddedWorkload
#: The resources of the core group that are served here, and their kinds; then those of ``apps``.
CORE: Final[Mapping[str, str]] = {"services": "Service"}
APPS: Final[Mapping[str, str]] = {
    "deployments": "Deployment",
    "replicasets": "ReplicaSet",
    "statefulsets": "StatefulSet",
}
_NOT_ALLOWED: Final = status(
    405, "the server does not allow this method on the requested resource", "MethodNotAllowed", {}
)


def default_declared() -> tuple[tuple[EmbeddedService, ...], tuple[EmbeddedWorkload, ...]]:
    """The Service and the Deployment of a cluster that is told nothing else."""
    ports = (EmbeddedServicePort(80, "http", "http"), EmbeddedServicePort(7, "echo", "echo"))
    labels = {"app": "demo"}
    service = EmbeddedService("demo", ports=ports, selector=labels, labels=labels)
    return (service,), (EmbeddedWorkload("Deployment", "demo", selector=labels, labels=labels),)


@dataclass(frozen=True, slots=True)
class _Entry:
    declared: Declared
    version: int
    address: str
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


def _kind(declared: Declared) -> str:
    return declared.kind if isinstance(declared, EmbeddedWorkload) else "Service"


class Catalogue:
    """All Services and workloads.  Used on the cluster's event loop only.

    :param store: the pods that they select
    """

    def __init__(self, store: PodStore) -> None:
        self._store = store
        self._entries: dict[tuple[str, str, str], _Entry] = {}

    def add(self, declared: Declared) -> None:
        """Create a Service or a workload.

        :raises ValueError: there is one of this kind and name
        """
        kind = _kind(declared)
        key = (kind, declared.namespace, declared.name)
        if key in self._entries:
            raise ValueError(f"{kind} {declared.name!r} exists in namespace {declared.namespace!r}; remove it first")
        version = self._store.claim(declared.namespace)
        address = getattr(declared, "cluster_ip", None) or f"10.96.{version >> 8 & 0xFF}.{version & 0xFF}"
        self._entries[key] = _Entry(declared, version, address)

    def remove(self, kind: str, name: str, namespace: str) -> None:
        """Delete one.

        :raises LookupError: there is none
        """
        if self._entries.pop((kind, namespace, name), None) is None:
            raise LookupError(f"no {kind} {name!r} in namespace {namespace!r}")

    def _pods(self, selector: Mapping[str, str], namespace: str) -> int:
        found = [pod for (where, _), pod in self._store.pods.items() if where == namespace]
        return sum(selector.items() <= pod.declared.labels.items() and pod.phase == "Running" for pod in found)

    def _object(self, entry: _Entry) -> dict[str, Any]:
        declared = entry.declared
        metadata: dict[str, Any] = {
            "name": declared.name,
            "namespace": declared.namespace,
            "uid": entry.uid,
            "resourceVersion": str(entry.version),
            "creationTimestamp": timestamp(entry.created),
        }
        if declared.labels:
            metadata["labels"] = dict(declared.labels)
        if isinstance(declared, EmbeddedService):
            spec = _service_spec(declared, entry.address)
            return {"kind": "Service", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {"loadBalancer": {}}}  # fmt: skip
        pods = self._pods(declared.selector, declared.namespace)
        counts = {"replicas": pods, "readyReplicas": pods, "availableReplicas": pods}
        template = {"metadata": {"labels": dict(declared.selector)}, "spec": {"containers": []}}
        spec = {"replicas": pods, "selector": {"matchLabels": dict(declared.selector)}, "template": template}
        return {"kind": declared.kind, "apiVersion": "apps/v1", "metadata": metadata, "spec": spec, "status": counts}

    async def serve(self, exchange: Exchange, resource: str, namespace: str, name: str) -> None:
        """Answer a request for one object, or for a list where ``name`` is empty; all namespaces where that is empty."""
        group, kind = ("", CORE[resource]) if resource in CORE else ("apps", APPS[resource])
        entry = self._entries.get((kind, namespace, name))
        if exchange.request.method != "GET" or exchange.request.flag("watch"):
            await exchange.respond_json(_NOT_ALLOWED)
        elif not name:
            await self._list(exchange, group, kind, namespace)
        elif entry is None:
            await exchange.respond_json(not_found(resource, name, group))
        else:
            await self._show(exchange, kind, self._object(entry))

    async def _list(self, exchange: Exchange, group: str, kind: str, namespace: str) -> None:
        request = exchange.request
        try:
            chosen = pod_filter(request.value("labelSelector"), request.value("fieldSelector"))
        except SelectorError as error:
            await exchange.respond_json(bad_request(str(error)))
            return
        entries = [
            entry
            for (of, where, _), entry in sorted(self._entries.items(), key=lambda pair: pair[0])
            if of == kind and namespace in ("", where)
        ]
        items = [item for item in map(self._object, entries) if chosen(item)]
        version = self._store.version
        if wants_table(request):
            await exchange.respond_json(table(kind, items, version))
            return
        for item in items:
            del item["kind"], item["apiVersion"]
        head = {"kind": f"{kind}List", "apiVersion": f"{group}/v1" if group else "v1"}
        await exchange.respond_json({**head, "metadata": {"resourceVersion": str(version)}, "items": items})

    async def _show(self, exchange: Exchange, kind: str, item: dict[str, Any]) -> None:
        as_table = wants_table(exchange.request)
        await exchange.respond_json(table(kind, [item], self._store.version) if as_table else item)


def _service_spec(declared: EmbeddedService, address: str) -> dict[str, Any]:
    ports = []
    for port in declared.ports:
        target = port.port if port.target_port is None else port.target_port
        entry: dict[str, Any] = {"port": port.port, "protocol": port.protocol, "targetPort": target}
        ports.append(entry | ({"name": port.name} if port.name else {}))
    spec: dict[str, Any] = {
        "clusterIP": address,
        "clusterIPs": [address],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
        "internalTrafficPolicy": "Cluster",
    }
    if ports:
        spec["ports"] = ports
    if declared.selector:
        spec["selector"] = dict(declared.selector)
    return spec
