"""A state made of nothing but the events of a watch, which must make sense one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kubex_stream import WatchEvent, WatchNotice

__all__ = ("Replayed",)


@dataclass(slots=True)
class Replayed:
    """What a watch has told.

    :ivar state: name and version of each object
    """

    state: dict[str, str] = field(default_factory=dict)
    notices: list[WatchNotice] = field(default_factory=list)

    def kinds(self, kind: str) -> list[WatchNotice]:
        return [notice for notice in self.notices if notice.kind == kind]

    def take(self, event: WatchEvent[Any]) -> None:
        name, version = (event.raw_object["metadata"][key] for key in ("name", "resourceVersion"))
        assert (event.type == "ADDED") == (name not in self.state), (event.type, name, event.relisted)
        if event.type == "DELETED":
            del self.state[name]
            return
        assert int(version) > int(self.state.get(name, 0))
        self.state[name] = version
