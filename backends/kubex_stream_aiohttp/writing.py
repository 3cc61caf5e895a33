"""Sending over aiohttp's WebSocket without its way of waiting.

aiohttp's send methods put a whole frame into the transport's buffer and then wait until that has room again.  All who wait share one
future, and cancelling any of them cancels that future: the next send then ends with a CancelledError that nobody asked for, and so
does the send of another task that is waiting.  So aiohttp never waits here: its coroutine is run up to where it would, and what it
would have waited for is waited for without being owned.
"""

from __future__ import annotations

import asyncio
from asyncio.sslproto import SSLProtocol
from collections.abc import Coroutine
from typing import Any, Final

from kubex_stream_aiohttp.leaving import end_tcp

__all__ = ("resume_outside", "until_room", "write_now")

#: Seconds between two looks whether a transport that takes nothing is still open.
_LOOK: Final = 1.0


def write_now(sending: Coroutine[Any, Any, None]) -> asyncio.Future[Any] | None:
    """Put a frame into the transport's buffer, whatever is there already.

    :param sending: one of aiohttp's send methods, called and not awaited
    :returns: what aiohttp would wait for, None when the transport has room
    """
    try:
        room = sending.send(None)
    except StopIteration:
        return None
    sending.close()
    if not asyncio.isfuture(room):
        return None
    # What yields a future marks it, and whoever takes it unmarks it (a task does so too), or nobody could wait for it again.
    room._asyncio_future_blocking = False
    # Perhaps nobody will wait for it; its error is then told by the next call.
    room.add_done_callback(_retrieve)
    return room


async def until_room(room: asyncio.Future[Any], transport: asyncio.Transport | None = None) -> None:
    """Wait for what :func:`write_now` has returned: until the transport has room again."""
    # A transport whose peer has ended its side closes once all is sent, and tells nobody before; to a peer that takes nothing that is never.
    while not (await asyncio.wait((room,), timeout=_LOOK))[0]:
        if transport is not None and transport.is_closing():
            end_tcp(transport)
    if not room.cancelled():
        room.result()


def resume_outside(transport: asyncio.Transport | None) -> None:
    """Keep asyncio's TLS from writing inside of TCP's own writing.

    When TCP has sent all it lets TLS go on, which writes what it holds.  Where the peer has gone that write fails and ends the connection,
    and TCP, which does not expect that there, ends it once more: the event loop reports an AttributeError (CPython 3.11 to 3.13,
    selector_events.py, ``_write_ready``).  A turn of the event loop later it ends once.  Another transport is left alone.
    """
    found = getattr(transport, "_ssl_protocol", None)
    if not isinstance(found, SSLProtocol) or "resume_writing" in vars(found):
        return
    tls: Any = found
    resume, loop = tls.resume_writing, asyncio.get_running_loop()

    def resume_if_there() -> None:
        if tls._transport is not None:  # None behind its end
            resume()

    def resume_writing() -> None:
        loop.call_soon(resume_if_there)

    tls.resume_writing = resume_writing


def _retrieve(room: asyncio.Future[Any]) -> None:
    if not room.cancelled():
        room.exception()
