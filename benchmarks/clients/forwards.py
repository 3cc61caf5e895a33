"""Port-forwards: through streams in the client's own process, and through local ports of a forwarder in a process of its own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Final

from benchmarks.clients.base import ECHO, Client
from benchmarks.processes import cpu_of
from kubex_stream import ClientConfiguration, Pods, create_client

__all__ = ("ConnectAioHttp", "ConnectHttpx", "ConnectPicows", "KubectlListen", "ListenAioHttp", "ListenPicows")

_LOCAL: Final = re.compile(r"127\.0\.0\.1:(\d+) -> ")


class _Connect(Client):
    """``portforward.connect``: a stream, and no local port."""

    backend: ClassVar[str]

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        place = self.place
        configuration = await ClientConfiguration.load(kubeconfig=place.kubeconfig, context=place.context)
        protocol: Any = place.protocol
        async with (
            create_client(configuration, backend=self.backend) as client,
            Pods(client, namespace=place.namespace).portforward.forwarder(
                place.pod, protocol=protocol
            ) as self._forwarder,
        ):
            yield

    async def forward_down(self, total: int) -> int:
        got = 0
        async with self._forwarder.connect(self.send_port) as stream:
            await stream.send(b"%d\n" % total)
            async for piece in stream:
                got += len(piece)
        return got

    async def forward_echo(self, count: int) -> list[float]:
        times, data = [], bytes(ECHO)
        async with self._forwarder.connect(self.echo_port) as stream:
            for _ in range(count):
                begun = time.perf_counter()
                await stream.send(data)
                await stream.receive()
                times.append(time.perf_counter() - begun)
        return times

    async def forward_session(self) -> None:
        async with self._forwarder.connect(self.echo_port) as stream:
            await stream.send(b"x")
            await stream.receive()


class ConnectAioHttp(_Connect):
    """Over aiohttp."""

    backend = "aiohttp"


class ConnectHttpx(_Connect):
    """Over httpx."""

    backend = "httpx"


class ConnectPicows(_Connect):
    """Over picows."""

    backend = "picows"


class _Listening(Client):
    """A forwarder in a process of its own, whose CPU time is what counts; blocking sockets at its local ports."""

    def command(self) -> list[str]:
        """What starts it; it prints a line ``127.0.0.1:LOCAL -> …`` for the sending port, and one for the echoing."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None, None]:
        with _started(self.command()) as process:
            assert process.stdout is not None
            try:
                ports: list[int] = []
                while len(ports) < 2:
                    line = process.stdout.readline()
                    if not line:
                        raise RuntimeError("the forwarder has ended")
                    ports += [int(found) for found in _LOCAL.findall(line)]
                self._process, (self._send, self._echo) = process.pid, ports
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield
            finally:
                process.terminate()

    def cpu_clock(self) -> float:
        return cpu_of(self._process) or 0.0

    async def forward_down(self, total: int) -> int:
        got, buffer = 0, bytearray(262144)
        with _dial(self._send) as connection:
            connection.sendall(b"%d\n" % total)
            while count := connection.recv_into(buffer):
                got += count
        return got

    async def forward_echo(self, count: int) -> list[float]:
        times, data = [], bytes(ECHO)
        with _dial(self._echo) as connection:
            for _ in range(count):
                begun = time.perf_counter()
                connection.sendall(data)
                if not connection.recv(ECHO):
                    raise ConnectionError("the forwarder has cut the connection")
                times.append(time.perf_counter() - begun)
        return times

    async def forward_session(self) -> None:
        with _dial(self._echo) as connection:
            connection.sendall(b"x")
            if not connection.recv(1):
                raise ConnectionError("the forwarder has cut the connection")


def _started(command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)


def _dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class _Listen(_Listening):
    """``portforward.listen``."""

    backend: ClassVar[str]

    def command(self) -> list[str]:
        place = self.place
        given = [place.kubeconfig, place.context or "", place.namespace, place.pod, place.protocol]
        ports = [str(self.send_port), str(self.echo_port)]
        return [sys.executable, "-m", "benchmarks.clients.forwarder", self.backend, *given, *ports]


class ListenAioHttp(_Listen):
    """Over aiohttp."""

    backend = "aiohttp"


class ListenPicows(_Listen):
    """Over picows."""

    backend = "picows"


class KubectlListen(_Listening):
    """``kubectl port-forward``: client-go's tunnel."""

    def command(self) -> list[str]:
        place = self.place
        context = ["--context", place.context] if place.context else []
        return [
            os.environ.get("KUBECTL", "kubectl"), "--kubeconfig", place.kubeconfig, *context, "--namespace", place.namespace,
            "port-forward", "--address", "127.0.0.1", f"pod/{place.pod}", f":{self.send_port}", f":{self.echo_port}",
        ]  # fmt: skip
