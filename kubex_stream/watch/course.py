"""The course of a watch: what to ask the server next, and what to make of its answers.

Rules of this file:
- A version is taken from where the server vouches for it: a list, a bookmark, an event behind the initial state.  The objects of a
  streamed initial state come in any order, so theirs say nothing about where to go on.
- Until the initial state is whole there is no version, and what breaks before begins again, compared with what has been told already.
- Whoever gave a version knows the state before it, and is told when it is too old; otherwise the state is listed anew, and the
  differences are told as changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from kubex_stream.watch.decoding import CHANGES, RawEvent, encode
from kubex_stream.watch.known import Change, KnownObjects

__all__ = ("Ask", "Course", "Initial", "Notice", "Told")

#: Objects of a page of a list.
_PAGE: Final = 500

Initial = Literal["auto", "list", "stream"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask the server for.

    :ivar watch: whether it is a watch; otherwise a list
    :ivar query: without the selectors
    """

    watch: bool
    query: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell besides changes.

    :ivar kind: ``synced``: the initial state is complete.  ``relisted``: so is the state after one that was too old.  ``bookmark``: the
        version has moved on without a change
    """

    kind: Literal["synced", "relisted", "bookmark"]
    version: str


Told = Change | Notice


class Course:
    """One watch, however many requests it takes.

    :param version: where to begin; None begins with the state as it is, ``"0"`` with one that may be a little old
    :param initial: how that state is asked for: ``stream``, ``list``, or ``auto``, which is ``stream`` with servers that can
    """

    def __init__(self, version: str | None = None, initial: Initial = "auto") -> None:
        self._any = version == "0"
        self._version = "" if version is None or self._any else version
        self._known = None if self._version else KnownObjects()
        self._streams = initial == "stream" or (initial == "auto" and not self._any)
        self._may_list = initial != "stream"
        self._continue = ""
        self._paged = not self._any

    @property
    def version(self) -> str:
        """Where the next watch begins; empty while that is not known."""
        return self._version

    @property
    def given(self) -> bool:
        """Whether the version was the caller's."""
        return self._known is None

    @property
    def synced(self) -> bool:
        """Whether everything that was there at the beginning has been told."""
        return self._known is None or self._known.complete

    @property
    def streams_state(self) -> bool:
        """Whether the next request, or this one, streams a whole state."""
        return not self._version and self._streams

    def ask(self) -> Ask:
        """The next request."""
        if self._version:
            return Ask(True, (*_WATCH, ("resourceVersion", self._version)))
        assert self._known is not None
        if self._streams:
            self._known.begin()
            least = (("resourceVersion", "0"),) if self._any else ()
            return Ask(True, (*_WATCH, ("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan"), *least))
        if self._continue:
            return Ask(False, (("limit", str(_PAGE)), ("continue", self._continue)))
        self._known.begin()
        if self._any:
            return Ask(False, (("resourceVersion", "0"),))
        return Ask(False, (("limit", str(_PAGE)),) if self._paged else ())

    def list_instead(self) -> bool:
        """The server does not stream a state; whether listing it is an alternative."""
        if not self._may_list:
            return False
        self._streams = False
        return True

    def listed(self, page: Any) -> Iterator[Told]:
        """A page of a list.

        :raises ValueError: it is none
        """
        assert self._known is not None
        if not isinstance(page, dict):
            raise ValueError("no list")
        metadata, items = page.get("metadata"), _items(page)
        if not isinstance(metadata, dict) or not isinstance(metadata.get("resourceVersion"), str):
            raise ValueError("no list")
        for item in items:
            yield from self._known.see(encode("ADDED", item))
        self._continue = str(metadata.get("continue") or "")
        if not self._continue:
            yield from self._whole(metadata["resourceVersion"])

    def take(self, event: RawEvent) -> Iterable[Told]:
        """An event; not for ERROR."""
        if event.type in CHANGES:
            return self._changed(event)
        return self._bookmark(event) if event.type == "BOOKMARK" else ()

    def _bookmark(self, event: RawEvent) -> Iterator[Told]:
        if self._version:
            self._version = event.version or self._version
            yield Notice("bookmark", self._version)
        elif event.ends_initial_state and event.version:
            yield from self._whole(event.version)

    def _changed(self, event: RawEvent) -> Sequence[Told]:
        if not self._version and event.type != "DELETED":
            assert self._known is not None
            return self._known.see(event)
        if self._version:
            self._version = event.version or self._version
        if self._known is not None:
            self._known.note(event)
        return (Change(event.type, event.object),)  # type: ignore[arg-type]

    def _whole(self, version: str) -> Iterator[Told]:
        assert self._known is not None
        again = self._known.complete
        self._version, self._continue, self._paged = version, "", True
        yield from self._known.finish()
        yield Notice("relisted" if again else "synced", version)

    def expired(self) -> bool:
        """The version is too old, or that of a list of which not all pages have been read: begin anew.

        :returns: False where that is not for us to do
        """
        if self.given:
            return False
        # A list in pages that takes longer than the server keeps its version comes in one piece next time.
        self._paged = self._paged and not self._continue
        self._any = False
        self._version = self._continue = ""
        return True


_WATCH: Final = (("watch", "1"), ("allowWatchBookmarks", "true"))


def _items(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects of a list, complete as those of a watch are."""
    if page.get("kind") == "Table":
        for row in page.get("rows") or ():
            yield {"kind": "Table", "columnDefinitions": page.get("columnDefinitions"), "rows": [row]}
        return
    kind, version = str(page.get("kind") or "").removesuffix("List"), page.get("apiVersion")
    items = page.get("items")
    if not isinstance(items, list | None) or not all(isinstance(item, dict) for item in items or ()):
        raise ValueError("no list")
    for item in items or ():
        item.setdefault("kind", kind)
        item.setdefault("apiVersion", version)
        yield item
