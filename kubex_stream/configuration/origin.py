"""Where a configuration came from, so that an error can name the file and the entry also hours after loading."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Origin", "Resolved")


@dataclass(frozen=True, slots=True)
class Origin:
    """The names that errors use.

    :ivar cluster: what said how to reach the server, e.g. ``cluster 'dev' in /home/me/.kube/config``
    :ivar user: what said who is asking, e.g. ``user 'dev-admin' in /home/me/.kube/config``
    """

    cluster: str = "this ClientConfiguration"
    user: str = "this ClientConfiguration"


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a loader found: the fields of a ClientConfiguration, and where each half of them stands."""

    fields: dict[str, object]
    origin: Origin

    def __repr__(self) -> str:
        return f"Resolved(origin={self.origin!r})"  # the fields hold secrets
