"""A cluster without a network for forwarders: pods that can be replaced, tunnels and older WebSockets that can be refused."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream import ClientConfiguration, ClientOptions, Observer, Pods, PortForwarder, PortForwardStream
from kubex_stream.client import BaseClient, PreparedRequest, Response, StreamedResponse, WebSocketConnection
from kubex_stream.protocol.portforward import LEGACY_PROTOCOL, TUNNEL_PROTOCOL
from tests.client.memory import refusal
from tests.session.memory import PATIENCE, SteppingConnection
from tests.session.tunnel_peer import EchoPeer, TunnelPeer

Answer = TunnelPeer | SteppingConnection | Response | Exception
#: How a server that knows no tunnels answers: an HTTP error without a Status.
NO_TUNNELS = Response(403, [], b"unable to upgrade")


class LegacyEcho(SteppingConnection):
    """Gives back what it gets, in the older protocol."""

    def __init__(self, port: int) -> None:
        number = port.to_bytes(2, "little")
        super().__init__(b"\x00" + number, b"\x01" + number, protocol=LEGACY_PROTOCOL)

    def on_message(self, message: bytes) -> None:
        self.feed(message)


class Retries(Observer):
    """Remembers what was tried again, and which streams were opened and closed."""

    def __init__(self) -> None:
        self.retries: list[tuple[Exception, float]] = []
        self.open = 0

    def opened(self, path: str, subprotocol: str) -> None:  # noqa: ARG002
        self.open += 1

    def closed(self, path: str, error: BaseException | None) -> None:  # noqa: ARG002
        self.open -= 1

    def retried(self, path: str, error: Exception, delay: float) -> None:  # noqa: ARG002
        self.retries.append((error, delay))


class ForwardingClient(BaseClient):
    """Its pod is there, and its tunnels give back what they get, unless a test says otherwise."""

    event_loops = frozenset({"asyncio", "trio"})

    def __init__(self, options: ClientOptions | None = None) -> None:
        self.retries = Retries()
        configuration = ClientConfiguration(url="http://cluster.test", namespace="default")
        super().__init__(
            configuration, options or ClientOptions(heartbeat=None, close_timeout=0.2), observer=self.retries
        )
        #: The pod's name; None for none.
        self.pod: str | None = "web-0"
        self.runtime = "cri-o"
        #: What handshakes are answered with, by protocol; an echo where nothing is left.
        self.answers: dict[str, list[Answer]] = {TUNNEL_PROTOCOL: [], LEGACY_PROTOCOL: []}
        #: The tunnels, and all WebSockets, in the order of their handshakes.
        self.tunnels: list[TunnelPeer] = []
        self.connections: list[WebSocketConnection] = []
        #: Each handshake: its path, and what it offered.
        self.handshakes: list[tuple[str, str]] = []
        self.lookups = 0
        self.headers: list[dict[str, str]] = []

    async def start(self) -> None:
        return

    async def stop(self) -> None:
        return

    async def open_stream(self, request: PreparedRequest) -> StreamedResponse:
        raise NotImplementedError

    async def send_request(self, request: PreparedRequest) -> Response:
        await checkpoint()
        self.lookups += 1
        self.headers.append(dict(request.headers))
        parts = urlsplit(request.url)
        if parts.path.endswith("/services/web"):
            spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "name": "web", "targetPort": "http"}]}
            return _json({"metadata": {"name": "web"}, "spec": spec})
        if parts.path.endswith("/pods"):
            return _json({"metadata": {}, "items": [] if self.pod is None else [self._pod(self.pod)]})
        if self.pod is None:
            return refusal(404, message="no such pod")
        return _json(self._pod(self.pod))

    def _pod(self, name: str) -> dict[str, Any]:
        status = {"phase": "Running", "containerStatuses": [{"containerID": f"{self.runtime}://abc"}]}
        ports = [{"name": "http", "containerPort": 8080}]
        return {"metadata": {"name": name, "uid": "u"}, "spec": {"containers": [{"ports": ports}]}, "status": status}

    async def open_websocket(
        self, request: PreparedRequest, subprotocols: Sequence[str]
    ) -> WebSocketConnection | Response:
        await checkpoint()
        parts = urlsplit(request.url)
        (protocol,) = subprotocols
        self.handshakes.append((parts.path, protocol))
        self.headers.append(dict(request.headers))
        answers = self.answers[protocol]
        answer: Answer
        if answers:
            answer = answers.pop(0)
        elif protocol == TUNNEL_PROTOCOL:
            answer = EchoPeer()
        else:
            answer = LegacyEcho(int(parse_qs(parts.query)["ports"][0]))
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, TunnelPeer):
            self.tunnels.append(answer)
        if not isinstance(answer, Response):
            self.connections.append(answer)
        return answer


def _json(value: object) -> Response:
    return Response(200, [], json.dumps(value).encode())


@asynccontextmanager
async def forwarding(
    client: ForwardingClient, target: str = "web-0", **options: Any
) -> AsyncGenerator[PortForwarder, None]:
    """A forwarder; whatever it has opened has to be closed at the end."""
    async with client:
        with anyio.fail_after(PATIENCE):
            async with Pods(client).portforward.forwarder(target, **options) as forwarder:
                yield forwarder
    assert client.retries.open == 0
    assert all(connection.closed for connection in client.connections)


async def echo(stream: PortForwardStream, data: bytes = b"echo") -> None:
    await stream.send(data)
    received = b""
    while len(received) < len(data):
        received += await stream.receive()
    assert received == data
