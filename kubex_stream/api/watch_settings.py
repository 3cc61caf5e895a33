"""What a watch is asked for, and which errors it gets over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kubex_stream.api.watch_events import WatchNotice
from kubex_stream.errors import ApiError
from kubex_stream.watch.backoff import Backoff

__all__ = ("WatchSettings", "passes")

#: What is worth another attempt, besides broken connections: the server is busy, or not there for a while.
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """What is asked for, checked.

    :ivar query: the selectors
    :ivar timeout: seconds of the whole watch
    :ivar inactivity: seconds without a byte after which the connection counts as lost
    :ivar give_up_after: seconds without any success after which the last error is raised
    """

    query: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout: float | None = None
    inactivity: float | None = None
    give_up_after: float | None = None
    request_timeout: Any = ...
    backoff: Backoff = field(default_factory=Backoff)
    notify: Callable[[WatchNotice], object] | None = None


def passes(error: Exception) -> bool:
    """Whether what is wrong may be over soon."""
    return not isinstance(error, ApiError) or error.status_code in _TRANSIENT
