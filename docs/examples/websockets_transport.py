"""A transport of one's own: WebSockets by the library websockets, plain requests by aiohttp.  Run, it shows itself at work."""

import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import anyio
from websockets import exceptions as ws
from websockets.asyncio.client import ClientConnection, connect

from kubex_stream import BaseClient, Pods, Timeout, WebSocketConnection, create_client
from kubex_stream.client import PreparedRequest, Response, StreamedResponse, resolve_ws_max_message_size
from kubex_stream.client.aiohttp import AioHttpClient
from kubex_stream.errors import ConnectionFailed, ConnectionLost, ProtocolViolation, StreamTimeout


class Connection(ClientConnection):
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.protocol.close_rcvd is not None or self.protocol.parser_exc is not None:
            self.transport.close()  # websockets would wait for the server to do it

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "transport"):  # else TLS behind a proxy has failed
            super().connection_lost(exc)
            self.recv_messages.paused = False  # else the next receive would resume TLS that is gone, and fail


class Connect(connect):
    def process_redirect(self, exc: Exception) -> Exception:
        return exc  # followed, it would take the credentials along


class WebSocket(WebSocketConnection):
    closed = False
    negotiated_subprotocol: str | None = None

    def __init__(self, connection: ClientConnection) -> None:
        self.negotiated_subprotocol = connection.subprotocol
        self._connection = connection
        self._end: Exception | None = None

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._connection.send(bytes(data))
        except ws.ConnectionClosed as error:
            raise ConnectionLost("the connection has ended") from error
        if self.closed:
            raise ConnectionLost("the connection was left while sending")

    async def receive_bytes(self) -> bytes:
        if self._end is not None:
            raise self._end
        try:
            message = await self._connection.recv()
        except ws.ConnectionClosed as error:
            raise self._leave(ending(error)) from error
        if isinstance(message, bytes):
            return message
        violation = self._leave(ProtocolViolation("the peer sent a text message"))
        await self.close(1003)
        raise violation

    async def close(self, code: int = 1000) -> None:
        self._leave(ConnectionLost("this side has closed the connection"))
        try:
            with suppress(AttributeError), anyio.move_on_after(self._connection.close_timeout):  # a blocked send too
                await self._connection.close(code)
        finally:
            await self.abort()

    async def abort(self) -> None:
        self._leave(ConnectionLost("this side has closed the connection"))
        with suppress(AttributeError):  # asyncio's transport may have ended behind its last write, and not know it
            self._connection.transport.abort()

    def _leave(self, end: Exception) -> Exception:
        self.closed, self._end = True, self._end or end
        return self._end


def ending(error: ws.ConnectionClosed) -> Exception:
    if error.sent is not None and not error.rcvd_then_sent:  # a Close that nobody here asked for
        return ProtocolViolation(f"the peer broke the protocol: {error.sent.reason}")
    lost = ConnectionLost(f"the connection ended: {error}", close_code=error.rcvd.code if error.rcvd else None)
    return StopAsyncIteration() if isinstance(error, ws.ConnectionClosedOK) else lost


def failure(error: Exception, request: PreparedRequest) -> Exception:
    hosts = [urlsplit(url).netloc.rpartition("@")[2] for url in (request.url, request.proxy) if url]
    where = " through the proxy ".join(hosts)  # nothing else of a URL may be told
    if isinstance(error, TimeoutError):
        return StreamTimeout(f"connecting to {where} took too long")
    if isinstance(error, OSError | EOFError | ws.ProxyError):
        return ConnectionFailed(f"cannot connect to {where}: {error}")
    if isinstance(error.__cause__, EOFError | OSError):
        return ConnectionLost(f"{where} ended the connection without an answer")
    return ProtocolViolation(f"{where} gave no WebSocket handshake: {error}")


class WebsocketsClient(BaseClient):
    async def start(self) -> None:
        self._http, self._open = AioHttpClient(self.configuration, self.options), weakref.WeakSet[WebSocket]()
        await self._http.start()

    async def stop(self) -> None:
        for websocket in self._open:
            await websocket.abort()
        await self._http.stop()

    async def send_request(self, request: PreparedRequest) -> Response:
        return await self._http.send_request(request)

    async def open_stream(self, request: PreparedRequest) -> StreamedResponse:
        return await self._http.open_stream(request)

    async def open_websocket(self, request: PreparedRequest, subprotocols: Sequence[str]) -> WebSocket | Response:
        phases = request.timeout if isinstance(request.timeout, Timeout) else Timeout()
        options: dict[str, Any] = {"create_connection": Connection, "close_timeout": self.options.close_timeout}
        options |= {"additional_headers": list(request.headers), "user_agent_header": None, "proxy": request.proxy}
        # The name of the port-forward tunnel has a "/", which websockets does not offer; without it the older protocol is used.
        options |= {"subprotocols": [name for name in subprotocols if "/" not in name] or None, "compression": None}
        options |= {"max_size": resolve_ws_max_message_size(self.options.ws_max_message_size) or None}
        options |= {"open_timeout": sum(filter(None, (phases.connect, phases.read))) or None, "ping_interval": None}
        if request.ssl_context is not None:
            request.ssl_context.set_alpn_protocols(["http/1.1"])
            options |= {"ssl": request.ssl_context, "ssl_shutdown_timeout": self.options.close_timeout}
            options |= {"server_hostname": request.server_hostname or urlsplit(request.url).hostname}
            options |= {"proxy_ssl": request.ssl_context} if (request.proxy or "").startswith("https:") else {}
        try:
            connection = await Connect("ws" + request.url.removeprefix("http"), **options)
        except ws.InvalidStatus as error:
            headers = [(name.lower(), value) for name, value in error.response.headers.raw_items()]
            return Response(error.response.status_code, headers, bytes(error.response.body))
        except (OSError, EOFError, ws.InvalidHandshake) as error:
            raise failure(error, request) from error
        self._open.add(websocket := WebSocket(connection))
        return websocket


async def main() -> None:
    async with create_client(backend=WebsocketsClient) as client:
        print((await Pods(client).exec.run("demo", ["echo", "by my own transport"], encoding="utf-8")).stdout, end="")


if __name__ == "__main__":
    anyio.run(main)
