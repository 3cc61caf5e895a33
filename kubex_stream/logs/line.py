"""What a reader of logs is given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, TypeVar

from kubex_stream.logs.lines import stamp_ns, stamp_time

__all__ = ("LogEvent", "LogLine", "LogSource")

DataT = TypeVar("DataT", bytes, str)


@dataclass(frozen=True, slots=True)
class LogSource:
    """Whose log it is."""

    namespace: str
    pod: str
    container: str

    def __str__(self) -> str:
        return f"{self.pod}/{self.container}" if self.container else self.pod


@dataclass(slots=True)
class LogLine(Generic[DataT]):
    """A line of a log.

    :ivar data: the line without its end; with ``timestamps=True`` its time stands before it
    :ivar source: whose it is
    :ivar stamp: its time as the server wrote it, as ``b"2026-03-01T08:15:30.123456789Z"``; empty where it has none
    :ivar complete: False where it has no end: the last line of a log that does not end in one, or the one that ``limit_bytes`` cut
    """

    data: DataT
    source: LogSource
    stamp: bytes
    complete: bool = True

    @property
    def pod(self) -> str:
        """The pod's name."""
        return self.source.pod

    @property
    def container(self) -> str:
        """The container's name; empty where the pod may not be read and none was named."""
        return self.source.container

    @property
    def timestamp(self) -> datetime | None:
        """When it was written, to the microsecond; None where that is not known."""
        return stamp_time(self.stamp)

    @property
    def timestamp_ns(self) -> int:
        """When it was written, in nanoseconds since 1970; 0 where that is not known."""
        return stamp_ns(self.stamp)

    def __str__(self) -> str:
        data: object = self.data
        return data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)

    def __bytes__(self) -> bytes:
        data: object = self.data
        return data if isinstance(data, bytes) else str(data).encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class LogEvent:
    """What happened to a log that is read, besides its lines.

    :ivar kind: ``waiting``: the container has not started; ``message`` says why not.  ``resumed``: the log goes on in a new request, after the
        connection was lost, was silent, or was ended by the server.  ``restarted``: the container has; what follows is its new log.  ``gap``:
        lines may be missing here, since the log was rotated, or the container restarted, more often than could be followed.
        ``failed``: this log cannot be read, and others are read on.  ``ended``: there will be no more of it
    :ivar source: whose log it is
    :ivar message: what happened, for people
    :ivar error: what it was about, where it was an error
    """

    kind: Literal["waiting", "resumed", "restarted", "gap", "failed", "ended"]
    source: LogSource
    message: str
    error: Exception | None = None
