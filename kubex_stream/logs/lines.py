"""From the bytes of a log to its lines, and from a line to its time.

Rules of this file:
- A line has no limit but memory's: the pieces of an unfinished one are kept as they are and joined once, when its end has come.
- With ``timestamps=true`` a server puts a time before every line: RFC 3339 with nanoseconds, of the node's time zone, and a space.
- Two things come without one: the rest of a long line whose beginning is older than what was asked for, and a sentence of the kubelet's
  where there is no log (both only at the beginning of an answer).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

__all__ = ("NO_LOG", "LineSplitter", "split_stamp", "stamp_ns", "stamp_time")

#: How the kubelet begins the text that it sends, with a 200, in place of a log that is gone.
NO_LOG: Final = b"unable to retrieve container logs for "
_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class LineSplitter:
    """Splits at ``\\n``."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in ``piece``, without their ends."""
        lines = piece.split(b"\n")
        rest = lines.pop()
        if lines and self._parts:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts = []
        if rest:
            self._parts.append(rest)
        return lines

    def rest(self) -> bytes:
        """What has come of a line whose end has not; it is forgotten."""
        rest = b"".join(self._parts)
        self._parts = []
        return rest


def split_stamp(line: bytes) -> tuple[bytes, bytes]:
    """A line's time as it was sent, and the line; no time where the line has none."""
    match = _STAMP.match(line)
    return (line[: match.end() - 1], line[match.end() :]) if match else (b"", line)


def stamp_ns(stamp: bytes) -> int:
    """A time as nanoseconds since 1970; 0 for none."""
    match = _STAMP.match(stamp + b" ")
    if match is None:
        return 0
    seconds, fraction, zone = match.groups()
    moment = datetime.fromisoformat(seconds.decode()).replace(tzinfo=UTC)
    whole = (moment - _EPOCH) // timedelta(seconds=1) - _offset(zone)
    return whole * 1_000_000_000 + int((fraction or b"0").ljust(9, b"0"))


def stamp_time(stamp: bytes) -> datetime | None:
    """A time as a datetime, with the time zone that it was sent in, cut to microseconds; None for none."""
    match = _STAMP.match(stamp + b" ")
    if match is None:
        return None
    seconds, fraction, zone = match.groups()
    moment = datetime.fromisoformat(seconds.decode()).replace(microsecond=int((fraction or b"0").ljust(9, b"0")[:6]))
    offset = _offset(zone)
    return moment.replace(tzinfo=timezone(timedelta(seconds=offset)) if offset else UTC)


def _offset(zone: bytes) -> int:
    """Seconds east of Greenwich."""
    if zone == b"Z":
        return 0
    size = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return -size if zone[:1] == b"-" else size
