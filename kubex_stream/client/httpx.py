"""The reference's path of the httpx backend."""

from kubex_stream_httpx import HttpxClient as HttpxClient
from kubex_stream_httpx import HttpxWebSocketConnection as HttpxWebSocketConnection
