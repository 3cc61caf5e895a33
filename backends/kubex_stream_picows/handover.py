"""Taking a connection over from aiohttp as soon as its handshake is done.

``ws_connect`` makes its WebSocket as an instance of a class that it is given, after it has checked the whole 101 and before anything
reads frames.  The class here only takes what it is handed, and what came behind the 101; nothing of aiohttp sees the connection's bytes
from then on.
"""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp

from kubex_stream_aiohttp.leaving import end_tcp
from kubex_stream_aiohttp.reading import undeferred
from kubex_stream_aiohttp.writing import resume_outside

__all__ = ("Handover",)


class _Tail:
    """What aiohttp takes for a parser of frames."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""


class Handover:
    """A connection that aiohttp has upgraded.

    :ivar protocol: the subprotocol that the server chose
    :ivar transport: the connection
    :ivar tail: what came behind the 101
    """

    def __init__(
        self,
        _reader: Any,
        _writer: Any,
        protocol: str | None,
        response: aiohttp.ClientResponse,
        *_args: Any,
        **_named: Any,
    ) -> None:
        connection = response.connection
        # Checked by ws_connect.
        assert connection is not None
        assert connection.protocol is not None
        self.protocol = protocol
        self._response = response
        self._handler = connection.protocol
        #: The one that the handler has: on uvloop without aiofastnet it guards TLS while reading is paused.  That aiofastnet's is paused
        #: between reads only is seen to by the inbox.
        self.transport: asyncio.Transport = undeferred(connection.transport)
        resume_outside(self.transport)
        tail = _Tail()
        # The public way to the bytes that nothing has parsed.
        self._handler.set_parser(tail, None)
        self.tail = tail.data

    def take(self, protocol: asyncio.BaseProtocol) -> None:
        """Make ``protocol`` the one that is told of everything."""
        # Transports choose their way of reading when they begin to read.
        self.transport.pause_reading()
        self.transport.set_protocol(protocol)
        self._handler.set_parser(None, None)
        self.transport.resume_reading()

    def drop(self) -> None:
        """End TCP, and tell aiohttp that the connection is over."""
        end_tcp(self.transport)
        # Gives the connection back to the connector; the transport is aborted, so nothing lingers.
        self._response.close()

    def lost(self) -> None:
        """Tell aiohttp's handler that TCP has ended, so that nobody waits for it."""
        self._handler.connection_lost(None)
