"""Other clients of Kubernetes for Python, used as their documentation shows."""

from __future__ import annotations

import asyncio
import importlib
import io
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from benchmarks.clients.base import CHUNK, ECHO, Client, selector

__all__ = ("Kr8s", "Kubernetes", "KubernetesAsyncio", "KubernetesAsyncioPreload", "Lightkube", "module")


def module(name: str) -> Any:
    """A library that need not be there, and whose types nobody here counts on."""
    return importlib.import_module(name)


class _Nowhere(io.RawIOBase):
    """A file that counts and drops."""

    total = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.total += len(data)
        return len(data)


class KubernetesAsyncio(Client):
    """kubernetes_asyncio with ``_preload_content=False``: its caller gets aiohttp's WebSocket, and takes the channels apart."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        client, config = module("kubernetes_asyncio.client"), module("kubernetes_asyncio.config")
        api_client = module("kubernetes_asyncio.stream").WsApiClient
        place = self.place
        settings = client.Configuration()
        await config.load_kube_config(place.kubeconfig, context=place.context, client_configuration=settings)
        async with api_client(settings) as api:
            self._api = client.CoreV1Api(api)
            yield

    async def _exec(self, command: Sequence[str], *, stdin: bool = False, preload: bool = False) -> Any:
        return await self._api.connect_get_namespaced_pod_exec(
            self.place.pod, self.place.namespace, command=list(command),
            stdin=stdin, stdout=True, stderr=True, tty=False, _preload_content=preload,
        )  # fmt: skip

    async def down(self, command: Sequence[str]) -> int:
        total = 0
        async with await self._exec(command) as ws:
            async for message in ws:
                if message.data[0] == 1:
                    total += len(message.data) - 1
        return total

    async def run(self, command: Sequence[str]) -> int:
        buffer = bytearray()
        async with await self._exec(command) as ws:
            async for message in ws:
                if message.data[0] == 1:
                    buffer += message.data[1:]
        return len(buffer)

    async def up(self, command: Sequence[str], total: int) -> int:
        chunk, sent = bytes(CHUNK), 0
        async with await self._exec(command, stdin=True) as ws:
            while sent < total:
                await ws.send_bytes(b"\0" + chunk)
                sent += len(chunk)
            async for _ in ws:
                pass
        return sent

    async def duplex(self, command: Sequence[str], total: int) -> int:
        chunk, got = bytes(CHUNK), 0
        async with await self._exec(command, stdin=True) as ws:

            async def send() -> None:
                for _ in range(total // CHUNK):
                    await ws.send_bytes(b"\0" + chunk)

            task = asyncio.create_task(send())
            async for message in ws:
                if message.data[0] == 1:
                    got += len(message.data) - 1
            await task
        return got

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        times, data = [], bytes(ECHO)
        async with await self._exec(command, stdin=True) as ws:
            for _ in range(count):
                begun = time.perf_counter()
                await ws.send_bytes(b"\0" + data)
                while len((await ws.receive()).data) < 2:
                    pass
                times.append(time.perf_counter() - begun)
        return times

    async def session(self, command: Sequence[str]) -> None:
        await self.down(command)


class KubernetesAsyncioPreload(KubernetesAsyncio):
    """kubernetes_asyncio as it is by default: one string at the end."""

    async def run(self, command: Sequence[str]) -> int:
        return len(await self._exec(command, preload=True))

    async def session(self, command: Sequence[str]) -> None:
        await self.run(command)


class Kubernetes(Client):
    """kubernetes, which blocks: ``stream`` with ``_preload_content=False`` for what is read as it comes."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        client, config = module("kubernetes.client"), module("kubernetes.config")
        place = self.place
        settings = client.Configuration()
        config.load_kube_config(place.kubeconfig, context=place.context, client_configuration=settings)
        with client.ApiClient(settings) as api:
            self._api = client.CoreV1Api(api)
            yield

    def _exec(self, command: Sequence[str], *, stdin: bool = False, preload: bool = False) -> Any:
        return module("kubernetes.stream").stream(
            self._api.connect_get_namespaced_pod_exec, self.place.pod, self.place.namespace, command=list(command),
            stdin=stdin, stdout=True, stderr=True, tty=False, binary=True, _preload_content=preload,
        )  # fmt: skip

    async def down(self, command: Sequence[str]) -> int:
        total, session = 0, self._exec(command)
        while session.is_open():
            session.update(timeout=10)
            total += len(session.read_stdout(timeout=0))
        session.close()
        return total

    async def run(self, command: Sequence[str]) -> int:
        return len(self._exec(command, preload=True))

    async def up(self, command: Sequence[str], total: int) -> int:
        chunk, sent, session = bytes(CHUNK), 0, self._exec(command, stdin=True)
        while sent < total:
            session.write_stdin(chunk)
            sent += len(chunk)
        session.run_forever(timeout=60)
        session.close()
        return sent

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        times, data, session = [], bytes(ECHO), self._exec(command, stdin=True)
        for _ in range(count):
            begun = time.perf_counter()
            session.write_stdin(data)
            session.read_stdout(timeout=10)
            times.append(time.perf_counter() - begun)
        session.close()
        return times

    async def session(self, command: Sequence[str]) -> None:
        await self.run(command)


