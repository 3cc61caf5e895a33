"""Pausing the reading of TLS without losing what is on its way.

aiofastnet's TLS (1.2) asks the socket first when reading goes on, and what it had not decrypted when it was paused in the middle of a read
is lost if the socket is at its end by then.  Between two reads all is decrypted; so it is paused there.

uvloop's TLS takes the end of TCP for the end of everything, and drops what it has not decrypted yet: up to 256 KiB, where a slow consumer
had paused reading when the peer ended (uvloop 0.23, ``SSLProtocol.eof_received``; asyncio's own TLS waits).  While reading is paused, so,
nothing may be kept undecrypted unless TCP is paused as well, and that is a matter of the buffer's limits.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ("guard_reading", "undeferred")


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


class _PausedBetweenReads:
    """A transport that is never paused while it reads."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._wanted = self._paused = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def pause_reading(self) -> None:
        if not self._wanted:
            self._wanted = True
            asyncio.get_running_loop().call_soon(self._pause)

    def _pause(self) -> None:
        if self._wanted and not self._paused and not self._inner.is_closing():
            self._paused = True
            self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._wanted = False
        if self._paused:
            self._paused = False
            self._inner.resume_reading()


def guard_reading(protocol: Any) -> None:
    """Make an aiohttp protocol pause its transport in the way that this one needs."""
    transport = None if protocol is None else protocol.transport
    if transport is None or isinstance(transport, _GuardedTransport | _PausedBetweenReads):
        return
    if type(transport).__module__.partition(".")[0] == "aiofastnet":
        protocol.transport = _PausedBetweenReads(transport)
    elif transport.get_extra_info("uvloop.sslproto") is not None:
        protocol.transport = _GuardedTransport(transport)


def undeferred(transport: Any) -> Any:
    """aiofastnet's transport itself, for whoever never pauses it while it reads."""
    return transport._inner if isinstance(transport, _PausedBetweenReads) else transport
