"""The objects that a watch has told of: what a later list is compared with.

Rules of this file:
- An object is known by namespace and name, and is the same one as long as its uid is.  Versions are compared for equality only.
- What is kept of it is the line that told of it: a sixth of what the object would take, and seldom read again.  So what is handed out is
  the reader's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from kubex_stream.watch.decoding import RawEvent, decode, metadata_of

__all__ = ("Change", "ChangeType", "KnownObjects")

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an object.

    :ivar initial: it is part of the state that the watch began with
    :ivar relisted: it was found out by comparing lists, so several changes may be in one, and when it happened is not known
    """

    type: ChangeType
    object: dict[str, Any]
    initial: bool = False
    relisted: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    uid: object
    version: object
    line: bytes


class KnownObjects:
    """The state as the reader of the events has it.

    A whole state, listed or streamed, stands between :meth:`begin` and :meth:`finish`.
    """

    def __init__(self) -> None:
        self._known: dict[_Key, _Known] = {}
        self._unseen: set[_Key] = set()
        #: Whether a whole state has been taken in before, so that the next one is a re-list.
        self.complete = False

    def __len__(self) -> int:
        return len(self._known)

    def begin(self) -> None:
        """A whole state comes."""
        self._unseen = set(self._known)

    def see(self, event: RawEvent) -> list[Change]:
        """An object of that state: what is new in it."""
        key, found = _identify(event)
        before = self._known.get(key)
        self._unseen.discard(key)
        self._known[key] = found
        if before is None:
            return [self._change("ADDED", event)]
        if before.uid != found.uid:
            return [self._change("DELETED", decode(before.line)), self._change("ADDED", event)]
        return [] if before.version == found.version else [self._change("MODIFIED", event)]

    def finish(self) -> list[Change]:
        """That state is whole: what was known and is not in it has vanished."""
        vanished = [self._change("DELETED", decode(self._known.pop(key).line)) for key in sorted(self._unseen)]
        self._unseen = set()
        self.complete = True
        return vanished

    def note(self, event: RawEvent) -> None:
        """An ordinary event has told of an object."""
        key, found = _identify(event)
        self._unseen.discard(key)
        if event.type == "DELETED":
            self._known.pop(key, None)
        else:
            self._known[key] = found

    def _change(self, kind: ChangeType, event: RawEvent) -> Change:
        return Change(kind, event.object, initial=not self.complete, relisted=self.complete)


def _identify(event: RawEvent) -> tuple[_Key, _Known]:
    metadata = metadata_of(event.object)
    key = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    return key, _Known(metadata.get("uid"), metadata.get("resourceVersion"), event.line)