class Kr8s(Client):
    """kr8s: ``exec`` with a file for what is not kept."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        place = self.place
        self._kr8s = await module("kr8s.asyncio").api(
            kubeconfig=place.kubeconfig, context=place.context, namespace=place.namespace
        )
        self._pod = await self._get(place.pod)
        self._log_pod: Any = None
        yield

    async def _get(self, name: str) -> Any:
        return await module("kr8s.asyncio.objects").Pod.get(name, namespace=self.place.namespace, api=self._kr8s)

    async def _log(self, lines: int, **options: Any) -> Any:
        self._log_pod = self._log_pod or await self._get(self.place.log_pod)
        return self._log_pod.logs(timestamps=True, tail_lines=lines, **options)

    async def log_read(self, lines: int) -> int:
        return len("\n".join([line async for line in await self._log(lines)])) + 1

    async def log_follow(self, lines: int) -> int:
        got = 0
        async for _ in await self._log(lines, follow=True, timeout=None):
            got += 1
        return got

    async def watch(self, resource: str, events: int) -> int:
        got, where = 0, self.place.namespace
        async with aclosing(self._kr8s.watch(resource, namespace=where, label_selector=selector(events))) as changes:
            async for _ in changes:
                got += 1
                if got == events:
                    break
        return got

    async def down(self, command: Sequence[str]) -> int:
        sink: Any = _Nowhere()
        await self._pod.exec(list(command), stdout=sink, capture_output=False)
        return int(sink.total)

    async def run(self, command: Sequence[str]) -> int:
        return len((await self._pod.exec(list(command))).stdout)

    async def session(self, command: Sequence[str]) -> None:
        await self.run(command)


class Lightkube(Client):
    """lightkube: ``exec`` with a file for what is not kept."""

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        lightkube = module("lightkube")
        place = self.place
        config = lightkube.KubeConfig.from_file(place.kubeconfig).get(context_name=place.context)
        self._client: Any = lightkube.AsyncClient(config=config, namespace=place.namespace)
        try:
            yield
        finally:
            await self._client.close()

    async def down(self, command: Sequence[str]) -> int:
        sink: Any = _Nowhere()
        await self._client.exec(self.place.pod, command=list(command), stdout=sink)
        return int(sink.total)

    async def run(self, command: Sequence[str]) -> int:
        answer = await self._client.exec(self.place.pod, command=list(command), stdout=True, stderr=True, decode=None)
        return len(answer.stdout or b"")

    async def up(self, command: Sequence[str], total: int) -> int:
        await self._client.exec(self.place.pod, command=list(command), stdin=io.BytesIO(bytes(total)), stdout=True)
        return total

    async def session(self, command: Sequence[str]) -> None:
        await self.run(command)

    async def log_read(self, lines: int) -> int:
        log = self._client.log(self.place.log_pod, timestamps=True, tail_lines=lines)
        return len("".join([line async for line in log]))

    async def log_follow(self, lines: int) -> int:
        got = 0
        async for _ in self._client.log(self.place.log_pod, follow=True, timestamps=True, tail_lines=lines):
            got += 1
        return got

    async def watch(self, resource: str, events: int) -> int:
        core, got = module("lightkube.resources.core_v1"), 0
        kind = {"pods": core.Pod, "configmaps": core.ConfigMap}[resource]
        async with aclosing(self._client.watch(kind, labels={"events": str(events)})) as changes:
            async for _ in changes:
                got += 1
                if got == events:
                    break
        return got
