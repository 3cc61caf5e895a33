"""What containers have written, as the kubelet keeps it: files of entries, which are lines or pieces of long ones.

Rules of this file (containerd's cri/io/logger.go, the kubelet's kuberuntime/logs):
- Each output is cut into lines by itself; a line is one entry, with its newline, and of a longer one than 16 KiB every 16 KiB are one.  What
  has no newline is an entry when the process ends.
- Rotation begins a new file.  Who follows reads the old one to its end and goes on with the new one; who comes later gets the new one only.
- A restart begins a new log.  The one before it can still be read, all others cannot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

__all__ = ("ContainerLog", "Entry", "LogFile", "stamp")

#: The longest entry; containerd's max_container_log_line_size.
ENTRY_SIZE: Final = 16 * 1024


def stamp(time_ns: int) -> bytes:
    """A time as the kubelet writes it before a line."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return b"%s.%09dZ" % (_second(seconds), nanoseconds)


@lru_cache(maxsize=64)
def _second(seconds: int) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line, or a piece of one.

    :ivar time_ns: nanoseconds since 1970
    :ivar data: with its newline; without one, the line goes on in the next entry
    """

    time_ns: int
    data: bytes


@dataclass(slots=True, eq=False)
class LogFile:
    """A file of a log.

    :ivar following: the file after it, once it was rotated
    :ivar ended: whether nobody will write to it any more
    :ivar size: bytes of all entries
    """

    entries: list[Entry] = field(default_factory=list)
    following: LogFile | None = None
    ended: bool = False
    size: int = 0
    _readers: set[asyncio.Event] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        """Write an entry."""
        self.entries.append(entry)
        self.size += len(entry.data)
        self.tell()

    def tell(self) -> None:
        """Wake everybody who follows."""
        for event in self._readers:
            event.set()

    async def changed(self, place: int) -> None:
        """Wait until there is something behind ``place``: an entry, another file, or the end."""
        event = asyncio.Event()
        self._readers.add(event)
        try:
            while place >= len(self.entries) and self.following is None and not self.ended:
                event.clear()
                await event.wait()
        finally:
            self._readers.discard(event)


class ContainerLog:
    """The log of a container, over all its restarts.

    :param max_size: bytes of a file after which it is rotated
    :param now: the clock, in nanoseconds since 1970
    """

    def __init__(self, max_size: int, now: Callable[[], int] = time.time_ns) -> None:
        self.current = LogFile()
        self.previous: LogFile | None = None
        self._max_size = max_size
        self._now = now
        self._rest: dict[int, bytes] = {}

    def write(self, channel: int, data: bytes, *, time_ns: int | None = None) -> None:
        """Take output.

        :param channel: which output it is
        :param time_ns: when it was written; None: now
        """
        *lines, rest = (self._rest.pop(channel, b"") + data).split(b"\n")
        for line in lines:
            self._entries(line + b"\n", time_ns)
        while len(rest) >= ENTRY_SIZE:
            self._add(rest[:ENTRY_SIZE], time_ns)
            rest = rest[ENTRY_SIZE:]
        if rest:
            self._rest[channel] = rest

    def _entries(self, line: bytes, time_ns: int | None) -> None:
        while len(line) > ENTRY_SIZE + 1:
            self._add(line[:ENTRY_SIZE], time_ns)
            line = line[ENTRY_SIZE:]
        self._add(line, time_ns)

    def _add(self, data: bytes, time_ns: int | None) -> None:
        self.current.add(Entry(self._now() if time_ns is None else time_ns, data))
        if self.current.size >= self._max_size:
            self.rotate()

    def rotate(self) -> None:
        """Begin a new file."""
        old, self.current = self.current, LogFile(ended=self.current.ended)
        old.following = self.current
        old.tell()

    def finish(self) -> None:
        """The process has ended: write what has no newline, and no more."""
        for rest in self._rest.values():
            self.current.add(Entry(self._now(), rest))
        self._rest.clear()
        self.current.ended = True
        self.current.tell()

    def restart(self) -> None:
        """Another process begins; the log of the last one can still be read."""
        if not self.current.ended:
            self.finish()
        self.previous, self.current = self.current, LogFile()
