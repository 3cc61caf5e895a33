"""From a line of a log to its time.

Rules of this file:
- With ``timestamps=true`` a server puts a time before every line: RFC 3339 with nanoseconds, of the node's time zone, and a space.
- Two things come without one: the rest of a long line whose beginning is older than what was asked for, and a sentence of the kubelet's
  where there is no log (both only at the beginning of an answer).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

__all__ = ("NO_LOG", "split_stamp", "stamp_ns", "stamp_time")

#: How the kubelet begins the text that it sends, with a 200, in place of a log that is gone.
NO_LOG: Final = b"unable to retrieve container logs for "
_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
