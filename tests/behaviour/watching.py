"""What the tests of watches have in common: ConfigMaps of the namespace ``shop``, and events in short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio
import anyio.to_thread

from kubex_stream import Backoff, WatchStream

if TYPE_CHECKING:
    from kubex_stream.testing import EmbeddedCluster

QUICK: Final = Backoff(first=0.01, longest=0.05)


def put(cluster: EmbeddedCluster, name: str, value: str, **labels: str) -> None:
    metadata = {"name": name, "labels": labels}
    cluster.put_object({"kind": "ConfigMap", "metadata": metadata, "data": {"value": value}}, "shop")


def listed(cluster: EmbeddedCluster) -> dict[str, str]:
    """Name and version of each ConfigMap, not by way of a watch."""
    metadata = [item["metadata"] for item in cluster.objects("ConfigMap", "shop")]
    return {each["name"]: each["resourceVersion"] for each in metadata}


async def brief(events: WatchStream[dict[str, Any]], count: int) -> list[str]:
    found = []
    for _ in range(count):
        event = await anext(events)
        marks = " initial" * event.initial + " relisted" * event.relisted
        found.append(f"{event.type} {event.raw_object['metadata']['name']}{marks}")
    return found


async def opened(cluster: EmbeddedCluster) -> None:
    await anyio.to_thread.run_sync(cluster.wait_for, lambda: cluster.open_watches > 0)


async def gone(cluster: EmbeddedCluster) -> None:
    await anyio.to_thread.run_sync(cluster.wait_for, lambda: cluster.open_watches == 0)
