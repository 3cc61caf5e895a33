"""Kubernetes exec, attach and port-forward for async Python, over the WebSocket library of your choice."""

from __future__ import annotations

from kubex_stream._version import __version__
from kubex_stream.api.asyncio_streams import ForwardedSocket
from kubex_stream.api.discovery import Discovery, ResourceType
from kubex_stream.api.forwarder import PortForwarder
from kubex_stream.api.interactive import InteractiveResult
from kubex_stream.api.listener import ConnectionEvent, Listeners, PortForwardListener
from kubex_stream.api.log_stream import LogStream
from kubex_stream.api.pods import Pods
from kubex_stream.api.watch import Watch, WatchEvent, WatchNotice, WatchStream
from kubex_stream.client.base import BaseClient
from kubex_stream.client.client import create_client
from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.registry import BackendInfo, backends
from kubex_stream.client.websocket import WebSocketConnection
from kubex_stream.configuration import ClientConfiguration, ExecPlugin, Impersonation
from kubex_stream.core.params import Timeout
from kubex_stream.errors import (
    ApiError,
    BackendNotAvailable,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    CopyError,
    Forbidden,
    Gone,
    HalfCloseUnsupported,
    KubexClientException,
    NotFound,
    PortForwardError,
    ProcessError,
    ProtocolViolation,
    StartError,
    StatusMissing,
    StdinBroken,
    StreamError,
    StreamTimeout,
    TooManyRequests,
    Unauthorized,
    UnreadChannelError,
)
from kubex_stream.logs.line import LogEvent, LogLine, LogSource
from kubex_stream.protocol.channels import (
    CLOSE_CHANNEL,
    ERROR_CHANNEL,
    RESIZE_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
)
from kubex_stream.protocol.status import Cause, Status
from kubex_stream.session.capture import STDOUT, ExecResult
from kubex_stream.session.forward_stream import PortForwardStream
from kubex_stream.session.process import AttachedProcess, ExecProcess
from kubex_stream.session.streams import OutputStream, StdinStream, TextOutputStream
from kubex_stream.statistics import SessionStatistics
from kubex_stream.terminal.device import Terminal
from kubex_stream.transfer.result import CopyProgress, CopyResult, Refused
from kubex_stream.watch.backoff import Backoff

__all__ = (
    "CLOSE_CHANNEL",
    "ERROR_CHANNEL",
    "RESIZE_CHANNEL",
    "STDERR_CHANNEL",
    "STDIN_CHANNEL",
    "STDOUT",
    "STDOUT_CHANNEL",
    "ApiError",
    "AttachedProcess",
    "BackendInfo",
    "BackendNotAvailable",
    "Backoff",
    "BaseClient",
    "Cause",
    "ClientConfiguration",
    "ClientOptions",
    "ConfigurationError",
    "ConnectionEvent",
    "ConnectionFailed",
    "ConnectionLost",
    "CopyError",
    "CopyProgress",
    "CopyResult",
    "Discovery",
    "ExecPlugin",
    "ExecProcess",
    "ExecResult",
    "Forbidden",
    "ForwardedSocket",
    "Gone",
    "HalfCloseUnsupported",
    "Impersonation",
    "InteractiveResult",
    "KubexClientException",
    "Listeners",
    "LogEvent",
    "LogLine",
    "LogSource",
    "LogStream",
    "NotFound",
    "Observer",
    "OutputStream",
    "Pods",
    "PortForwardError",
    "PortForwardListener",
    "PortForwardStream",
    "PortForwarder",
    "ProcessError",
    "ProtocolViolation",
    "Refused",
    "ResourceType",
    "SessionStatistics",
    "StartError",
    "Status",
    "StatusMissing",
    "StdinBroken",
    "StdinStream",
    "StreamError",
    "StreamTimeout",
    "Terminal",
    "TextOutputStream",
    "Timeout",
    "TooManyRequests",
    "Unauthorized",
    "UnreadChannelError",
    "Watch",
    "WatchEvent",
    "WatchNotice",
    "WatchStream",
    "WebSocketConnection",
    "__version__",
    "backends",
    "create_client",
)
