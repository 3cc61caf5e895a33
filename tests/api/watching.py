"""What the tests of watches script."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from kubex_stream import ClientConfiguration, Observer
from kubex_stream.api.watch import Watch, WatchEvent, WatchNotice, WatchStream
from kubex_stream.client import PreparedRequest, Response
from kubex_stream.watch.backoff import Backoff
from tests.client.memory import Body, HangingBody, MemoryClient, scripted

CLUSTER: Final = ClientConfiguration(url="http://cluster.test", namespace="shop")
PODS: Final = "/api/v1/pods"
QUICK: Final = Backoff(first=0.001, longest=0.002)


def item(name: str, version: int, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, **more}


def event(kind: str, value: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"


def added(name: str, version: int) -> bytes:
    return event("ADDED", item(name, version))


def bookmark(version: int, *, end: bool = False) -> bytes:
    metadata: dict[str, Any] = {"resourceVersion": str(version)}
    if end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return event("BOOKMARK", {"kind": "Pod", "metadata": metadata})


def error(code: int, **more: Any) -> bytes:
    return event("ERROR", {"kind": "Status", "status": "Failure", "code": code, "message": "refused", **more})


EXPIRED: Final = error(410, reason="Expired")


def listed(version: int, *items: dict[str, Any], more: str = "") -> Response:
    metadata = {"resourceVersion": str(version), "continue": more}
    page = {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": list(items)}
    return Response(200, [], json.dumps(page).encode())


def ends(*pieces: bytes | Exception) -> Any:
    """A watch that is over after this."""
    return Body(*pieces).response()


def hangs(*pieces: bytes) -> Any:
    """A watch that stays open."""
    return HangingBody(*pieces).response()


def watched(*answers: Any, observer: Observer | None = None) -> MemoryClient:
    return scripted(*answers, configuration=CLUSTER, observer=observer)


def query(request: PreparedRequest) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.url).query))


def brief(found: WatchEvent[Any]) -> str:
    metadata = found.raw_object["metadata"]
    marks = " initial" * found.initial + " relisted" * found.relisted
    return f"{found.type} {metadata['name']} {metadata['resourceVersion']}{marks}"


async def take(stream: WatchStream[Any], count: int) -> list[str]:
    """So many events, in short."""
    return [brief(await anext(stream)) for _ in range(count)]


async def events_of(client: MemoryClient, count: int, **options: Any) -> tuple[list[str], list[WatchNotice]]:
    """The first events of a watch of pods, and what was told besides."""
    notices: list[WatchNotice] = []
    async with client, Watch(client, backoff=QUICK).stream(PODS, notify=notices.append, **options) as stream:
        return await take(stream, count), notices


Notify = Callable[[WatchNotice], object]
