"""The client half of the picows backend: the aiohttp one, with other connections and frames for WebSockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from weakref import WeakSet

from yarl import URL

from kubex_stream.client import PreparedRequest, Response, WebSocketConnection, resolve_ws_max_message_size
from kubex_stream_aiohttp import AioHttpClient
from kubex_stream_aiohttp.client import _NOT_ADDED
from kubex_stream_aiohttp.errors import mapped_errors
from kubex_stream_aiohttp.handshake import HandshakeRequest, HandshakeResponse, Refused
from kubex_stream_aiohttp.settings import stream_timeout
from kubex_stream_picows.connector import FastConnector
from kubex_stream_picows.handover import Handover
from kubex_stream_picows.websocket import PicowsWebSocketConnection

__all__ = ("PicowsClient",)
