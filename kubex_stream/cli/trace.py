"""``-vv``: every request and every handshake, as they go over the wire, without what is secret in them.

Rules of this file:
- Of a query only names and values that are known to be harmless are shown; a command, which stands there, is counted.
- Of headers only those are shown that say what is asked for; of all others the names.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import PreparedRequest, Response, StreamedResponse
from kubex_stream.client.websocket import WebSocketConnection

__all__ = ("TracingClient",)

_HARMLESS_PARAMETERS: Final = frozenset(
    {
        "container",
        "stdin",
        "stdout",
        "stderr",
        "tty",
        "ports",
        "watch",
        "fieldSelector",
        "labelSelector",
        "resourceVersion",
    }
)
_HARMLESS_HEADERS: Final = frozenset(
    {"accept", "user-agent", "impersonate-user", "impersonate-group", "impersonate-uid"}
)

_logger = logging.getLogger("kubex_stream")


class TracingClient(BaseClient):
    """A client that tells what another one sends.

    :param inner: the one that does the work; it is opened and closed with this one
    """

    #: All there are: the inner one says what it does not run on.
    event_loops = frozenset({"asyncio", "trio"})

    def __init__(self, inner: BaseClient) -> None:
        super().__init__(inner.configuration, inner.options, observer=inner.observer)
        self._inner = inner

    async def start(self) -> None:
        await self._inner.open()

    async def stop(self) -> None:
        await self._inner.aclose()

    async def send_request(self, request: PreparedRequest) -> Response:
        _tell_request(request)
        begun = time.monotonic()
        response = await self._inner.send_request(request)
        _logger.debug("< %d, %d bytes after %.0f ms", response.status_code, len(response.content), _since(begun))
        return response

    async def open_stream(self, request: PreparedRequest) -> StreamedResponse:
        _tell_request(request)
        begun = time.monotonic()
        response = await self._inner.open_stream(request)
        _logger.debug("< %d after %.0f ms", response.status_code, _since(begun))
        return response

    async def open_websocket(
        self, request: PreparedRequest, subprotocols: Sequence[str]
    ) -> WebSocketConnection | Response:
        _tell_request(request)
        _logger.debug("> Upgrade: websocket, offering %s", ", ".join(subprotocols))
        begun = time.monotonic()
        answer = await self._inner.open_websocket(request, subprotocols)
        if isinstance(answer, Response):
            _logger.debug("< %d, no WebSocket, after %.0f ms", answer.status_code, _since(begun))
        else:
            _logger.debug("< 101, %s, after %.0f ms", answer.negotiated_subprotocol, _since(begun))
        return answer


def _since(begun: float) -> float:
    return (time.monotonic() - begun) * 1000


def _tell_request(request: PreparedRequest) -> None:
    parts = urlsplit(request.url)
    query = "".join(f" {pair}" for pair in _parameters(parse_qsl(parts.query, keep_blank_values=True)))
    _logger.debug("> %s %s://%s%s%s", request.method, parts.scheme, parts.netloc, parts.path, query)
    for name, value in request.headers:
        _logger.debug("> %s: %s", name, value if name.lower() in _HARMLESS_HEADERS else "(not shown)")


def _parameters(query: Iterable[tuple[str, str]]) -> Iterable[str]:
    words = 0
    for name, value in query:
        if name == "command":
            words += 1
        else:
            yield f"{name}={value}" if name in _HARMLESS_PARAMETERS else f"{name}=(not shown)"
    if words:
        yield f"command=({words} word{'' if words == 1 else 's'}, not shown)"
