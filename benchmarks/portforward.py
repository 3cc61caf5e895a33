"""Port-forwards beside a bare TCP relay in Python and beside kubectl: throughput, latency, connections per second.

    python benchmarks/portforward.py [--rounds 7] [--mebibytes 100] [--protocol tunnel] [--kubectl kubectl]
    python benchmarks/portforward.py --target deploy/echo --send 8083 --echo 8080       # what KUBECONFIG names

Without ``--target`` an embedded cluster, in a process of its own, forwards to a server in another one.  Every way has its own process and
takes its turn in each round; the same client measures them all through local ports, and ``connect``, which has none, in its own process.
Reported are medians, and the medians and ranges of the ratios of neighbours: machines are noisy, absolute figures say little.  ``relay`` goes
to the server directly, so with an embedded cluster only; its row says what the machine can do, not what a cluster could.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread

from kubex_stream import ClientConfiguration, Pods, PortForwarder, create_client
from kubex_stream.api.forwarder import PortForwardProtocol
from kubex_stream.testing import EmbeddedCluster, EmbeddedPod, EmbeddedPort

SEND, ECHO = 8083, 8080
ECHOES, CONNECTIONS = 300, 150
FIGURES = ("MB/s", "echo p50 µs", "echo p99 µs", "connections/s")
Figures = dict[str, float]


# The server -----------------------------------------------------------------------------------------------------------


def send_many(connection: socket.socket) -> None:
    wanted = int(connection.makefile("rb").readline())
    block = bytes(262144)
    while wanted > 0:
        connection.sendall(block[: min(len(block), wanted)])
        wanted -= len(block)


def give_back(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def serve(handle: Callable[[socket.socket], None]) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)

    def one(connection: socket.socket) -> None:
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                handle(connection)
            except OSError:
                return

    def accept() -> None:
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def server() -> None:
    say(send=serve(send_many), echo=serve(give_back))
    sys.stdin.read()


def cluster(send: str, echo: str) -> None:
    ports = [EmbeddedPort(SEND, target=int(send)), EmbeddedPort(ECHO, target=int(echo))]
    with EmbeddedCluster([EmbeddedPod("bench", ports=ports)], quiet=True) as embedded:
        say(kubeconfig=str(embedded.kubeconfig))
        sys.stdin.read()


# The ways -------------------------------------------------------------------------------------------------------------


async def pump(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    try:
        while data := await loop.sock_recv(source, 262144):
            await loop.sock_sendall(sink, data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


async def relay_to(port: int, listener: socket.socket) -> None:
    loop, tasks = asyncio.get_running_loop(), set[asyncio.Task[None]]()

    async def one(near: socket.socket) -> None:
        with near, socket.socket() as far:
            for each in (near, far):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(far, ("127.0.0.1", port))
            await asyncio.gather(pump(near, far), pump(far, near))

    while True:
        task = asyncio.create_task(one((await loop.sock_accept(listener))[0]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def relay(send: str, echo: str) -> None:
    async def run() -> None:
        listeners = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2)]
        for listener in listeners:
            listener.setblocking(False)
        say(send=listeners[0].getsockname()[1], echo=listeners[1].getsockname()[1])
        serving = asyncio.gather(relay_to(int(send), listeners[0]), relay_to(int(echo), listeners[1]))
        await asyncio.to_thread(sys.stdin.read)
        serving.cancel()

    asyncio.run(run())


def listen(backend: str, protocol: PortForwardProtocol, target: str, send: str, echo: str) -> None:
    async def run() -> None:
        async with create_client(await ClientConfiguration.load(), backend=backend) as client:
            ports = [f":{send}", f":{echo}"]
            portforward = Pods(client).portforward
            async with portforward.listen(target, ports, address="127.0.0.1", protocol=protocol) as listeners:
                say(send=listeners[0].local_port, echo=listeners[1].local_port)
                await anyio.to_thread.run_sync(sys.stdin.read)

    anyio.run(run)


def connect(backend: str, protocol: PortForwardProtocol, target: str, send: str, echo: str) -> None:
    async def run() -> None:
        async with (
            create_client(await ClientConfiguration.load(), backend=backend) as client,
            Pods(client).portforward.forwarder(target, protocol=protocol) as forwarder,
        ):
            say()
            while line := await asyncio.to_thread(sys.stdin.readline):
                say(**await measure_streams(forwarder, int(send), int(echo), int(line)))

    anyio.run(run)


async def measure_streams(forwarder: PortForwarder, send: int, echo: int, size: int) -> Figures:
    async with forwarder.connect(send) as stream:
        begun, got = time.perf_counter(), 0
        await stream.send(b"%d\n" % size)
        async for piece in stream:
            got += len(piece)
            if got == size:
                break
        speed = size / (time.perf_counter() - begun) / 1e6
    times = []
    async with forwarder.connect(echo) as stream:
        for _ in range(ECHOES):
            begun = time.perf_counter()
            await stream.send(bytes(64))
            await stream.receive()
            times.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    for _ in range(CONNECTIONS):
        async with forwarder.connect(echo) as stream:
            await stream.send(b"x")
            await stream.receive()
    return figures(speed, times, CONNECTIONS / (time.perf_counter() - begun))


# Measuring ------------------------------------------------------------------------------------------------------------


def figures(speed: float, times: list[float], rate: float) -> Figures:
    times.sort()
    middle, late = times[len(times) // 2], times[len(times) * 99 // 100]
    return dict(zip(FIGURES, (speed, middle * 1e6, late * 1e6, rate), strict=True))


def dial(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def measure_ports(send: int, echo: int, size: int) -> Figures:
    buffer, got, times = bytearray(262144), 0, []
    with dial(send) as connection:
        begun = time.perf_counter()
        connection.sendall(b"%d\n" % size)
        while got < size and (count := connection.recv_into(buffer)):
            got += count
        speed = got / (time.perf_counter() - begun) / 1e6
    assert got == size, "the connection was cut"
    with dial(echo) as connection:
        for _ in range(ECHOES):
            begun = time.perf_counter()
            connection.sendall(bytes(64))
            assert connection.recv(64)
            times.append(time.perf_counter() - begun)
    begun = time.perf_counter()
    for _ in range(CONNECTIONS):
        with dial(echo) as connection:
            connection.sendall(b"x")
            assert connection.recv(1)
    return figures(speed, times, CONNECTIONS / (time.perf_counter() - begun))


def say(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


@dataclass
class Way:
    """One way to reach the server, in a process of its own."""

    name: str
    measure: Callable[[int], Figures]


@contextmanager
def process(*words: str, env: Mapping[str, str] | None = None) -> Generator[subprocess.Popen[str], None, None]:
    command = [sys.executable, __file__, *words]
    environment = {**os.environ, **(env or {})}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        try:
            yield child
        finally:
            assert child.stdin is not None
            child.stdin.close()  # at which it ends
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()


def said(child: subprocess.Popen[str]) -> dict[str, Any]:
    assert child.stdout is not None
    line = child.stdout.readline()
    if not line:
        raise SystemExit("a process of the benchmark has ended; its error stands above")
    values: dict[str, Any] = json.loads(line)
    return values


@contextmanager
def kubectl(command: str, target: str, send: int, echo: int) -> Generator[tuple[int, int], None, None]:
    with subprocess.Popen(
        [*command.split(), "port-forward", "--address", "127.0.0.1", target, f":{send}", f":{echo}"],
        stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        try:
            assert child.stdout is not None
            first, second = (int(child.stdout.readline().split("127.0.0.1:")[1].split()[0]) for _ in range(2))
            threading.Thread(target=child.stdout.read, daemon=True).start()
            yield first, second
        finally:
            child.kill()


def ways(given: argparse.Namespace, stack: ExitStack) -> list[Way]:
    target, send, echo = given.target, given.send, given.echo
    found: list[Way] = []

    def through(name: str, first: float, second: float) -> None:
        found.append(Way(name, lambda size: measure_ports(int(first), int(second), size)))

    if target is None:
        target, send, echo = "bench", SEND, ECHO
        ports = said(stack.enter_context(process("server")))
        served = (str(ports["send"]), str(ports["echo"]))
        embedded = said(stack.enter_context(process("cluster", *served)))
        os.environ["KUBECONFIG"] = str(embedded["kubeconfig"])
        relayed = said(stack.enter_context(process("relay", *served)))
        through("relay", relayed["send"], relayed["echo"])
    for backend in ("aiohttp", "httpx"):
        words = (backend, given.protocol, target, str(send), str(echo))
        listening = said(stack.enter_context(process("listen", *words)))
        through(f"listen, {backend}", listening["send"], listening["echo"])
        child = stack.enter_context(process("connect", *words))
        said(child)
        found.append(Way(f"connect, {backend}", lambda size, child=child: asked(child, size)))  # type: ignore[misc]
    if shutil.which(given.kubectl.split()[0]):
        through("kubectl", *stack.enter_context(kubectl(given.kubectl, target, send, echo)))
    return found


def asked(child: subprocess.Popen[str], size: int) -> Figures:
    assert child.stdin is not None
    child.stdin.write(f"{size}\n")
    child.stdin.flush()
    return said(child)


def report(rounds: Mapping[str, Sequence[Figures]]) -> str:
    lines = [f"| way | {' | '.join(FIGURES)} |", f"|---|{'---|' * len(FIGURES)}"]
    for name, measured in rounds.items():
        lines.append(f"| {name} | {' | '.join(f'{middle(measured, figure):.0f}' for figure in FIGURES)} |")
    for base in ("relay", "kubectl"):
        if base not in rounds:
            continue
        lines += ["", f"| ÷ {base} | {' | '.join(FIGURES)} |", f"|---|{'---|' * len(FIGURES)}"]
        for name, measured in rounds.items():
            if name != base:
                cells = [ratio(measured, rounds[base], figure) for figure in FIGURES]
                lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def middle(measured: Sequence[Figures], figure: str) -> float:
    return statistics.median(each[figure] for each in measured)


def ratio(measured: Sequence[Figures], base: Sequence[Figures], figure: str) -> str:
    ratios = sorted(one[figure] / other[figure] for one, other in zip(measured, base, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Port-forwards beside a bare relay and kubectl.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--mebibytes", type=int, default=100)
    parser.add_argument("--protocol", choices=["tunnel", "legacy"], default="tunnel")
    parser.add_argument("--target", help="a pod, svc/… or deploy/… of the cluster that KUBECONFIG names")
    parser.add_argument("--send", type=int, default=SEND, help="its port that reads N and a newline and sends N bytes")
    parser.add_argument("--echo", type=int, default=ECHO, help="its port that gives back what it gets")
    parser.add_argument("--kubectl", default="kubectl")
    given = parser.parse_args()
    with ExitStack() as stack:
        found = ways(given, stack)
        rounds: dict[str, list[Figures]] = {way.name: [] for way in found}
        for number in range(given.rounds + 1):
            for way in found:
                sys.stderr.write(f"\rround {number} of {given.rounds}: {way.name:<20}")
                sys.stderr.flush()
                measured = way.measure(given.mebibytes * 2**20)
                if number:  # the first round warms up
                    rounds[way.name].append(measured)
        sys.stderr.write("\r" + " " * 60 + "\r")
        sys.stdout.write(report(rounds))


ROLES: dict[str, Callable[..., None]] = {
    "server": server, "cluster": cluster, "relay": relay, "listen": listen, "connect": connect,
}  # fmt: skip

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ROLES:
        ROLES[sys.argv[1]](*sys.argv[2:])
    else:
        main()
