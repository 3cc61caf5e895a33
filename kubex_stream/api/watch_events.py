"""What a watch tells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from kubex_stream.watch.decoding import metadata_of
from kubex_stream.watch.known import ChangeType

__all__ = ("WatchEvent", "WatchNotice", "standing")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[T]):
    """A change of one object.  ``event["type"]`` is ``event.type``, and so on.

    :ivar type: ``ADDED``, ``MODIFIED`` or ``DELETED``
    :ivar raw_object: the object as the API's JSON; of ``DELETED`` its last state
    :ivar object: what the model made of it; without a model the same dict
    :ivar initial: it was there when the watch began
    :ivar relisted: it was found by comparing a new list with what had been told, since the version to go on from was too old: several
        changes may be in this one
    """

    type: ChangeType
    raw_object: dict[str, Any]
    object: T
    initial: bool = False
    relisted: bool = False

    def __getitem__(self, key: Literal["type", "raw_object", "object"]) -> Any:
        if key not in ("type", "raw_object", "object"):
            raise KeyError(key)
        return getattr(self, key)


@dataclass(frozen=True, slots=True)
class WatchNotice:
    """What happened to the watch itself.

    :ivar kind: ``synced``: everything that was there at the beginning has been told.  ``bookmark``: the version has moved on without a
        change.  ``resuming``: the connection has ended, failed or gone silent, and is made again.  ``relisting``: the version to go on from
        is too old, or the server seems never to have had it, so everything is listed anew.  ``relisted``: the differences have been told
    :ivar resource_version: where it goes on from; empty before there is one
    :ivar error: why, where it is an error
    :ivar delay: seconds until the next attempt
    """

    kind: Literal["synced", "bookmark", "resuming", "relisting", "relisted"]
    resource_version: str = ""
    error: Exception | None = None
    delay: float = 0.0


def standing(events: Iterable[WatchEvent[T]]) -> list[WatchEvent[T]]:
    """What is there after all of them: a state that had to be asked for twice may have changed in between.

    What had been handed out before them stays a change: it is not ``ADDED`` again, and where it has vanished that is told.
    """
    vanished: list[WatchEvent[T]] = []
    found: dict[tuple[object, object], WatchEvent[T]] = {}
    for event in events:
        metadata = metadata_of(event.raw_object)
        key = metadata.get("namespace"), metadata.get("name")
        before = found.pop(key, None)
        is_new = before is not None and before.type == "ADDED"
        if event.type != "DELETED":
            found[key] = replace(event, type="ADDED", initial=True) if is_new else event
        elif not is_new:
            vanished.append(event)
    return [*vanished, *found.values()]
