"""For code that is not async and knows the official client, ``kubernetes``: its ``stream``, ``portforward`` and ``Watch``, over this library.

    from kubex_stream.compat.kubernetes import Watch, stream

Everything happens in one thread with one event loop, which is started when it is first needed and ended at exit; functions and objects may
be used from any number of threads.  Which cluster, and as whom, is what the API object's configuration says.
"""

from __future__ import annotations

from kubex_stream.compat.kubernetes.clients import configure
from kubex_stream.compat.kubernetes.errors import StreamConnectionException, StreamException, StreamTimeoutException
from kubex_stream.compat.kubernetes.loop import shutdown
from kubex_stream.compat.kubernetes.portforward import PortForward, portforward
from kubex_stream.compat.kubernetes.streams import stream
from kubex_stream.compat.kubernetes.watch import Watch, WatchedEvent
from kubex_stream.compat.kubernetes.ws_client import WSClient
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
    "PortForward",
    "StreamConnectionException",
    "StreamException",
    "StreamTimeoutException",
    "WSClient",
    "Watch",
    "WatchedEvent",
    "configure",
    "portforward",
    "shutdown",
    "stream",
)
