"""Pausing the reading of TLS on uvloop without losing what is on its way.

uvloop's TLS takes the end of TCP for the end of everything, and drops what it has not decrypted yet: up to 256 KiB, where a slow consumer
had paused reading when the peer ended (uvloop 0.23, ``SSLProtocol.eof_received``; asyncio's own TLS waits).  While reading is paused, so,
nothing may be kept undecrypted unless TCP is paused as well, and that is a matter of the buffer's limits.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ("guard_reading",)


class _GuardedTransport:
    """A transport whose pause reaches TCP as soon as anything waits to be decrypted."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._paused = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def pause_reading(self) -> None:
        self._paused = True
        self._inner.pause_reading()
        self._inner.set_read_buffer_limits(1, 0)

    def resume_reading(self) -> None:
        self._paused = False
        # uvloop decrypts in the next turn of the event loop, and reads TCP before that; so TCP has to wait one more turn.
        self._inner.resume_reading()
        asyncio.get_running_loop().call_soon(self._resume_tcp)

    def _resume_tcp(self) -> None:
        if not self._paused and not self._inner.is_closing():
            self._inner.set_read_buffer_limits()


def guard_reading(protocol: Any) -> None:
    """Make an aiohttp protocol pause its transport in this way, where that is uvloop's TLS."""
    transport = None if protocol is None else protocol.transport
    if transport is None or isinstance(transport, _GuardedTransport):
        return
    if transport.get_extra_info("uvloop.sslproto") is not None:
        protocol.transport = _GuardedTransport(transport)
