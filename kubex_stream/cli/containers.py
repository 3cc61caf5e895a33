"""Which container of a pod is meant: kubectl's rules and words (kubectl pkg/cmd/util/podcmd, pkg/cmd/exec)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from kubex_stream.cli.usage import UsageError

__all__ = ("check_phase", "choose_container", "container_of")

DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"


def check_phase(pod: Mapping[str, Any], verb: str) -> None:
    """Refuse a pod whose containers are gone.

    :param verb: what cannot be done, as ``exec into``
    :raises UsageError: it has ended
    """
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise UsageError(f"cannot {verb} a container in a completed pod; current phase is {phase}")


def container_of(pod: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The container of this name, which is there."""
    keys = ("containers", "ephemeralContainers", "initContainers")
    found: Mapping[str, Any] = next(
        each for key in keys for each in (pod.get("spec") or {}).get(key) or () if each.get("name") == name
    )
    return found


def choose_container(pod: Mapping[str, Any], wanted: str | None, tell: Callable[[str], object]) -> str:
    """The container that is asked for, else the annotated one, else the first.

    :param tell: gets a line that says which one was taken, where there was a choice
    :raises UsageError: the pod has no such container
    """
    spec, metadata = pod.get("spec", {}), pod.get("metadata", {})
    containers, ephemeral, init = (
        [str(each.get("name")) for each in spec.get(key) or ()]
        for key in ("containers", "ephemeralContainers", "initContainers")
    )
    if not containers:
        raise UsageError(f"pod {metadata.get('namespace')}/{metadata.get('name')} does not have any containers")
    shown = ", ".join([*containers, *(f"{name} (ephem)" for name in ephemeral), *(f"{name} (init)" for name in init)])
    name = wanted or (metadata.get("annotations") or {}).get(DEFAULT_CONTAINER)
    if name:
        if name not in (*containers, *ephemeral, *init):
            raise UsageError(f"container {name} is not valid for pod {metadata.get('name')} out of: {shown}")
        return str(name)
    if len(containers) > 1 or ephemeral or init:
        tell(f'Defaulted container "{containers[0]}" out of: {shown}')
    return containers[0]
