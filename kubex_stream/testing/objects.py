"""The JSON documents of an embedded cluster: pods, namespaces, lists, tables and discovery."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kubex_stream.testing.store import ContainerState, PodState

__all__ = ("VERSION", "discovery", "namespace_object", "pod_object", "table")

_NODE: Final = "embedded"
_ADDRESS: Final = "127.0.0.1"
_GIT_VERSION: Final = "v1.36.3"
#: What ``/version`` answers.
VERSION: Final[dict[str, Any]] = {
    "major": "1",
    "minor": "36",
    "gitVersion": _GIT_VERSION,
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "embedded",
}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _state_of(pod: PodState, state: ContainerState) -> dict[str, Any]:
    if state.gone:
        ended = {
            "exitCode": state.exit_code,
            "reason": "StartError" if state.failure else "Error" if state.exit_code else "Completed",
            "startedAt": _time(state.started_at),
            "finishedAt": _time(state.finished_at or state.started_at),
        }
        return {"terminated": ended | ({"message": state.failure} if state.failure else {})}
    if pod.phase == "Running":
        return {"running": {"startedAt": _time(state.started_at)}}
    return {"waiting": {"reason": "ContainerCreating"}}


def _running(pod: PodState, state: ContainerState) -> bool:
    return pod.phase == "Running" and not state.gone


def _container_status(pod: PodState, state: ContainerState) -> dict[str, Any]:
    running = _running(pod, state)
    return {
        "name": state.declared.name,
        "image": "embedded",
        "imageID": "",
        "containerID": f"embedded://{pod.uid}/{state.declared.name}",
        "lastState": {},
        "ready": running,
        "restartCount": 0,
        "started": running,
        "state": _state_of(pod, state),
    }


def _container_spec(state: ContainerState) -> dict[str, Any]:
    container = state.declared
    spec: dict[str, Any] = {"name": container.name, "image": "embedded", "imagePullPolicy": "Never", "resources": {}}
    if container.command is not None:
        spec["command"] = list(container.command)
    if container.env:
        spec["env"] = [{"name": name, "value": value} for name, value in container.env.items()]
    spec |= {
        key: True
        for key, value in (("stdin", container.stdin), ("stdinOnce", container.stdin_once), ("tty", container.tty))
        if value
    }
    return spec


def _conditions(pod: PodState) -> list[dict[str, Any]]:
    scheduled, when = pod.declared.scheduled, _time(pod.created)
    ready = pod.phase == "Running" and all(_running(pod, state) for state in pod.containers.values())
    known = {"PodScheduled": scheduled, "Initialized": scheduled, "ContainersReady": ready, "Ready": ready}
    return [
        {"type": name, "status": "True" if value else "False", "lastProbeTime": None, "lastTransitionTime": when}
        for name, value in known.items()
    ]


def pod_object(pod: PodState) -> dict[str, Any]:
    """A pod as the API shows it."""
    declared = pod.declared
    metadata: dict[str, Any] = {
        "name": declared.name,
        "namespace": declared.namespace,
        "uid": pod.uid,
        "resourceVersion": str(pod.version),
        "creationTimestamp": _time(pod.created),
    }
    if declared.labels:
        metadata["labels"] = dict(declared.labels)
    if declared.annotations:
        metadata["annotations"] = dict(declared.annotations)
    if pod.deleted is not None:
        metadata |= {"deletionTimestamp": _time(pod.deleted), "deletionGracePeriodSeconds": 0}
    spec: dict[str, Any] = {
        "containers": [_container_spec(state) for state in pod.containers.values()],
        "restartPolicy": "Never",
    }
    status: dict[str, Any] = {"phase": pod.phase, "conditions": _conditions(pod), "qosClass": "BestEffort"}
    if declared.scheduled:
        spec["nodeName"] = _NODE
        status |= {
            "hostIP": _ADDRESS,
            "podIP": _ADDRESS,
            "podIPs": [{"ip": _ADDRESS}],
            "startTime": _time(pod.created),
            "containerStatuses": [_container_status(pod, state) for state in pod.containers.values()],
        }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}


def namespace_object(name: str, created: datetime) -> dict[str, Any]:
    """A namespace as the API shows it."""
    metadata = {
        "name": name,
        "uid": f"namespace-{name}",
        "resourceVersion": "1",
        "creationTimestamp": _time(created),
        "labels": {"kubernetes.io/metadata.name": name},
    }
    return {
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


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
    return [item["metadata"]["name"], ready, _pod_status_word(item), "0", _age(item), *where]


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
_NAMESPACE_COLUMNS: Final = (("Name", 0), ("Status", 0), ("Age", 0))


def table(kind: str, items: list[dict[str, Any]], version: int) -> dict[str, Any]:
    """Pods or namespaces as a Table, which is what ``kubectl get`` asks for."""
    rows = []
    for item in items:
        cells = _pod_cells(item) if kind == "Pod" else [item["metadata"]["name"], item["status"]["phase"], _age(item)]
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
        rows.append({"cells": cells, "object": partial})
    columns = [
        {
            "name": name,
            "type": "string",
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, priority in (_POD_COLUMNS if kind == "Pod" else _NAMESPACE_COLUMNS)
    ]
    metadata = {"resourceVersion": str(version)}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": rows,
    }


_RESOURCES: Final[tuple[tuple[str, str, bool, tuple[str, ...], tuple[str, ...]], ...]] = (
    ("namespaces", "Namespace", False, ("get", "list"), ("ns",)),
    ("pods", "Pod", True, ("delete", "get", "list", "watch"), ("po",)),
    ("pods/attach", "PodAttachOptions", True, ("create", "get"), ()),
    ("pods/exec", "PodExecOptions", True, ("create", "get"), ()),
)


def _legacy_resources() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "singularName": "" if "/" in name else kind.lower(),
            "namespaced": namespaced,
            "kind": kind,
            "verbs": list(verbs),
            **({"shortNames": list(short)} if short else {}),
            **({"categories": ["all"]} if name == "pods" else {}),
        }
        for name, kind, namespaced, verbs, short in _RESOURCES
    ]


def _aggregated_resources() -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, kind, namespaced, verbs, short in _RESOURCES:
        response = {"group": "", "version": "", "kind": kind}
        if "/" in name:
            parent, sub = name.split("/")
            entry = {"subresource": sub, "responseKind": response, "verbs": list(verbs)}
            found[parent].setdefault("subresources", []).append(entry)
            continue
        found[name] = {
            "resource": name,
            "responseKind": response,
            "scope": "Namespaced" if namespaced else "Cluster",
            "singularResource": kind.lower(),
            "verbs": list(verbs),
            "shortNames": list(short),
            **({"categories": ["all"]} if name == "pods" else {}),
        }
    return list(found.values())


def discovery(path: str, address: str, *, aggregated: bool) -> dict[str, Any] | None:
    """The discovery document at ``/api``, ``/apis`` or ``/api/v1``; None elsewhere."""
    if path == "/api/v1":
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": _legacy_resources()}
    if path not in ("/api", "/apis"):
        return None
    if aggregated:
        version = {"version": "v1", "resources": _aggregated_resources(), "freshness": "Current"}
        items = [{"metadata": {}, "versions": [version]}] if path == "/api" else []
        kind = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
        return {**kind, "items": items}
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": []}
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
