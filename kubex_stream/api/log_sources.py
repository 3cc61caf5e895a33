"""Whose logs are meant: pods by name or by label, and which of their containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from kubex_stream.api.log_contact import is_waiting
from kubex_stream.api.log_stream import FoundLog
from kubex_stream.api.objects import kubernetes_object
from kubex_stream.api.request import check_name, pod_path, pods_path
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request
from kubex_stream.errors import ApiError, Forbidden, KubexClientException, NotFound
from kubex_stream.logs.line import LogSource
from kubex_stream.logs.status import DEFAULT_CONTAINER, UNKNOWN, container_names, default_container, view_of

__all__ = ("ContainerChoice", "LogSelection", "explained")

#: A container's name, or a function that gives it for a pod.
ContainerChoice: TypeAlias = str | Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSelection:
    """What is asked for, checked when it is made.

    :ivar pod: a name; or else
    :ivar label_selector: for any number of pods
    :ivar container: None for the default one
    :raises TypeError, ValueError: it makes no sense
    """

    client: BaseClient
    namespace: str
    pod: str | None
    label_selector: str | None
    container: ContainerChoice | None
    all_containers: bool
    given: dict[str, Any] = field(repr=False)

    def __post_init__(self) -> None:
        if (self.pod is None) == (self.label_selector is None):
            raise ValueError("name a pod, or give a label_selector, and not both")
        if self.pod is not None:
            check_name("pod", self.pod)
        elif not isinstance(self.label_selector, str):
            raise TypeError(f"label_selector is text, as 'app=web', not {type(self.label_selector).__name__}")
        elif not self.label_selector:
            raise ValueError("label_selector is empty, which would be every pod there is; name one, as 'app=web'")
        if isinstance(self.container, str):
            check_name("container", self.container)
        elif self.container is not None and not callable(self.container):
            raise TypeError(f"container is a name, or a function of a pod, not {type(self.container).__name__}")
        if self.container is not None and self.all_containers:
            raise ValueError("container names one, and all_containers=True all of them: give one of the two")

    async def find(self) -> list[FoundLog]:
        """The logs that are meant now.

        :raises NotFound: there is no such pod
        :raises ApiError: no such container, or more than one to choose from; or the server refused
        """
        return [found for pod in await self._pods() for found in self._of(pod)]

    async def _pods(self) -> list[Mapping[str, Any]]:
        if self.pod is not None:
            request = Request(path=pod_path(self.namespace, self.pod), **self.given)
            try:
                return [kubernetes_object(await self.client.request(request), request)]
            except Forbidden:
                if self.all_containers:
                    raise
                return [{}]  # a role may have pods/log only
        query = [("labelSelector", str(self.label_selector))]
        request = Request(path=pods_path(self.namespace), query=query, **self.given)
        pods = kubernetes_object(await self.client.request(request), request).get("items") or []
        if not pods:
            raise NotFound(
                f"no pod of namespace {self.namespace!r} has the labels {self.label_selector!r}", status_code=404
            )
        return sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))

    def _of(self, pod: Mapping[str, Any]) -> list[FoundLog]:
        if not pod:
            named = self.container if isinstance(self.container, str) else ""
            return [FoundLog(LogSource(self.namespace, str(self.pod), named), "", UNKNOWN)]
        metadata = pod["metadata"]
        name, uid = str(metadata["name"]), str(metadata.get("uid") or "")
        return [
            FoundLog(LogSource(self.namespace, name, container), uid, view_of(pod, container), self.pod is not None)
            for container in self._containers(pod, name)
        ]

    def _containers(self, pod: Mapping[str, Any], name: str) -> list[str]:
        names = container_names(pod)
        if self.all_containers:
            return names
        chosen = self.container if isinstance(self.container, str | None) else self.container(pod)
        if chosen is not None:
            if chosen not in names:
                raise ApiError(
                    f"pod {name!r} has no container {chosen!r}; its containers are {', '.join(names)}",
                    status_code=400,
                )
            return [chosen]
        annotated = DEFAULT_CONTAINER in (pod["metadata"].get("annotations") or {})
        if len((pod.get("spec") or {}).get("containers") or ()) > 1 and not annotated:
            raise ApiError(
                f"pod {name!r} has several containers: name one of {', '.join(names)}, or pass all_containers=True",
                status_code=400,
            )
        return [default_container(pod)]


async def explained(
    client: BaseClient, error: ApiError, namespace: str, name: str, container: str | None, given: dict[str, Any]
) -> ApiError:
    """What the server said of a log that it did not give, and what it left out.

    :param given: for the request: ``timeout`` and ``headers``
    """
    request = Request(path=pod_path(namespace, name), **given)
    try:
        pod = kubernetes_object(await client.request(request), request)
    except KubexClientException:
        return error
    more = ""
    if "is not valid for pod" in str(error):
        more = f"its containers are {', '.join(container_names(pod))}"
    elif is_waiting(error):
        more = view_of(pod, container or default_container(pod)).why
    if not more:
        return error
    return ApiError(f"{error} ({more})", status_code=error.status_code, status=error.status)
