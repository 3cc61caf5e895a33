"""Where a configuration came from, so that an error can name the file and the entry also hours after loading."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ("Origin", "Resolved")


@dataclass(frozen=True, slots=True)
class Origin:
    """The names that errors use.

    :ivar cluster: what said how to reach the server, e.g. ``cluster 'dev' in /home/me/.kube/config``
    :ivar user: what said who is asking, e.g. ``user 'dev-admin' in /home/me/.kube/config``
    """

    # Not compared: configurations that say the same are equal, wherever they came from.
    cluster: str = field(default="this ClientConfiguration", compare=False)
    user: str = field(default="this ClientConfiguration", compare=False)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a loader found: the fields of a ClientConfiguration, and where each half of them stands."""

    fields: dict[str, object]
    origin: Origin

    def __repr__(self) -> str:
        return f"Resolved(origin={self.origin!r})"  # the fields hold secrets
