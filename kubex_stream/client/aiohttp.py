"""The reference's path of the aiohttp backend."""

from kubex_stream_aiohttp import AioHttpClient as AioHttpClient
from kubex_stream_aiohttp import AioHttpWebSocketConnection as AioHttpWebSocketConnection
