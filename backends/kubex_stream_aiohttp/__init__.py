"""The aiohttp backend: asyncio and uvloop.  The extra ``kubex-stream[aiohttp]`` installs what it needs."""

from __future__ import annotations

from kubex_stream_aiohttp.client import AioHttpClient
from kubex_stream_aiohttp.portforward import PortForwardConnector
from kubex_stream_aiohttp.websocket import AioHttpWebSocketConnection

__all__ = ("AioHttpClient", "AioHttpWebSocketConnection", "PortForwardConnector")
