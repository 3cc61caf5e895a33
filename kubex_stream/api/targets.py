"""What a port-forward goes to: a pod, or a pod of a Service or a workload, and which port of it is meant.

Rules of this file (kubectl's: pkg/polymorphichelpers, pkg/cmd/portforward, api/pod util):
- Of the pods that a selector finds, the one that has been ready longest is taken, and none that is being deleted while there is another.
- A Service's port is translated to the pod's: its targetPort, by number or by the name that the pod's container gives it.  A headless
  Service has no port of its own: what it names is the pod's.
- A port that is declared for UDP only cannot be forwarded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kubex_stream.api.objects import kubernetes_object
from kubex_stream.api.request import check_name, pod_path, pods_path
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request, path_of
from kubex_stream.errors import ApiError, Forbidden, NotFound
from kubex_stream.protocol.portforward import check_port

__all__ = ("ForwardedPod", "Target", "find_pod", "find_selector", "pods_of")

_APPS: Final = ("apis", "apps", "v1")
_KINDS: Final[Mapping[str, tuple[tuple[str, ...], str, tuple[str, ...]]]] = {
    "pod": (("api", "v1"), "pods", ("pods", "po")),
    "service": (("api", "v1"), "services", ("services", "svc")),
    "deployment": (_APPS, "deployments", ("deployments", "deploy", "deployment.apps", "deployments.apps")),
    "replicaset": (_APPS, "replicasets", ("replicasets", "rs", "replicaset.apps", "replicasets.apps")),
    "statefulset": (_APPS, "statefulsets", ("statefulsets", "sts", "statefulset.apps", "statefulsets.apps")),
    "daemonset": (_APPS, "daemonsets", ("daemonsets", "ds", "daemonset.apps", "daemonsets.apps")),
    "replicationcontroller": (("api", "v1"), "replicationcontrollers", ("replicationcontrollers", "rc")),
    "job": (("apis", "batch", "v1"), "jobs", ("jobs", "job.batch", "jobs.batch")),
}
_SPELLINGS: Final = {spelling: kind for kind, (_, _, others) in _KINDS.items() for spelling in (kind, *others)}


@dataclass(frozen=True, slots=True)
class Target:
    """A target as its user names it, as ``web-0``, ``svc/web`` or ``deploy/web``.

    :ivar kind: the resource's kind, in lower case, as ``service``
    """

    kind: str
    name: str
    namespace: str

    @classmethod
    def parse(cls, text: object, namespace: str) -> Target:
        """``text`` as a target.

        :raises TypeError: it is no string
        :raises ValueError: no such kind, or a name that no object can have
        """
        if not isinstance(text, str):
            raise TypeError(f"the target must be a string, as 'web-0' or 'svc/web', not {type(text).__name__}")
        spelling, slash, name = text.rpartition("/")
        kind = _SPELLINGS.get(spelling.lower()) if slash else "pod"
        if kind is None:
            raise ValueError(
                f"{spelling!r} is nothing that has ports to forward; there are pod, svc, deploy, rs, sts, ds, rc and job, as in 'svc/web'"
            )
        return cls(kind, check_name("pod", name), check_name("namespace", namespace))

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class ForwardedPod:
    """The pod that a target stands for now.

    :ivar uid: which one of this name; "" where the pod may not be read
    :ivar runtime: the scheme of its containers' ids, as ``containerd`` or ``cri-o``; "" where that is not known
    """

    name: str
    namespace: str
    uid: str
    runtime: str
    pod: Mapping[str, Any]
    service: Mapping[str, Any] | None

    def number(self, port: int | str) -> int:
        """The pod's port that ``port`` means.

        :param port: a number, or a name that the Service, or a container of the pod, gives to it
        :raises TypeError, ValueError: it can be no port
        :raises NotFound: the Service, or the pod, has no such port
        :raises ApiError: the port is declared for UDP
        """
        if not isinstance(port, str):
            check_port(port)
        if self.service is not None:
            return self._of_service(self.service, port)
        return self._of_pod(port)

    def service_number(self, port: int | str) -> int:
        """The number that a user sees: of a Service its own, before it is translated."""
        if isinstance(port, str) and self.service is not None:
            return int(self._service_port(self.service, port)["port"])
        return self.number(port) if isinstance(port, str) else port

    def _of_service(self, service: Mapping[str, Any], port: int | str) -> int:
        found = self._service_port(service, port)
        if _spec(service).get("clusterIP") == "None":
            return int(found["port"])
        target = found.get("targetPort") or found["port"]
        return self._of_pod(target) if isinstance(target, str) else int(target)

    @staticmethod
    def _service_port(service: Mapping[str, Any], port: int | str) -> Mapping[str, Any]:
        ports = [entry for entry in _spec(service).get("ports") or () if port in (entry.get("port"), entry.get("name"))]
        name = service["metadata"]["name"]
        if not ports:
            raise NotFound(f"service {name!r} has no port {port!r}", status_code=404)
        _refuse_udp(ports, port, f"service {name!r}")
        return next(entry for entry in ports if _is_tcp(entry))

    def _of_pod(self, port: int | str) -> int:
        spec = _spec(self.pod)
        containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
        declared = [entry for container in containers for entry in container.get("ports") or ()]
        found = [entry for entry in declared if port in (entry.get("name"), entry.get("containerPort"))]
        _refuse_udp(found, port, f"pod {self.name!r}")
        if isinstance(port, int):
            return port
        if not found:
            names = ", ".join(sorted({str(entry["name"]) for entry in declared if entry.get("name")})) or "none at all"
            raise NotFound(f"pod {self.name!r} has no port named {port!r}; it names {names}", status_code=404)
        return int(next(entry for entry in found if _is_tcp(entry))["containerPort"])


def _is_tcp(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("protocol", "TCP") == "TCP")


def _refuse_udp(entries: Sequence[Mapping[str, Any]], port: int | str, where: str) -> None:
    if entries and not any(_is_tcp(entry) for entry in entries):
        protocol = entries[0].get("protocol")
        raise ApiError(f"port {port!r} of {where} is a port of {protocol}; only TCP can be forwarded", status_code=400)


async def find_pod(client: BaseClient, target: Target, **given: Any) -> ForwardedPod:
    """The pod that ``target`` stands for now.

    :param given: for the requests, as ``timeout`` and ``headers``
    :raises NotFound: there is no such object, or it has no pod
    :raises ApiError: the pod has ended or does not run yet, or the server refused
    """
    if target.kind == "pod":
        return await _pod_itself(client, target, given)
    owner = await _owner(client, target, given)
    found = await _selected(client, target.namespace, _selector(owner, target), given)
    pods = [pod for pod in found if _phase(pod) in ("Running", "Pending")]
    if not pods:
        raise NotFound(f"{target} has no running pod", status_code=404)
    pod = max(pods, key=_preference)
    return _forwarded(pod, target, owner if target.kind == "service" else None)


async def find_selector(client: BaseClient, target: Target, **given: Any) -> str:
    """The label selector of what has pods.  Raises as :func:`find_pod`."""
    return _selector(await _owner(client, target, given), target)


async def pods_of(client: BaseClient, target: Target, **given: Any) -> list[Mapping[str, Any]]:
    """The pods that ``target`` stands for, in whatever phase, the best first.

    :raises NotFound: there is no such object
    """
    if target.kind == "pod":
        return [await _get(client, pod_path(target.namespace, target.name), given)]
    selector = await find_selector(client, target, **given)
    return sorted(await _selected(client, target.namespace, selector, given), key=_preference, reverse=True)


async def _owner(client: BaseClient, target: Target, given: dict[str, Any]) -> Mapping[str, Any]:
    root, plural, _ = _KINDS[target.kind]
    return await _get(client, path_of(*root, "namespaces", target.namespace, plural, target.name), given)


async def _selected(
    client: BaseClient, namespace: str, selector: str, given: dict[str, Any]
) -> Sequence[Mapping[str, Any]]:
    request = Request(path=pods_path(namespace), query=[("labelSelector", selector)], **given)
    return (await _requested(client, request)).get("items") or ()


async def _pod_itself(client: BaseClient, target: Target, given: dict[str, Any]) -> ForwardedPod:
    try:
        pod = await _get(client, pod_path(target.namespace, target.name), given)
    except Forbidden:
        # Forwarding needs no right to read pods; only names of ports do, and they are not there then.
        return ForwardedPod(target.name, target.namespace, "", "", {"metadata": {"name": target.name}}, None)
    return _forwarded(pod, target, None)


def _forwarded(pod: Mapping[str, Any], target: Target, service: Mapping[str, Any] | None) -> ForwardedPod:
    name, phase = pod["metadata"]["name"], _phase(pod)
    if phase != "Running":
        raise ApiError(f"pod {name!r} cannot be forwarded to: it is {phase}, not Running", status_code=409)
    return ForwardedPod(name, target.namespace, str(pod["metadata"].get("uid", "")), _runtime(pod), pod, service)


def _runtime(pod: Mapping[str, Any]) -> str:
    status = pod.get("status") or {}
    ids = (str(container.get("containerID") or "") for container in status.get("containerStatuses") or ())
    return next((scheme for scheme, colon, _ in (each.partition("://") for each in ids) if colon), "")


def _phase(pod: Mapping[str, Any]) -> str:
    return str((pod.get("status") or {}).get("phase", "unknown"))


def _preference(pod: Mapping[str, Any]) -> tuple[object, ...]:
    """Greatest for the best pod: k8s.io/kubectl's ActivePods, backwards."""
    status = pod.get("status") or {}
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    ready = next((entry for entry in conditions if entry.get("type") == "Ready"), dict[str, Any]())
    is_ready = ready.get("status") == "True"
    restarts = max((int(each.get("restartCount") or 0) for each in status.get("containerStatuses") or ()), default=0)
    # Times are ISO 8601 in UTC; of two the earlier one is better, so their characters are turned round.
    since = tuple(-ord(char) for char in str(ready.get("lastTransitionTime") or "~")) if is_ready else ()
    created = tuple(-ord(char) for char in str(pod["metadata"].get("creationTimestamp") or "~"))
    return ("deletionTimestamp" not in pod["metadata"], _phase(pod) == "Running", is_ready, since, -restarts, created)


