"""The JSON documents of an embedded cluster's pods."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from kubex_stream.testing.store import ContainerState, PodState

__all__ = ("pod_object", "terminated", "timestamp")

_NODE: Final = "embedded"
_ADDRESS: Final = "127.0.0.1"


def timestamp(moment: datetime) -> str:
    """A moment as the API writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _state_of(pod: PodState, state: ContainerState) -> dict[str, Any]:
    if state.backing_off:
        return {"waiting": {"reason": "CrashLoopBackOff"}}
    if state.gone:
        return terminated(pod, state)
    if pod.phase == "Running":
        return {"running": {"startedAt": timestamp(state.started_at)}}
    return {"waiting": {"reason": "ContainerCreating"}}


def terminated(pod: PodState, state: ContainerState) -> dict[str, Any]:
    """How a container has ended."""
    ended = {
        "exitCode": state.exit_code,
        "reason": "StartError" if state.failure else "Error" if state.exit_code else "Completed",
        "startedAt": timestamp(state.started_at),
        "finishedAt": timestamp(state.finished_at or state.started_at),
        "containerID": _container_id(pod, state),
    }
    return {"terminated": ended | ({"message": state.failure} if state.failure else {})}


def _container_id(pod: PodState, state: ContainerState) -> str:
    name = f"{pod.uid}/{state.declared.name}" + (f"/{state.restarts}" if state.restarts else "")
    return f"{pod.runtime}://{hashlib.sha256(name.encode()).hexdigest()}"


def _running(pod: PodState, state: ContainerState) -> bool:
    return pod.phase == "Running" and not state.gone


def _container_status(pod: PodState, state: ContainerState) -> dict[str, Any]:
    running = _running(pod, state)
    return {
        "name": state.declared.name,
        "image": "embedded",
        "imageID": "",
        "containerID": _container_id(pod, state),
        "lastState": state.last_state,
        "ready": running,
        "restartCount": state.restarts,
        "started": running,
        "state": _state_of(pod, state),
    }


def _ports(pod: PodState, container: str) -> list[dict[str, Any]]:
    first = next(iter(pod.containers))
    return [
        {"containerPort": port.number, "protocol": port.protocol} | ({"name": port.name} if port.name else {})
        for port in pod.declared.ports
        if (port.container or first) == container
    ]


def _container_spec(pod: PodState, state: ContainerState) -> dict[str, Any]:
    container = state.declared
    spec: dict[str, Any] = {"name": container.name, "image": "embedded", "imagePullPolicy": "Never", "resources": {}}
    if container.command is not None:
        spec["command"] = list(container.command)
    if ports := _ports(pod, container.name):
        spec["ports"] = ports
    if container.env:
        spec["env"] = [{"name": name, "value": value} for name, value in container.env.items()]
    spec |= {
        key: True
        for key, value in (("stdin", container.stdin), ("stdinOnce", container.stdin_once), ("tty", container.tty))
        if value
    }
    return spec


def _conditions(pod: PodState) -> list[dict[str, Any]]:
    scheduled, when = pod.declared.scheduled, timestamp(pod.created)
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
        "creationTimestamp": timestamp(pod.created),
    }
    if declared.labels:
        metadata["labels"] = dict(declared.labels)
    if declared.annotations:
        metadata["annotations"] = dict(declared.annotations)
    if pod.deleted is not None:
        metadata |= {"deletionTimestamp": timestamp(pod.deleted), "deletionGracePeriodSeconds": 0}
    spec: dict[str, Any] = {
        "containers": [_container_spec(pod, state) for state in pod.containers.values()],
        "restartPolicy": declared.restart_policy,
    }
    status: dict[str, Any] = {"phase": pod.phase, "conditions": _conditions(pod), "qosClass": "BestEffort"}
    if declared.scheduled:
        spec["nodeName"] = _NODE
        status |= {
            "hostIP": _ADDRESS,
            "podIP": _ADDRESS,
            "podIPs": [{"ip": _ADDRESS}],
            "startTime": timestamp(pod.created),
            "containerStatuses": [_container_status(pod, state) for state in pod.containers.values()],
        }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": status}
