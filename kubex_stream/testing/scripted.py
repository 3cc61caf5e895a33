"""A peer that does what a test tells it: raw frames, raw bytes, sudden endings.

Rules of this file: nothing is checked and nothing is answered by itself, not even a ping or a Close.  An error in a script comes out when
the ``with`` block is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio.to_thread

from kubex_stream.protocol.channels import V5
from kubex_stream.testing import frames
from kubex_stream.testing.connection import Connection
from kubex_stream.testing.http import Exchange, RecordedRequest, accept_key, serve_http
from kubex_stream.testing.loop_thread import LoopThread
from kubex_stream.testing.tasks import cancel_and_wait
from kubex_stream.testing.tls import Certificates

if TYPE_CHECKING:
    from kubex_stream.configuration import ClientConfiguration

__all__ = ("Script", "ScriptedPeer", "ScriptedServer")


class ScriptedPeer:
    """A script's end of one connection.

    :ivar request: the request that it begins with
    :ivar connection: the connection
    """

    def __init__(self, request: RecordedRequest, connection: Connection, leftover: bytes = b"") -> None:
        self.request = request
        self.connection = connection
        self._reader = frames.FrameReader(max_payload=None)
        self._reader.feed(leftover)

    async def send_frame(
        self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = False
    ) -> None:
        """Send one frame."""
        await self.connection.send(frames.encode_frame(opcode, payload, fin=fin, rsv=rsv, masked=masked))

    async def send(self, *messages: bytes) -> None:
        """Send binary messages, all in one write."""
        await self.connection.send(b"".join(frames.encode_frame(frames.BINARY, message) for message in messages))

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.connection.send(data)

    async def receive_frame(self) -> frames.Frame | None:
        """The next frame, unmasked; None at the end of the connection.

        :raises OSError: the connection was reset
        """
        while (frame := self._reader.next_frame()) is None:
            data = await self.connection.receive()
            if not data:
                return None
            self._reader.feed(data)
        return frame

    async def receive_message(self) -> bytes | None:
        """The payload of the next data frame, control frames passed over; None at a Close or the end of the connection."""
        while (frame := await self.receive_frame()) is not None and frame.opcode != frames.CLOSE:
            if frame.opcode < frames.CLOSE:
                return frame.payload
        return None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a Close and end the connection at once."""
        await self.send_frame(frames.CLOSE, frames.close_payload(code, reason))
        await self.connection.close()

    async def end(self) -> None:
        """End the connection in order, without a Close."""
        await self.connection.close()

    async def reset(self) -> None:
        """End the connection by RST, after what was sent has arrived."""
        await self.connection.reset()


Script = Callable[[ScriptedPeer], Awaitable[None]]


class ScriptedServer:
    """A server that runs ``script`` for every WebSocket, in a thread and event loop of its own.

    A connection whose script ends without ending it is closed in order, without a Close frame.

    :param script: an async function; it runs on an asyncio event loop
    :param subprotocol: what the handshake answers; None: the first that is offered; empty: none
    :param handshake: False leaves the answer to the request to the script too
    :param documents: what other requests get, as JSON, by path; everything else is a 404
    :param tls: HTTPS with an authority of its own
    :param host: ``127.0.0.1`` or ``::1``
    """

    def __init__(
        self,
        script: Script,
        *,
        subprotocol: str | None = V5.name,
        handshake: bool = True,
        documents: Mapping[str, Mapping[str, Any]] | None = None,
        tls: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self._script = script
        self._subprotocol = subprotocol
        self._handshake = handshake
        self._documents = dict(documents or {})
        self._certificates = Certificates() if tls else None
        self._context = self._certificates.server_context() if self._certificates is not None else None
        self._host = host
        self._port = 0
        self._thread: LoopThread | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[Exception] = []
        self._requests: list[RecordedRequest] = []

    @property
    def url(self) -> str:
        """Its base URL."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._certificates is None else 'https'}://{host}:{self._port}"

    @property
    def port(self) -> int:
        """Its TCP port."""
        return self._port

    @property
    def ca_pem(self) -> bytes:
        """The certificate of its authority; empty without TLS."""
        return self._certificates.ca_pem if self._certificates is not None else b""

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """Every request so far, in order."""
        return tuple(self._requests)

    @property
    def configuration(self) -> ClientConfiguration:
        """What a client of this library needs to reach it; it takes any token."""
        from kubex_stream.configuration import ClientConfiguration

        ca = self.ca_pem or None
        return ClientConfiguration(url=self.url, token="any", server_ca_data=ca, namespace="default")

    def start(self) -> Self:
        """Start it; ``with`` does this."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server((self._host, 0), family=family, backlog=1024)
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]
        self._thread = LoopThread("kubex-stream-scripted-server")
        self._thread.run(lambda: self._track(asyncio.create_task(self._accept())))
        return self

    def stop(self) -> None:
        """End it and all its connections; leaving ``with`` does this."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.call(self._cancel())
            thread.stop()
            self._listener.close()

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel(self) -> None:
        await cancel_and_wait(*self._tasks)

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            self._track(asyncio.create_task(self._serve(Connection(sock, self._context))))

    async def _serve(self, connection: Connection) -> None:
        try:
            with contextlib.suppress(OSError, ssl.SSLError):
                await connection.handshake()
                await serve_http(connection, self._handle)
        except Exception as error:  # noqa: BLE001
            self._errors.append(error)
        finally:
            connection.abort()

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        self._requests.append(request)
        document = self._documents.get(request.path)
        if document is not None:
            await exchange.respond_json(document)
        elif not self._handshake:
            exchange.detached = True
            await self._script(ScriptedPeer(request, exchange.connection, exchange.leftover))
        elif request.is_websocket:
            leftover = await exchange.upgrade(self._headers(request))
            await self._script(ScriptedPeer(request, exchange.connection, leftover))
        else:
            await exchange.respond(404, json.dumps({"kind": "Status", "code": 404}).encode())

    def _headers(self, request: RecordedRequest) -> list[tuple[str, str]]:
        chosen = self._subprotocol
        if chosen is None:
            chosen = request.header("Sec-WebSocket-Protocol").split(",")[0].strip()
        headers = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key(request.header("Sec-WebSocket-Key"))),
        ]
        return [*headers, ("Sec-WebSocket-Protocol", chosen)] if chosen else headers

    def _raise_errors(self) -> None:
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            self._raise_errors()

    async def __aenter__(self) -> Self:
        return await anyio.to_thread.run_sync(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)
        if error is None:
            self._raise_errors()
