"""Which connections of a tunnel keep it from being read, as they do not take what is theirs."""

from __future__ import annotations

import logging

from kubex_stream.client.options import ClientOptions
from kubex_stream.session.buffer import ChannelBuffer

__all__ = ("Pressure",)

_logger = logging.getLogger("kubex_stream")


class Pressure:
    """The buffers that are too full to read on.

    A connection that has the tunnel for itself does so when its memory is full: that is its back-pressure.  In a shared tunnel its bytes go
    to a spool file first, and it stops the others only above ``spool_limit``, or where no file can be had.

    :param path: of the tunnel's request, for the log
    """

    def __init__(self, options: ClientOptions, path: str) -> None:
        self._options = options
        self._path = path
        self._buffers: set[ChannelBuffer] = set()
        self._warned = False

    def __bool__(self) -> bool:
        return bool(self._buffers)

    def __contains__(self, buffer: ChannelBuffer) -> bool:
        return buffer in self._buffers

    def weigh(self, buffer: ChannelBuffer, *, shared: bool) -> None:
        """Look at a buffer that was filled or emptied."""
        if buffer.full and not (shared and self._may_spool(buffer)):
            self._buffers.add(buffer)
        else:
            self._buffers.discard(buffer)

    def forget(self, buffer: ChannelBuffer) -> None:
        """Its connection is gone."""
        self._buffers.discard(buffer)

    def _may_spool(self, buffer: ChannelBuffer) -> bool:
        if buffer.spool_error is None and buffer.size < self._options.spool_limit:
            return True
        if not self._warned:
            self._warned = True
            reason = "more than spool_limit" if buffer.spool_error is None else f"without a file ({buffer.spool_error})"
            _logger.warning(
                "%s: %d bytes of a shared tunnel wait for their consumer, %s: its other connections wait now",
                self._path,
                buffer.size,
                reason,
            )
        return False
