"""The picows backend: the fast WebSockets, on asyncio and uvloop.  The extra ``kubex-stream[picows]`` installs what it needs.

picows does WebSockets only, so this backend is the aiohttp one with other WebSockets: plain requests, streams and handshakes are
aiohttp's, the frames of an open WebSocket are picows', and their TLS is aiofastnet's.
"""

from __future__ import annotations

from kubex_stream_picows.client import PicowsClient
from kubex_stream_picows.websocket import PicowsWebSocketConnection

__all__ = ("PicowsClient", "PicowsWebSocketConnection")
