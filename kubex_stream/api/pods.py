"""Pods: the few requests that streaming needs, and the door to exec and attach."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import EllipsisType
from typing import Any

import anyio

from kubex_stream.api.attach import Attach
from kubex_stream.api.cp import Cp
from kubex_stream.api.exec import Exec
from kubex_stream.api.objects import kubernetes_object, unexpected
from kubex_stream.api.portforward import PortForward
from kubex_stream.api.request import check_name, pod_path, pods_path
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request
from kubex_stream.core.params import Timeout, TimeoutTypes
from kubex_stream.errors import ApiError, ConnectionLost, NotFound, StreamTimeout

__all__ = ("Pods",)

#: Seconds until the next watch, where one ended without a word.
_PAUSE = 1.0


class Pods:
    """The pods of one namespace, through one client.

    :param client: an open client
    :param namespace: None for the one that the configuration names
    """

    def __init__(self, client: BaseClient, namespace: str | None = None) -> None:
        self._client = client
        self._namespace = check_name("namespace", client.configuration.namespace if namespace is None else namespace)
        #: Commands in containers.
        self.exec = Exec(client, self._namespace)
        #: The containers' main processes.
        self.attach = Attach(client, self._namespace)
        #: Files to and from them.
        self.cp = Cp(self.exec)
        #: Their ports.
        self.portforward = PortForward(client, self._namespace)

    @property
    def client(self) -> BaseClient:
        """The client that everything goes through."""
        return self._client

    @property
    def namespace(self) -> str:
        """The namespace that is used where a call names none."""
        return self._namespace

    async def get(
        self, name: str, *, namespace: str | None = None, request_timeout: TimeoutTypes | EllipsisType = ...
    ) -> dict[str, Any]:
        """One pod, as the API's JSON object.

        :raises NotFound: there is none of this name
        :raises ApiError: the server refused
        """
        request = Request(path=pod_path(self._chosen(namespace), name), timeout=request_timeout)
        return kubernetes_object(await self._client.request(request), request)

    async def list(
        self,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
    ) -> list[dict[str, Any]]:
        """The pods of the namespace, as the API's JSON objects.

        :param label_selector: as ``app=web,tier!=cache``
        :param field_selector: as ``status.phase=Running``
        :raises ApiError: the server refused
        """
        selectors = (("labelSelector", label_selector), ("fieldSelector", field_selector))
        query = [(key, value) for key, value in selectors if value is not None]
        request = Request(path=pods_path(self._chosen(namespace)), query=query, timeout=request_timeout)
        response = await self._client.request(request)
        items = kubernetes_object(response, request).get("items", {})
        if items is None:  # Go's empty list
            return []
        if not isinstance(items, list):
            raise unexpected(request, response.status_code, "no list")
        return [item for item in items if isinstance(item, dict)]

    async def wait(
        self, name: str, condition: str = "Ready", *, namespace: str | None = None, timeout: float | None = 60.0
    ) -> dict[str, Any]:
        """Wait until a pod has a condition, and give the pod.

        :param condition: a condition's type, as ``Ready`` or ``Initialized``, or a phase, as ``Running`` or ``Succeeded``; case does not
            matter
        :param timeout: seconds; None waits for ever
        :raises NotFound: there is no such pod, or it was deleted meanwhile
        :raises StreamTimeout: too late; the text says how the pod was seen last
        :raises ValueError: a timeout that is no positive number, an empty condition
        :raises ApiError: the pod has ended, so the condition cannot come any more, or the server refused
        """
        if not condition:
            raise ValueError("condition is empty; name one, as 'Ready'")
        limit = Timeout.coerce(timeout)
        seconds = None if limit is None else limit.total
        pod: dict[str, Any] = {}
        with anyio.move_on_after(seconds):
            while True:
                pod, seen = await self.get(name, namespace=namespace), 0
                async with aclosing(self._changes(pod, name, namespace)) as changes:
                    async for pod in changes:
                        if _has(pod, condition):
                            return pod
                        _check_alive(pod, name, condition)
                        seen += 1
                if seen == 1:
                    await anyio.sleep(_PAUSE)
        phase = _status(pod).get("phase", "unknown")
        raise StreamTimeout(f"pod {name!r} was not {condition} within {seconds:g} s; its phase is {phase}")

    def _chosen(self, namespace: str | None) -> str:
        return self._namespace if namespace is None else namespace

    async def _changes(
        self, pod: dict[str, Any], name: str, namespace: str | None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The pod, and the pod after each change, until the watch ends."""
        yield pod
        version = pod["metadata"].get("resourceVersion", "")
        query = [("watch", "1"), ("fieldSelector", f"metadata.name={name}"), ("resourceVersion", str(version))]
        request = Request(path=pods_path(self._chosen(namespace)), query=query)
        async with self._client.stream(request) as response:
            rest = b""
            try:
                async for piece in response:
                    *lines, rest = (rest + piece).split(b"\n")
                    for line in lines:
                        kind, changed = _event(line, request, response.status_code)
                        if kind == "ERROR":
                            return  # too old a version, most likely: whoever reads gets the pod anew
                        if kind == "DELETED":
                            raise NotFound(f"pod {name!r} was deleted", status_code=404)
                        yield changed
            except ConnectionLost:
                return


def _event(line: bytes, request: Request, status_code: int) -> tuple[str, dict[str, Any]]:
    try:
        event = json.loads(line)
        kind, changed = event["type"], event["object"]
    except (ValueError, TypeError, KeyError):
        raise unexpected(request, status_code, "no watch event") from None
    if not isinstance(changed, dict):
        raise unexpected(request, status_code, "no watch event")
    return kind, changed


def _status(pod: dict[str, Any]) -> dict[str, Any]:
    status = pod.get("status")
    return status if isinstance(status, dict) else {}


def _has(pod: dict[str, Any], condition: str) -> bool:
    status = _status(pod)
    if str(status.get("phase", "")).lower() == condition.lower():
        return True
    return any(
        str(entry.get("type", "")).lower() == condition.lower() and entry.get("status") == "True"
        for entry in status.get("conditions") or ()
    )


def _check_alive(pod: dict[str, Any], name: str, condition: str) -> None:
    phase = _status(pod).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise ApiError(f"pod {name!r} has ended ({phase}) and will not be {condition}", status_code=409)
