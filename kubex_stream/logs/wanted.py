"""Which part of a log is wanted: checked when it is said, and as the query of a request."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

__all__ = ("Since", "Wanted", "check_count")

#: Seconds or a time span back from now, or a moment, with its time zone.
Since: TypeAlias = float | timedelta | datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which part of a log is wanted.

    :ivar follow: what is written from now on, too
    :ivar previous: the log before the last restart
    :ivar since: nothing older
    :ivar tail: so many lines of the end
    :ivar limit_bytes: not more than this
    :raises TypeError, ValueError: no such part
    """

    follow: bool = False
    previous: bool = False
    since: Since | None = None
    tail: int | None = None
    limit_bytes: int | None = None

    def __post_init__(self) -> None:
        check_count("tail", self.tail, 0)
        check_count("limit_bytes", self.limit_bytes, 1)
        if self.since is not None:
            _check_since(self.since)
        if self.follow and self.previous:
            raise ValueError("previous=True is a log that nobody writes to any more, so there is nothing to follow")

    def query(self, elapsed: float = 0.0) -> list[tuple[str, str]]:
        """As the query of a request; without the limit.

        :param elapsed: seconds since it was wanted, by which a span back from then is longer by now
        """
        found: list[tuple[str, str]] = []
        if self.follow:
            found.append(("follow", "true"))
        if self.previous:
            found.append(("previous", "true"))
        if isinstance(self.since, datetime):
            found.append(("sinceTime", self.since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")))
        elif self.since is not None:
            seconds = self.since.total_seconds() if isinstance(self.since, timedelta) else self.since
            found.append(("sinceSeconds", str(max(1, math.ceil(seconds + elapsed)))))
        if self.tail is not None:
            found.append(("tailLines", str(self.tail)))
        return found


def check_count(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number of at least ``least``; None is nothing to refuse.

    :raises TypeError, ValueError: it is none
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is a whole number, not {value!r}")
    if value < least:
        raise ValueError(f"{name} is at least {least}, not {value}")


def _check_since(since: object) -> None:
    if isinstance(since, datetime):
        if since.tzinfo is None:
            raise ValueError("since has no time zone; say which, as in datetime.now(timezone.utc) - timedelta(hours=1)")
        return
    if isinstance(since, timedelta):
        since = since.total_seconds()
    if isinstance(since, bool) or not isinstance(since, int | float):
        raise TypeError(f"since is seconds, a timedelta or a datetime, not {type(since).__name__}")
    if not 0 < since < math.inf:
        raise ValueError(f"since is a time back from now: seconds higher than zero, not {since}")
