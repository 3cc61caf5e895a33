"""The hostile server of the conformance suite, for the tests that are about one library."""

from __future__ import annotations

from kubex_stream.testing.conformance.raw import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    Handler,
    Head,
    Peer,
    RawServer,
    close_frame,
    ends_after,
    frame,
    proxy_handler,
    relay,
    response,
    sends,
)

__all__ = (
    "BINARY",
    "CLOSE",
    "PING",
    "PONG",
    "TEXT",
    "Frame",
    "Handler",
    "Head",
    "Peer",
    "RawServer",
    "close_frame",
    "ends_after",
    "frame",
    "proxy_handler",
    "relay",
    "response",
    "sends",
)
