"""A backend without a network: the test scripts what each attempt is answered, and sees what was sent."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, Final, Literal

import anyio
from anyio.lowlevel import checkpoint

from kubex_stream.client import (
    BaseClient,
    ClientOptions,
    Observer,
    PreparedRequest,
    Request,
    Response,
    StreamedResponse,
    WebSocketConnection,
)
from kubex_stream.configuration import ClientConfiguration

V4: Final = "v4.channel.k8s.io"
V5: Final = "v5.channel.k8s.io"
CLUSTER: Final = ClientConfiguration(url="http://cluster.test:8001", token="t0ken")

Way = Literal["request", "stream", "websocket"]
WAYS: Final[tuple[Way, ...]] = ("request", "stream", "websocket")


class Body:
    """The body of a streamed response.

    :param pieces: what arrives; an exception among them is raised
    """

    def __init__(self, *pieces: bytes | Exception) -> None:
        self.pieces = deque(pieces)
        self.closed = False

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        await checkpoint()
        if not self.pieces:
            raise StopAsyncIteration
        piece = self.pieces.popleft()
        if isinstance(piece, Exception):
            raise piece
        return piece

    async def aclose(self) -> None:
        await checkpoint()  # as a real connection, which a cancelled scope would interrupt
        self.closed = True

    def response(self, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> StreamedResponse:
        return StreamedResponse(status, headers, self, self.aclose)


class HangingBody(Body):
    """A body whose end never comes."""

    async def __anext__(self) -> bytes:
        if not self.pieces:
            await anyio.sleep_forever()
        return await super().__anext__()


class MemoryWebSocket(WebSocketConnection):
    """An open WebSocket with the abstract members only."""

    def __init__(self, subprotocol: str | None = V4, messages: Sequence[bytes] = ()) -> None:
        self._subprotocol = subprotocol
        self._messages = deque(messages)
        self._closed = False
        self.sent: list[bytes] = []
        self.close_sent: int | None = None

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def negotiated_subprotocol(self) -> str | None:
        return self._subprotocol

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        await checkpoint()
        self.sent.append(bytes(data))

    async def receive_bytes(self) -> bytes:
        await checkpoint()
        if not self._messages:
            raise StopAsyncIteration
        return self._messages.popleft()

    async def close(self, code: int = 1000) -> None:
        try:
            await checkpoint()
            self.close_sent = code
        finally:
            self._closed = True


Answer = Response | StreamedResponse | WebSocketConnection | Exception
Script = Answer | Callable[[PreparedRequest], Awaitable[Answer | None]] | None


class MemoryClient(BaseClient):
    """A client whose ``answers`` are taken one for each attempt; None stands for a success of whatever was asked for."""

    event_loops: ClassVar[frozenset[str]] = frozenset({"asyncio", "trio"})

    def __init__(
        self,
        configuration: ClientConfiguration | None = None,
        options: ClientOptions | None = None,
        *,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(configuration, options, observer=observer)
        self.answers: deque[Script] = deque()
        self.sent: list[PreparedRequest] = []
        self.starts = self.stops = 0

    async def start(self) -> None:
        self.starts += 1

    async def stop(self) -> None:
        await checkpoint()
        self.stops += 1

    async def send_request(self, request: PreparedRequest) -> Response:
        answer = await self._answer(request) or Response(200, [], b"{}")
        assert isinstance(answer, Response)
        return answer

    async def open_stream(self, request: PreparedRequest) -> StreamedResponse:
        answer = await self._answer(request) or Body(b"{}").response()
        if isinstance(answer, Response):
            return Body(answer.content).response(answer.status_code, answer.headers)
        assert isinstance(answer, StreamedResponse)
        return answer

    async def open_websocket(
        self, request: PreparedRequest, subprotocols: Sequence[str]
    ) -> WebSocketConnection | Response:
        answer = await self._answer(request) or MemoryWebSocket(subprotocols[0])
        assert not isinstance(answer, StreamedResponse | Exception)
        return answer

    async def _answer(self, request: PreparedRequest) -> Answer | None:
        self.sent.append(request)
        await checkpoint()
        answer = self.answers.popleft()
        if callable(answer):
            answer = await answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer


def scripted(
    *answers: Script,
    configuration: ClientConfiguration = CLUSTER,
    options: ClientOptions | None = None,
    observer: Observer | None = None,
) -> MemoryClient:
    """A client, not open yet, with its answers."""
    client = MemoryClient(configuration, options, observer=observer)
    client.answers.extend(answers)
    return client


async def go(client: BaseClient, way: Way, request: Request | None = None) -> None:
    """Do the same by one of the three ways there are."""
    asked = request or Request(path="/api/v1/pods")
    if way == "request":
        await client.request(asked)
    elif way == "stream":
        async with client.stream(asked) as response:
            assert response.status_code == 200
    else:
        await (await client.connect_websocket(asked, [V5, V4])).close()


def refusal(code: int, *headers: tuple[str, str], **status: Any) -> Response:
    """An error of the API server."""
    content = json.dumps({"kind": "Status", "status": "Failure", "code": code, **status}).encode()
    return Response(code, [("content-type", "application/json"), *headers], content)


async def hang(_: PreparedRequest) -> None:
    """An attempt that never ends."""
    await anyio.sleep_forever()
