"""HTTP of the load server: two pods, the documents that clients look at before they stream, and handshakes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from benchmarks.load.wire import Wire
from kubex_stream.protocol.channels import V4, V5
from kubex_stream.protocol.portforward import LEGACY_PROTOCOL, TUNNEL_PROTOCOL
from kubex_stream.testing.discovery import VERSION, discovery

__all__ = ("ENDED", "POD", "WATCHED", "Head", "answer", "handshake", "read_head")

#: The names of the pods: one that runs, and one that has ended, so that following its log comes to an end.
POD: Final = "bench"
ENDED: Final = "bench-ended"
_PODS: Final = "/api/v1/namespaces/default/pods"
_PATH: Final = f"{_PODS}/{POD}"
#: What can be watched.
WATCHED: Final = (_PODS, "/api/v1/namespaces/default/configmaps")
_ACCEPT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_CONTAINER: Final = {"name": "main", "image": "bench"}
_POD: Final[dict[str, Any]] = {
    "kind": "Pod",
    "apiVersion": "v1",
    "metadata": {
        "name": POD, "namespace": "default", "uid": "b", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z",
    },
    "spec": {"containers": [{**_CONTAINER, "ports": [{"containerPort": 8080}, {"containerPort": 8083}]}], "nodeName": "bench"},
    "status": {
        "phase": "Running",
        "podIP": "127.0.0.1",
        "hostIP": "127.0.0.1",
        "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady", "Initialized")],
        "containerStatuses": [
            {
                **_CONTAINER, "imageID": "", "containerID": "cri-o://b", "ready": True, "restartCount": 0, "started": True,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "lastState": {},
            }
        ],
    },
}  # fmt: skip


_TERMINATED: Final = {
    "exitCode": 0, "reason": "Completed", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T01:00:00Z", "containerID": "cri-o://b",
}  # fmt: skip
_ENDED_POD: Final[dict[str, Any]] = {
    **_POD,
    "metadata": {**_POD["metadata"], "name": ENDED, "uid": "e"},
    "spec": {**_POD["spec"], "restartPolicy": "Never"},
    "status": {
        **_POD["status"], "phase": "Succeeded", "conditions": [],
        "containerStatuses": [
            {**_POD["status"]["containerStatuses"][0], "ready": False, "started": False, "state": {"terminated": _TERMINATED}}
        ],
    },
}  # fmt: skip
_BY_PATH: Final = {f"{_PODS}/{pod['metadata']['name']}": pod for pod in (_POD, _ENDED_POD)}


@dataclass(frozen=True, slots=True)
class Head:
    """A request's head.

    :ivar headers: by lower-case name; of repeated ones the values are joined by commas
    :ivar early: what had come behind it
    """

    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    early: bytes

    def all(self, name: str) -> list[str]:
        """The values of a query parameter."""
        return [value for key, value in self.query if key == name]

    def flag(self, name: str) -> bool:
        """Whether a query parameter says so."""
        return any(value.lower() in ("1", "true") for value in self.all(name))


def read_head(wire: Wire, early: bytes = b"") -> Head | None:
    """The next request; None at the end of the connection."""
    data, view = early, memoryview(bytearray(65536))
    while b"\r\n\r\n" not in data:
        got = wire.recv_into(view)
        if not got:
            return None
        data += view[:got]
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    target = urlsplit(first.split(" ")[1])
    return Head(target.path.rstrip("/"), tuple(parse_qsl(target.query, keep_blank_values=True)), headers, rest)


def _listed(head: Head) -> list[dict[str, Any]]:
    """The pods that a field selector leaves."""
    terms = [term.partition("=") for text in head.all("fieldSelector") for term in text.split(",")]
    wanted = {value.lstrip("=") for name, _, value in terms if name == "metadata.name"}
    return [pod for pod in _BY_PATH.values() if not wanted or pod["metadata"]["name"] in wanted]


def answer(wire: Wire, head: Head) -> None:
    """Answer a plain request."""
    address, wanted = head.headers.get("host", ""), head.headers.get("accept", "")
    aggregated = "as=APIGroupDiscoveryList" in wanted and head.path in ("/api", "/apis")
    kind, status = _AGGREGATED if aggregated else "application/json", "200 OK"
    document: dict[str, Any] | None
    if head.path in _BY_PATH:
        document = _BY_PATH[head.path]
    elif head.path == _PODS:
        document = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": _listed(head)}
    elif head.path == "/version":
        document = VERSION
    else:
        document = discovery(head.path, address, aggregated=aggregated)
    if document is None:
        status = "404 Not Found"
        failure = {"status": "Failure", "reason": "NotFound", "message": "not found", "code": 404}
        document = {"kind": "Status", "apiVersion": "v1", **failure}
    body = json.dumps(document).encode()
    lines = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    wire.send(lines.encode() + body)


def handshake(wire: Wire, head: Head) -> str | None:
    """Answer a request for a WebSocket: the subprotocol, or None where it was refused."""
    verb = head.path.removeprefix(f"{_PATH}/")
    known: Sequence[str] = {
        "exec": (V5.name, V4.name), "portforward": (TUNNEL_PROTOCOL, LEGACY_PROTOCOL),
    }.get(verb, ())  # fmt: skip
    offered = [name.strip() for name in head.headers.get("sec-websocket-protocol", "").split(",")]
    chosen = next((name for name in offered if name in known), None)
    if chosen is None:
        wire.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        return None
    digest = hashlib.sha1(head.headers.get("sec-websocket-key", "").encode() + _ACCEPT).digest()
    lines = (
        "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}", f"Sec-WebSocket-Protocol: {chosen}", "", "",
    )  # fmt: skip
    wire.send("\r\n".join(lines).encode())
    return chosen
