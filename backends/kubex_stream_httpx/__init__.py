"""The httpx backend of kubex_stream: httpx, httpcore and httpx-ws, on asyncio, uvloop and trio."""

from __future__ import annotations

from kubex_stream_httpx.client import HttpxClient
from kubex_stream_httpx.portforward import PortForwardTransport
from kubex_stream_httpx.session import WebSocketSession
from kubex_stream_httpx.websocket import HttpxWebSocketConnection

__all__ = ("HttpxClient", "HttpxWebSocketConnection", "PortForwardTransport", "WebSocketSession")
