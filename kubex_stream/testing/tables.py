"""Tables: what ``kubectl get`` asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ("table",)


def _age(item: dict[str, Any]) -> str:
    created = datetime.strptime(item["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    seconds = max(0, int((datetime.now(UTC) - created).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _pod_status_word(item: dict[str, Any]) -> str:
    if "deletionTimestamp" in item["metadata"]:
        return "Terminating"
    word: str = item["status"]["phase"]
    for status in item["status"].get("containerStatuses", []):
        state = status["state"]
        found = state.get("waiting") or state.get("terminated")
        if found:
            word = found["reason"]
    return word


def _pod_cells(item: dict[str, Any]) -> list[str]:
    statuses = item["status"].get("containerStatuses", [])
    ready = f"{sum(status['ready'] for status in statuses)}/{len(item['spec']['containers'])}"
    where = [item["status"].get("podIP", "<none>"), item["spec"].get("nodeName", "<none>"), "<none>", "<none>"]
    restarts = str(sum(status["restartCount"] for status in statuses))
    return [item["metadata"]["name"], ready, _pod_status_word(item), restarts, _age(item), *where]


_POD_COLUMNS: Final = (
    ("Name", 0),
    ("Ready", 0),
    ("Status", 0),
    ("Restarts", 0),
    ("Age", 0),
    ("IP", 1),
    ("Node", 1),
    ("Nominated Node", 1),
    ("Readiness Gates", 1),
)


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items()) or "<none>"


def _service_cells(item: dict[str, Any]) -> list[str]:
    spec = item["spec"]
    ports = ",".join(f"{port['port']}/{port['protocol']}" for port in spec.get("ports", [])) or "<none>"
    address = spec.get("clusterIP", "<none>")
    return [
        item["metadata"]["name"], spec["type"], address, "<none>", ports, _age(item), _selector(spec.get("selector", {}))
    ]  # fmt: skip


def _workload_cells(item: dict[str, Any]) -> list[str]:
    wanted, ready = item["spec"]["replicas"], item["status"]["readyReplicas"]
    name, age = item["metadata"]["name"], _age(item)
    if item["kind"] == "Deployment":
        return [name, f"{ready}/{wanted}", str(wanted), str(ready), age]
    if item["kind"] == "ReplicaSet":
        return [name, str(wanted), str(wanted), str(ready), age]
    return [name, f"{ready}/{wanted}", age]


def _namespace_cells(item: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"], item["status"]["phase"], _age(item)]


def _config_map_cells(item: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"], str(len(item.get("data") or {})), _age(item)]


def _plain(*names: str) -> tuple[tuple[str, int], ...]:
    return tuple((name, 0) for name in names)


Cells = Callable[[dict[str, Any]], list[str]]
_TABLES: Final[Mapping[str, tuple[tuple[tuple[str, int], ...], Cells]]] = {
    "Pod": (_POD_COLUMNS, _pod_cells),
    "Namespace": (_plain("Name", "Status", "Age"), _namespace_cells),
    "ConfigMap": (_plain("Name", "Data", "Age"), _config_map_cells),
    "Service": (
        (*_plain("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"), ("Selector", 1)),
        _service_cells,
    ),
    "Deployment": (_plain("Name", "Ready", "Up-to-date", "Available", "Age"), _workload_cells),
    "ReplicaSet": (_plain("Name", "Desired", "Current", "Ready", "Age"), _workload_cells),
    "StatefulSet": (_plain("Name", "Ready", "Age"), _workload_cells),
}


def table(kind: str, items: list[dict[str, Any]], version: int) -> dict[str, Any]:
    """Objects of one kind as a Table."""
    names, cells = _TABLES[kind]
    rows = []
    for item in items:
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
        rows.append({"cells": cells(item), "object": partial})
    columns = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, priority in names
    ]
    metadata = {"resourceVersion": str(version)}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }
