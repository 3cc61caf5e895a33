"""Numbers about one session."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ("SessionStatistics",)


class SessionStatistics(NamedTuple):
    """What a session has carried so far; read it at any time.

    Payload bytes are counted, without channel numbers and WebSocket headers.
    """

    #: Bytes received on stdout and stderr.
    bytes_in: int
    #: Bytes sent on stdin.
    bytes_out: int
    #: WebSocket messages received.
    frames_in: int
    #: WebSocket messages sent.
    frames_out: int
    #: Seconds since anything arrived, pongs included, rounded up to the watch's tick of about a second.
    idle_seconds: float
    #: Seconds from the last answered ping to its answer, None before the first one; a slow consumer makes it longer.
    rtt: float | None
    #: Bytes that had to be kept in a temporary file because their consumer stalled.
    spooled: int

    def __str__(self) -> str:
        rtt = "" if self.rtt is None else f", rtt {self.rtt * 1000:.1f} ms"
        return f"{self.bytes_in} bytes in, {self.bytes_out} bytes out, idle for {self.idle_seconds:.1f} s{rtt}"
