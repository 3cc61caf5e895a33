"""Logs and watches of the official client and of its asynchronous twin: with their ``Watch``, and as cheaply as they can be had from them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.clients.base import selector
from benchmarks.clients.peers import Kubernetes, KubernetesAsyncio, module

__all__ = ("KubernetesAsyncioLines", "KubernetesAsyncioWatch", "KubernetesLines", "KubernetesWatch")

_LISTS = {"pods": "list_namespaced_pod", "configmaps": "list_namespaced_config_map"}


class KubernetesWatch(Kubernetes):
    """kubernetes' ``Watch().stream``, whose objects are models."""

    #: Of its watches.
    options: dict[str, Any] = {}  # noqa: RUF012

    async def log_read(self, lines: int) -> int:
        place = self.place
        text = self._api.read_namespaced_pod_log(place.log_pod, place.namespace, timestamps=True, tail_lines=lines)
        return len(text)

    async def log_follow(self, lines: int) -> int:
        got, place = 0, self.place
        read = self._api.read_namespaced_pod_log
        stream = module("kubernetes.watch").Watch().stream
        for _ in stream(read, place.log_pod, place.namespace, timestamps=True, tail_lines=lines):
            got += 1
        return got

    async def watch(self, resource: str, events: int) -> int:
        got, watch, listed = 0, module("kubernetes.watch").Watch(), getattr(self._api, _LISTS[resource])
        for _ in watch.stream(listed, self.place.namespace, label_selector=selector(events), **self.options):
            got += 1
            if got == events:
                watch.stop()
        return got


class KubernetesLines(KubernetesWatch):
    """kubernetes with ``_preload_content=False`` for a log, and with ``deserialize=False`` for a watch, whose objects are then dicts."""

    options = {"deserialize": False}  # noqa: RUF012

    async def log_follow(self, lines: int) -> int:
        got, place = 0, self.place
        response = self._api.read_namespaced_pod_log(
            place.log_pod, place.namespace, follow=True, timestamps=True, tail_lines=lines, _preload_content=False
        )
        for _ in response:
            got += 1
        response.release_conn()
        return got


class KubernetesAsyncioWatch(KubernetesAsyncio):
    """kubernetes_asyncio's ``Watch().stream``, whose objects are models."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        client, config = module("kubernetes_asyncio.client"), module("kubernetes_asyncio.config")
        settings = client.Configuration()
        await config.load_kube_config(self.place.kubeconfig, context=self.place.context, client_configuration=settings)
        async with client.ApiClient(settings) as api:
            self._api = client.CoreV1Api(api)
            yield

    async def log_read(self, lines: int) -> int:
        place = self.place
        read = self._api.read_namespaced_pod_log
        return len(await read(place.log_pod, place.namespace, timestamps=True, tail_lines=lines))

    async def log_follow(self, lines: int) -> int:
        got, place = 0, self.place
        read, watch = self._api.read_namespaced_pod_log, module("kubernetes_asyncio.watch").Watch()
        async with watch.stream(read, place.log_pod, place.namespace, timestamps=True, tail_lines=lines) as stream:
            async for _ in stream:
                got += 1
        return got

    async def watch(self, resource: str, events: int) -> int:
        got, listed = 0, getattr(self._api, _LISTS[resource])
        watch = module("kubernetes_asyncio.watch").Watch()
        async with watch.stream(listed, self.place.namespace, label_selector=selector(events)) as stream:
            async for _ in stream:
                got += 1
                if got == events:
                    break
        return got


class KubernetesAsyncioLines(KubernetesAsyncioWatch):
    """kubernetes_asyncio with ``_preload_content=False``: its caller gets aiohttp's response, and reads its lines."""

    async def log_follow(self, lines: int) -> int:
        got, place = 0, self.place
        response = await self._api.read_namespaced_pod_log(
            place.log_pod, place.namespace, follow=True, timestamps=True, tail_lines=lines, _preload_content=False
        )
        async for _ in response.content:
            got += 1
        response.release()
        return got

    async def watch(self, resource: str, events: int) -> int:
        listed = getattr(self._api, _LISTS[resource])
        response = await listed(
            self.place.namespace, watch=True, label_selector=selector(events), _preload_content=False
        )
        for _ in range(events):
            json.loads(await response.content.readline())
        response.close()
        return events
