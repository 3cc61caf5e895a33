"""Ending TCP at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

__all__ = ("end_tcp",)


def end_tcp(transport: asyncio.Transport) -> None:
    """End a connection without waiting for anything that it has not sent; nothing where it has ended."""
    # asyncio's, once closed with something to send and ended behind that, does not know that it has ended, and misses its event loop
    # (selector_events.py, _write_ready).
    with suppress(AttributeError):
        transport.abort()
