"""This library, on each of its backends."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar

import anyio

from benchmarks.clients.base import CHUNK, ECHO, Client, selector
from kubex_stream import BaseClient, ClientConfiguration, Pods, Watch, create_client

__all__ = ("AioHttp", "AioHttpFast", "Httpx", "Picows")


class Ours(Client):
    """Streams and runs as an application would write them."""

    backend: ClassVar[str]

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        place = self.place
        configuration = await ClientConfiguration.load(kubeconfig=place.kubeconfig, context=place.context)
        async with self.client(configuration) as client:
            self.pods = Pods(client, namespace=place.namespace)
            self.exec, self.pod = self.pods.exec, place.pod
            self.watches = Watch(client)
            yield

    def client(self, configuration: ClientConfiguration) -> BaseClient:
        """One with default options."""
        return create_client(configuration, backend=self.backend)

    async def down(self, command: Sequence[str]) -> int:
        total = 0
        async with self.exec.stream(self.pod, command) as process:
            async for chunk in process.stdout:
                total += len(chunk)
            await process.wait()
        return total

    async def run(self, command: Sequence[str]) -> int:
        return len((await self.exec.run(self.pod, command)).stdout)

    async def up(self, command: Sequence[str], total: int) -> int:
        chunk, sent = bytes(CHUNK), 0
        async with self.exec.stream(self.pod, command, stdin=True, stderr=False) as process:
            while sent < total:
                await process.stdin.send(chunk)
                sent += len(chunk)
            await process.stdin.aclose()
            await process.wait()
        return sent

    async def duplex(self, command: Sequence[str], total: int) -> int:
        chunk, got = bytes(CHUNK), 0
        async with (
            self.exec.stream(self.pod, command, stdin=True, stderr=False) as process,
            anyio.create_task_group() as tasks,
        ):

            async def send() -> None:
                for _ in range(total // CHUNK):
                    await process.stdin.send(chunk)
                await process.stdin.aclose()

            tasks.start_soon(send)
            async for piece in process.stdout:
                got += len(piece)
        return got

    async def echo(self, command: Sequence[str], count: int) -> list[float]:
        times, data = [], bytes(ECHO)
        async with self.exec.stream(self.pod, command, stdin=True, stderr=False) as process:
            for _ in range(count):
                begun = time.perf_counter()
                await process.stdin.send(data)
                await process.stdout.receive()
                times.append(time.perf_counter() - begun)
        return times

    async def session(self, command: Sequence[str]) -> None:
        await self.exec.run(self.pod, command)

    @asynccontextmanager
    async def idle(self, command: Sequence[str]) -> AsyncGenerator[None, None]:
        async with self.exec.stream(self.pod, command):
            yield

    async def log_read(self, lines: int) -> int:
        return len(await self.pods.logs.read(self.place.log_pod, tail=lines, timestamps=True))

    async def log_follow(self, lines: int) -> int:
        got = 0
        async with self.pods.logs.stream(self.place.log_pod, follow=True, tail=lines, timestamps=True) as log:
            async for _ in log:
                got += 1
        return got

    async def watch(self, resource: str, events: int) -> int:
        got = 0
        async with self.watches.stream(resource, label_selector=selector(events)) as changes:
            async for _ in changes:
                got += 1
                if got == events:
                    break
        return got


class AioHttp(Ours):
    """Over aiohttp."""

    backend = "aiohttp"


class AioHttpFast(AioHttp):
    """Over aiohttp, with aiofastnet's TLS."""

    def client(self, configuration: ClientConfiguration) -> BaseClient:
        from kubex_stream_aiohttp import AioHttpClient

        return AioHttpClient(configuration, tls="aiofastnet")


class Httpx(Ours):
    """Over httpx."""

    backend = "httpx"


class Picows(Ours):
    """Over picows."""

    backend = "picows"
