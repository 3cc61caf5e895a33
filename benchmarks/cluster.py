"""The second command's target: a pod of its own on the cluster that a kubeconfig names, or one that is there already."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio

from benchmarks.clients.base import ECHO_PORT, SEND_PORT, Place
from kubex_stream import BaseClient, ClientConfiguration, Pods, create_client
from kubex_stream.client import Request

__all__ = ("Cluster", "cluster_pod")

#: What the pod serves with, in a busybox: the ports that port-forwards are measured with.  Its builds differ in how nc goes on listening.
_SERVE: Final = (
    'serve() {{ port=$1; shift; nc -ll -p $port -e "$@" || nc -lk -p $port -e "$@"; }}; serve {echo} cat & '
    "serve {send} sh -c 'read n; head -c $n /dev/zero' & wait"
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A real pod; frames have the size that its servers choose, and it is TLS or not as its kubeconfig says."""

    where: Place

    def place(self, *, tls: bool, protocol: str = "tunnel") -> Place:  # noqa: ARG002
        """Where the pod is."""
        return replace(self.where, protocol=protocol)

    def command(self, scenario: str, frame: int, total: int) -> tuple[str, ...]:  # noqa: ARG002
        """What the pod runs."""
        match scenario:
            case "down" | "run" | "busy":
                return ("head", "-c", str(total), "/dev/zero")
            case "up":
                # Ends by itself, for clients that cannot end stdin; a busybox's head alone does not always read as much as it says.
                return ("sh", "-c", f"head -c {total} | wc -c")
            case "duplex":
                return ("head", "-c", str(total))
            case "session":
                return ("true",)
            case "idle":
                return ("sleep", "60")  # it outlives its session
            case _:
                return ("cat",)

    def server_cpu(self) -> float:
        """Nobody knows."""
        return 0.0


def _pod(name: str, image: str) -> dict[str, Any]:
    command = _SERVE.format(echo=ECHO_PORT, send=SEND_PORT)
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", command],
    }
    spec = {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


@asynccontextmanager
async def _client(kubeconfig: str, context: str | None) -> AsyncGenerator[BaseClient, None]:
    configuration = await ClientConfiguration.load(kubeconfig=kubeconfig, context=context)
    async with create_client(configuration) as client:
        yield client


@contextmanager
def cluster_pod(
    kubeconfig: str, *, context: str | None, namespace: str | None, pod: str | None, image: str
) -> Generator[Cluster, None, None]:
    """A target on a real cluster.

    :param namespace: None for the context's
    :param pod: one that is there; it has busybox's programs, and the ports where port-forwards are to be measured.  None: one is made of
        ``image``, and deleted when the block ends
    :param image: of a busybox
    """

    def run(work: Callable[[BaseClient, str], Awaitable[None]]) -> str:
        async def main() -> str:
            async with _client(kubeconfig, context) as client:
                chosen = namespace or client.configuration.namespace
                await work(client, chosen)
                return chosen

        return anyio.run(main)

    name = pod or f"kubex-stream-bench-{secrets.token_hex(4)}"

    async def make(client: BaseClient, chosen: str) -> None:
        if pod is None:
            body = json.dumps(_pod(name, image)).encode()
            path, kind = f"/api/v1/namespaces/{chosen}/pods", {"Content-Type": "application/json"}
            await client.request(Request(method="POST", path=path, body=body, headers=kind))
        await Pods(client, chosen).wait(name, "Ready", timeout=120)

    async def remove(client: BaseClient, chosen: str) -> None:
        await client.request(Request(method="DELETE", path=f"/api/v1/namespaces/{chosen}/pods/{name}"))

    try:
        chosen = run(make)
        yield Cluster(Place(kubeconfig, context, chosen, name))
    finally:
        if pod is None:
            run(remove)
