"""Watches of the load server: the label selector ``events=N`` says how many changes there are to tell of, and then nothing happens.

Pods have the size of a real one with one container, its managed fields included.  ConfigMaps have a little more than 1 MiB: files of text,
whose line ends and quotation marks JSON escapes.  Every change has a version of its own.  Each event has a chunk of its own, in records of at
most 4096 bytes over TLS.  In the beginning there are no objects; who asks for them as a stream is told so by a bookmark.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from benchmarks.load.http import Head
from benchmarks.load.strips import Strip, chunk
from benchmarks.load.wire import Wire

__all__ = ("CONFIG_MAP", "POD", "serve_watch")

_BLOCK: Final = 1024 * 1024
_VERSION: Final = 10_000_000_000
_BEGINNING: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
_POD: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("pod.json").read_text())
_FILE: Final = (
    'server:\n  name: "bench"\n  listen: ["0.0.0.0:8080", "[::]:8080"]\n  # as long as it takes\n  timeout: 30\n' * 300
)
_FILES: Final = 31


def _pod(index: int) -> dict[str, Any]:
    return {**_POD, "metadata": {**_POD["metadata"], "name": f"{_POD['metadata']['generateName']}{index:05d}"}}


def _config_map(index: int) -> dict[str, Any]:
    metadata = {"name": f"settings-{index:05d}", "namespace": "default", "uid": "c", "resourceVersion": "1"}
    data = {f"file-{number}.yaml": _FILE for number in range(_FILES)}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data}


def _event(made: Mapping[str, Any], index: int) -> bytes:
    item = {**made, "metadata": {**made["metadata"], "resourceVersion": str(_VERSION + index)}}
    return json.dumps({"type": "MODIFIED", "object": item}, separators=(",", ":")).encode() + b"\n"


#: Bytes of an event, by resource.
POD: Final = len(_event(_pod(0), 0))
CONFIG_MAP: Final = len(_event(_config_map(0), 0))
_KINDS: Final[dict[str, tuple[Callable[[int], dict[str, Any]], int]]] = {
    "pods": (_pod, POD), "configmaps": (_config_map, CONFIG_MAP),
}  # fmt: skip
_BOOKMARK: Final = {
    "type": "BOOKMARK",
    "object": {
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"resourceVersion": str(_VERSION), "annotations": {"k8s.io/initial-events-end": "true"}},
    },
}  # fmt: skip


@lru_cache
def _events(resource: str) -> tuple[bytes, ...]:
    make, size = _KINDS[resource]
    return tuple(_event(make(index), index) for index in range(max(1, _BLOCK // size)))


def _wanted(head: Head) -> int:
    pairs = dict(pair.split("=", 1) for text in head.all("labelSelector") for pair in text.split(",") if "=" in pair)
    return int(pairs.get("events", "0"))


def serve_watch(wire: Wire, head: Head) -> None:
    """Answer one request for one, until the client leaves.

    :raises OSError: likewise
    """
    wire.send(_BEGINNING)
    if head.flag("sendInitialEvents"):
        wire.send(chunk(json.dumps(_BOOKMARK).encode() + b"\n"))
    events, left, version = _events(head.path.rpartition("/")[2]), _wanted(head), _VERSION
    strip, place = Strip(events), events[0].index(str(_VERSION).encode())
    while left > 0:
        strip.put(place, str(version)[:-4].encode())
        wire.send_block(strip.block(min(left, strip.count)))
        left, version = left - strip.count, version + 10_000
    view = memoryview(bytearray(4096))
    while wire.recv_into(view):
        pass
