"""``python -m benchmarks.clients.forwarder BACKEND KUBECONFIG CONTEXT NAMESPACE POD PROTOCOL PORT…``: listeners, until a signal ends them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import anyio

from kubex_stream import ClientConfiguration, Pods, create_client


def say(local: int, remote: str) -> None:
    """Tell of a listener, in kubectl's words."""
    sys.stdout.write(f"Forwarding from 127.0.0.1:{local} -> {remote}\n")
    sys.stdout.flush()


async def listen(
    backend: str, kubeconfig: str, context: str, namespace: str, pod: str, protocol: Any, *ports: str
) -> None:
    """Listen with this library."""
    configuration = await ClientConfiguration.load(kubeconfig=kubeconfig, context=context or None)
    wanted = [f":{port}" for port in ports]
    async with (
        create_client(configuration, backend=backend) as client,
        Pods(client, namespace=namespace).portforward.listen(
            pod, wanted, address="127.0.0.1", protocol=protocol
        ) as listeners,
    ):
        for listener in listeners:
            say(listener.local_port, str(listener.remote_port))
        await anyio.sleep_forever()


def main(words: Sequence[str]) -> None:
    """Listen until a signal comes."""
    backend, kubeconfig, context, namespace, pod, protocol, *ports = words
    anyio.run(listen, backend, kubeconfig, context, namespace, pod, protocol, *ports)


if __name__ == "__main__":
    main(sys.argv[1:])
