"""How a session lets go of its connection: in order where that can be had soon, else at once; never with an exception of the transport's."""

from __future__ import annotations

import logging

import anyio

from kubex_stream.client.websocket import WebSocketConnection

__all__ = ("let_go",)

_logger = logging.getLogger("kubex_stream")


async def let_go(connection: WebSocketConnection, *, timeout: float, path: str, at_once: bool = False) -> None:
    """Close a connection, and abort it where that takes too long.

    :param timeout: seconds for each; a transport keeps its own, shorter limit, or ought to
    :param path: of the request, for the log
    :param at_once: no Close frame, which on v4 kills the process
    """
    for way in (connection.abort,) if at_once else (connection.close, connection.abort):
        with anyio.move_on_after(timeout) as limit:
            try:
                await way()
            except Exception:  # what came before is worth more than how the connection was left
                _logger.exception("%s: leaving the connection failed", path)
                continue
        if not limit.cancelled_caught:
            return
