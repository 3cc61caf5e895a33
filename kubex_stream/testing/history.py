"""The changes of a running cluster, in order: what a watch reads, until they are compacted away.

Rules of this file: there is one counter of versions for everything.  Objects in here are never changed; a change brings a new one.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ("Event", "History")

#: Changes that are kept; older ones are as if they were compacted.
_LENGTH: Final = 20_000
_SNAPSHOTS: Final = 20


@dataclass(frozen=True, slots=True)
class Event:
    """A change: of type ADDED, MODIFIED or DELETED; ``version`` is the resource version that it made.

    :ivar resource: as paths have it, ``pods``
    :ivar previous: the object before it; None for a new one
    """

    version: int
    type: str
    resource: str
    object: dict[str, Any]
    previous: dict[str, Any] | None


class History:
    """All changes so far.

    :param changed: called after every one
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.version = 1
        #: The oldest version from which a watch can start.
        self.oldest = 0
        #: The same for a watch that is open, which compaction does not end.
        self.oldest_kept = 0
        self._changed = changed
        self._events: list[Event] = []
        self._last: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._kept = 0
        self._snapshots: dict[str, tuple[int, list[dict[str, Any]]]] = {}
        self._watchers: set[asyncio.Event] = set()

    def claim(self) -> int:
        """The next version, for something whose changes are not recorded."""
        self.version += 1
        self._changed()
        return self.version

    def record(self, kind: str, resource: str, make: Callable[[int], dict[str, Any]]) -> dict[str, Any]:
        """A change has happened.

        :param make: the object, given the version
        """
        self.version += 1
        item = make(self.version)
        metadata = item["metadata"]
        key = resource, metadata.get("namespace", ""), metadata["name"]
        previous = self._last.pop(key, None)
        if kind != "DELETED":
            self._last[key] = item
        self._events.append(Event(self.version, kind, resource, item, previous))
        if len(self._events) >= 2 * _LENGTH:
            self._forget(len(self._events) - _LENGTH)
        for event in self._watchers:
            event.set()
        self._changed()
        return item

    def after(self, version: int, resource: str) -> Iterator[Event]:
        """The changes of a resource since ``version``."""
        events = self._events[bisect_right(self._events, version, key=lambda event: event.version) :]
        return (event for event in events if event.resource == resource)

    def compact(self) -> None:
        """No watch begins before now any more, and every list that is being read in pages is forgotten."""
        self.oldest = self.version
        self._snapshots.clear()

    def _forget(self, count: int) -> None:
        self.oldest_kept = self._events[count - 1].version
        self.oldest = max(self.oldest, self.oldest_kept)
        del self._events[:count]

    def keep(self, items: list[dict[str, Any]]) -> str:
        """Keep a list that is read in pages.

        :returns: what to call it
        """
        self._kept += 1
        self._snapshots[str(self._kept)] = self.version, items
        while len(self._snapshots) > _SNAPSHOTS:
            del self._snapshots[next(iter(self._snapshots))]
        return str(self._kept)

    def kept(self, name: str) -> tuple[int, list[dict[str, Any]]] | None:
        """A list that was kept, and its version; None where it has been forgotten."""
        return self._snapshots.get(name)

    def watch(self) -> asyncio.Event:
        """An event that is set whenever something changes; give it back to ``unwatch``."""
        event = asyncio.Event()
        self._watchers.add(event)
        return event

    def unwatch(self, event: asyncio.Event) -> None:
        """No longer set ``event``."""
        self._watchers.discard(event)
