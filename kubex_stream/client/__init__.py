"""The seam: clients that open, connections that move frames, and the options and registry around them."""

from __future__ import annotations

from kubex_stream.client.base import CLIENT_CONTRACT, BaseClient
from kubex_stream.client.client import create_client
from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions, resolve_ws_max_message_size
from kubex_stream.client.registry import BackendInfo, backends, load_backend
from kubex_stream.client.request import PreparedRequest, Request, Response, StreamedResponse, path_of
from kubex_stream.client.websocket import WEBSOCKET_CONTRACT, WebSocketConnection

__all__ = (
    "CLIENT_CONTRACT",
    "WEBSOCKET_CONTRACT",
    "BackendInfo",
    "BaseClient",
    "ClientOptions",
    "Observer",
    "PreparedRequest",
    "Request",
    "Response",
    "StreamedResponse",
    "WebSocketConnection",
    "backends",
    "create_client",
    "load_backend",
    "path_of",
    "resolve_ws_max_message_size",
)
