"""The streaming interface of the package ``kubernetes_asyncio``, over this library: change an import and keep the code.

    from kubernetes_asyncio import client, config
    from kubex_stream.compat import kubernetes_asyncio as stream

    ws_client = stream.WsApiClient()                    # as api_client of that package's generated APIs
    response = await client.CoreV1Api(ws_client).connect_get_namespaced_pod_exec(…)
    channel, data = await response.read_channel(timeout=10)

Sessions are this library's, on any backend: nothing is lost, v5 and v4 are negotiated, a slow consumer is waited for, credentials are
renewed, proxies and the TLS server name count.  Plain requests go through the same client.  It runs on asyncio, as that package does.
"""

from __future__ import annotations

try:
    import kubernetes_asyncio as _package
except ImportError as error:
    raise ImportError(
        "kubex_stream.compat.kubernetes_asyncio needs the package kubernetes_asyncio, whose generated APIs it serves: "
        "pip install kubernetes_asyncio",
        name="kubernetes_asyncio",
    ) from error

from kubex_stream.compat.kubernetes_asyncio._client import WsApiClient
from kubex_stream.compat.kubernetes_asyncio._refusals import HandshakeRefused
from kubex_stream.compat.kubernetes_asyncio._response import WsMessage, WsResponse
from kubex_stream.compat.kubernetes_asyncio._status import ErrorInfo, get_websocket_url, parse_error_data
from kubex_stream.protocol.channels import (
    CLOSE_CHANNEL,
    ERROR_CHANNEL,
    RESIZE_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
)

__all__ = (
    "CLOSE_CHANNEL",
    "ERROR_CHANNEL",
    "RESIZE_CHANNEL",
    "STDERR_CHANNEL",
    "STDIN_CHANNEL",
    "STDOUT_CHANNEL",
    "ErrorInfo",
    "HandshakeRefused",
    "WsApiClient",
    "WsMessage",
    "WsResponse",
    "get_websocket_url",
    "parse_error_data",
)

del _package