def _selector(owner: Mapping[str, Any], target: Target) -> str:
    selector = _spec(owner).get("selector") or {}
    labels: Mapping[str, str] = selector
    expressions: Sequence[Mapping[str, Any]] = ()
    if target.kind not in ("service", "replicationcontroller"):
        labels, expressions = selector.get("matchLabels") or {}, selector.get("matchExpressions") or ()
    parts = [f"{key}={value}" for key, value in labels.items()]
    parts += [_expression(each) for each in expressions]
    if not parts:
        raise ApiError(f"{target} selects no pods: it has no selector", status_code=400)
    return ",".join(parts)


def _expression(expression: Mapping[str, Any]) -> str:
    key, values = expression["key"], ",".join(expression.get("values") or ())
    match expression["operator"]:
        case "Exists":
            return str(key)
        case "DoesNotExist":
            return f"!{key}"
        case "In":
            return f"{key} in ({values})"
        case _:
            return f"{key} notin ({values})"


def _spec(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item.get("spec") or {}


async def _get(client: BaseClient, path: str, given: dict[str, Any]) -> Mapping[str, Any]:
    return await _requested(client, Request(path=path, **given))


async def _requested(client: BaseClient, request: Request) -> Mapping[str, Any]:
    return kubernetes_object(await client.request(request), request)
