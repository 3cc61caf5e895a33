"""Pods: the few requests that streaming needs, and the door to exec and attach."""

from __future__ import annotations

from types import EllipsisType
from typing import Any

from kubex_stream.api.attach import Attach
from kubex_stream.api.cp import Cp
from kubex_stream.api.exec import Exec
from kubex_stream.api.logs import Logs
from kubex_stream.api.objects import kubernetes_object, unexpected
from kubex_stream.api.portforward import PortForward
from kubex_stream.api.request import check_name, pod_path, pods_path
from kubex_stream.api.waiting import wait_for_pod
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request
from kubex_stream.core.params import TimeoutTypes

__all__ = ("Pods",)


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
        #: What they have written.
        self.logs = Logs(client, self._namespace)
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

        :param condition: a condition's type, as ``Ready`` or ``Initialized``, or a phase, as ``Running`` or ``Succeeded``; or in the words of
            ``kubectl wait``: ``condition=Ready=False``, ``phase=Running``, ``jsonpath={.status.podIP}``, ``jsonpath={.status.phase}=Running``,
            ``create``, and ``delete``, which gives the pod as it was last, ``{}`` where there was none.  Case does not matter, that of a path
            excepted; of several values that a path leads to, one has to be the wanted one.  A server that goes away meanwhile is waited for
        :param timeout: seconds; None waits for ever
        :raises NotFound: there is no such pod, or it was deleted meanwhile
        :raises StreamTimeout: too late; the text says how the pod was seen last
        :raises ValueError: a timeout that is no positive number, a condition that is none
        :raises ApiError: the pod has ended, so the condition cannot come any more, or the server refused
        """
        where = self._chosen(namespace)

        async def get() -> dict[str, Any]:
            return await self.get(name, namespace=where)

        return await wait_for_pod(self._client, get, name, where, condition, timeout)

    def _chosen(self, namespace: str | None) -> str:
        return self._namespace if namespace is None else namespace
