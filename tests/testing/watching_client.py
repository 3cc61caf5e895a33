"""Programs of other clients that watch ConfigMaps: the first argument says which, the second is a kubeconfig.

Each prints a line as soon as it watches, and then a line for each event, until one is called ``last``.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any


def tell(kind: str, name: str) -> bool:
    """Print an event; whether it was the last."""
    print(kind, name, flush=True)  # noqa: T201
    return name == "last"


def kubernetes(kubeconfig: str) -> None:
    # These packages are typed in parts.
    client, watch = (importlib.import_module(f"kubernetes.{name}") for name in ("client", "watch"))
    importlib.import_module("kubernetes.config").load_kube_config(kubeconfig)
    watcher = watch.Watch()
    for event in watcher.stream(client.CoreV1Api().list_namespaced_config_map, "default"):
        if tell(event["type"], event["object"].metadata.name):
            watcher.stop()


def kubernetes_asyncio(kubeconfig: str) -> None:
    from kubernetes_asyncio import client, config, watch

    async def main() -> None:
        await config.load_kube_config(kubeconfig)
        async with client.ApiClient() as api, watch.Watch() as watcher:
            async for event in watcher.stream(client.CoreV1Api(api).list_namespaced_config_map, "default"):
                if tell(event["type"], event["object"].metadata.name):
                    return

    asyncio.run(main())


def kr8s(kubeconfig: str) -> None:
    import kr8s.asyncio

    async def main() -> None:
        api: Any = await kr8s.asyncio.api(kubeconfig=kubeconfig)
        async for kind, found in api.async_watch("configmaps", namespace="default"):
            if tell(kind, found.name):
                return

    asyncio.run(main())


if __name__ == "__main__":
    {"kubernetes": kubernetes, "kubernetes_asyncio": kubernetes_asyncio, "kr8s": kr8s}[sys.argv[1]](sys.argv[2])
