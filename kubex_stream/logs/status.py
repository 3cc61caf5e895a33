"""What a pod says of one of its containers, as far as a reader of its log has to know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ("DEFAULT_CONTAINER", "GONE", "UNKNOWN", "ContainerView", "container_names", "default_container", "view_of")

DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
_ENDED: Final = ("Succeeded", "Failed")
_KINDS: Final = ("initContainers", "containers", "ephemeralContainers")


@dataclass(frozen=True, slots=True)
class ContainerView:
    """A container as its pod was seen.

    :ivar state: ``waiting``: it has not started yet.  ``running``.  ``stopped``: it has ended, and may begin again.  ``over``: it has ended for
        good, or will never start.  ``gone``: the pod is no more.  ``unknown``: the pod may not be read
    :ivar restarts: how often it has been begun anew
    :ivar why: the reason for its state, as ``ImagePullBackOff: …``; may be empty
    :ivar started: whether it ever was
    """

    state: Literal["waiting", "running", "stopped", "over", "gone", "unknown"]
    restarts: int = 0
    why: str = ""
    started: bool = True


GONE: Final = ContainerView("gone", started=False)
UNKNOWN: Final = ContainerView("unknown")


def container_names(pod: Mapping[str, Any]) -> list[str]:
    """The containers of a pod: those that run before the others first, as kubectl has them."""
    spec = pod.get("spec") or {}
    return [str(each.get("name")) for kind in _KINDS for each in spec.get(kind) or ()]


def default_container(pod: Mapping[str, Any]) -> str:
    """The annotated container, where there is such a one, else the first; "" where there is none."""
    spec, metadata = pod.get("spec") or {}, pod.get("metadata") or {}
    annotated = (metadata.get("annotations") or {}).get(DEFAULT_CONTAINER)
    if annotated in container_names(pod):
        return str(annotated)
    return next((str(each.get("name")) for each in spec.get("containers") or ()), "")


def view_of(pod: Mapping[str, Any], container: str) -> ContainerView:
    """What ``pod`` says of ``container``."""
    status = pod.get("status") or {}
    found = _status_of(status, container)
    state = found.get("state") or {}
    restarts = int(found.get("restartCount") or 0)
    ended = status.get("phase") in _ENDED
    if "running" in state:
        return ContainerView("running", restarts)
    if "terminated" in state:
        over = ended or not _begins_again(pod, container, state["terminated"] or {})
        return ContainerView("over" if over else "stopped", restarts, _why(state["terminated"]))
    if (found.get("lastState") or {}).get("terminated"):
        return ContainerView("over" if ended or _deleted(pod) else "stopped", restarts, _why(state.get("waiting")))
    why = _why(state.get("waiting")) or _unscheduled(status)
    if ended:
        return ContainerView("over", restarts, _why(status) or why, started=False)
    return ContainerView("waiting", restarts, why, started=False)


def _status_of(status: Mapping[str, Any], container: str) -> Mapping[str, Any]:
    keys = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    found: Mapping[str, Any] = next(
        (each for key in keys for each in status.get(key) or () if each.get("name") == container), {}
    )
    return found


def _deleted(pod: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in (pod.get("metadata") or {})


def _begins_again(pod: Mapping[str, Any], container: str, terminated: Mapping[str, Any]) -> bool:
    """Whether the kubelet starts it once more (the API's rules for restartPolicy)."""
    if _deleted(pod):
        return False
    spec = pod.get("spec") or {}
    kind, declared = _declared(spec, container)
    policy = declared.get("restartPolicy") or spec.get("restartPolicy") or "Always"
    if kind == "ephemeralContainers":
        return False
    if kind == "initContainers" and declared.get("restartPolicy") != "Always":
        policy = "Never" if policy == "Never" else "OnFailure"
    return bool(policy == "Always" or (policy == "OnFailure" and terminated.get("exitCode")))


def _declared(spec: Mapping[str, Any], container: str) -> tuple[str, Mapping[str, Any]]:
    for kind in _KINDS:
        entries: Sequence[Mapping[str, Any]] = spec.get(kind) or ()
        for each in entries:
            if each.get("name") == container:
                return kind, each
    return "", {}


def _why(state: Mapping[str, Any] | None) -> str:
    words = [str((state or {}).get(key) or "") for key in ("reason", "message")]
    return ": ".join(word for word in words if word)


def _unscheduled(status: Mapping[str, Any]) -> str:
    conditions: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    for each in conditions:
        if each.get("type") == "PodScheduled" and each.get("status") == "False":
            return _why(each)
    return ""
