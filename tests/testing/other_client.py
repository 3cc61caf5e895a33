"""A program: what one of the other Python clients makes of a cluster, as JSON on stdout.

``python other_client.py CLIENT KUBECONFIG``.  It runs in a process of its own, since those clients leave sockets and files behind.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from typing import Any, Final

SCRIPT: Final = ["sh", "-c", "echo out; echo err >&2; exit 7"]
WHERE: Final = ("demo", "default")


def _module(name: str) -> Any:
    """These packages are typed in parts, and wrongly for lists of words."""
    return importlib.import_module(name)


def use_kubernetes(kubeconfig: str) -> dict[str, Any]:
    stream = _module("kubernetes.stream").stream
    api = _module("kubernetes.client").CoreV1Api(_module("kubernetes.config").new_client_from_config(kubeconfig))
    both = {"stdout": True, "stderr": True, "_preload_content": False}
    session = stream(api.connect_get_namespaced_pod_exec, *WHERE, command=SCRIPT, **both)
    session.run_forever(timeout=30)
    fed = stream(api.connect_get_namespaced_pod_exec, *WHERE, command=["head", "-c", "6"], stdin=True, **both)
    fed.write_stdin("hello\n")
    fed.run_forever(timeout=30)
    events = _module("kubernetes.watch").Watch().stream(api.list_namespaced_pod, "default", timeout_seconds=1)
    return {
        "pods": [pod.metadata.name for pod in api.list_namespaced_pod("default").items],
        "exec": [session.read_stdout(), session.read_stderr(), session.returncode],
        "stdin": [fed.read_stdout(), fed.returncode],
        "watch": [[event["type"], event["object"].metadata.name] for event in events],
    }


async def _use_kubernetes_asyncio(kubeconfig: str) -> dict[str, Any]:
    client, client_of = _module("kubernetes_asyncio.client"), _module("kubernetes_asyncio.stream").WsApiClient
    configuration = client.Configuration()
    await _module("kubernetes_asyncio.config").load_kube_config(kubeconfig, client_configuration=configuration)
    async with client.ApiClient(configuration) as plain:
        listed = await client.CoreV1Api(plain).list_namespaced_pod("default")
    async with client_of(configuration) as api_client:
        api = client.CoreV1Api(api_client)
        text = await api.connect_get_namespaced_pod_exec(*WHERE, command=SCRIPT, stdout=True, stderr=True)
        opened = await api.connect_get_namespaced_pod_exec(
            *WHERE, command=SCRIPT, stdout=True, stderr=True, _preload_content=False
        )
        async with opened as session:
            messages = [message.data async for message in session]
        (status,) = [data[1:] for data in messages if data[:1] == b"\x03"]
        return {
            "pods": [pod.metadata.name for pod in listed.items],
            "text": sorted(text.split()),
            "code": client_of.parse_error_data(status.decode()),
        }


def use_kubernetes_asyncio(kubeconfig: str) -> dict[str, Any]:
    return asyncio.run(_use_kubernetes_asyncio(kubeconfig))


if __name__ == "__main__":
    found = {"kubernetes": use_kubernetes, "kubernetes_asyncio": use_kubernetes_asyncio}[sys.argv[1]](sys.argv[2])
    sys.stdout.write(json.dumps(found))
