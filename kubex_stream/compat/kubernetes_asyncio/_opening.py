"""Opening the stream that a call of the generated APIs asks for."""

from __future__ import annotations

from kubex_stream.api.pods import Pods
from kubex_stream.api.request import Opening, pod_path, start_error, tell_opened
from kubex_stream.client.base import BaseClient
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.compat.kubernetes_asyncio._forward import ForwardFrames
from kubex_stream.compat.kubernetes_asyncio._frames import ProcessFrames
from kubex_stream.compat.kubernetes_asyncio._requests import Query, StreamPath, flag, timeout_of, words_of
from kubex_stream.errors import ApiError, Forbidden

__all__ = ("open_port", "open_process")


async def open_port(
    client: BaseClient, stream: StreamPath, port: int, headers: dict[str, str], timeout: object
) -> ForwardFrames:
    """A connection to a port of a pod."""
    headers = {
        name: value for name, value in headers.items() if name.lower() not in ("accept", "sec-websocket-protocol")
    }
    pods = Pods(client, stream.namespace)
    return await ForwardFrames.open(
        pods.portforward.connect(stream.pod, port, reconnect=0.0, request_timeout=timeout_of(timeout), headers=headers)
    )


async def open_process(
    client: BaseClient, stream: StreamPath, query: Query, headers: dict[str, str], timeout: object
) -> ProcessFrames:
    """exec or attach."""
    protocols = [
        name.strip()
        for key, value in headers.items()
        if key.lower() == "sec-websocket-protocol"
        for name in value.split(",")
    ]
    containers = [str(value) for key, value in query if key == "container"]
    command = words_of(query) if stream.subresource == "exec" else []
    opening = Opening(
        client=client,
        path=pod_path(stream.namespace, stream.pod, stream.subresource),
        container=containers[-1] if containers else None,
        query=[("command", word) for word in command],
        stdin=flag(query, "stdin"),
        stdout=flag(query, "stdout"),
        stderr=flag(query, "stderr"),
        tty=flag(query, "tty"),
        merge=False,
        encoding=None,
        errors="strict",
        on_cancel="leave",
        protocols=protocols or None,
        request_timeout=timeout_of(timeout),
        headers={name: value for name, value in headers.items() if name.lower() != "sec-websocket-protocol"},
    )
    connection = await _handshake(opening)
    await tell_opened(client, connection, opening.path)
    return ProcessFrames(
        connection, client.options, path=opening.path, observer=client.observer, stdin=opening.stdin, tty=opening.tty
    )


async def _handshake(opening: Opening) -> WebSocketConnection:
    """Offer what the streams need; where a server knows no subprotocol of it, the next."""
    offers = opening.offers()
    while True:
        offer = offers.pop(0)
        try:
            return await opening.client.connect_websocket(opening.request(), offer)
        except ApiError as error:
            refused = error.status is None and (isinstance(error, Forbidden) or error.status_code == 400)
            if not (refused and offers):
                raise start_error(error) from error
