"""What a watch is asked for, and which errors it gets over."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from kubex_stream.api.watch_events import WatchNotice
from kubex_stream.client.request import Request
from kubex_stream.errors import ApiError, ConfigurationError, ConnectionFailed, ConnectionLost, StreamTimeout
from kubex_stream.watch.backoff import Backoff
from kubex_stream.watch.course import Ask

__all__ = ("TROUBLE", "FindPath", "Trouble", "WatchSettings", "passes", "refuses_to_stream")

Trouble = ApiError | ConfigurationError | ConnectionFailed | ConnectionLost | StreamTimeout
#: What a request fails with; the second one where credentials cannot be renewed, which may need the network too.
TROUBLE: Final = (ApiError, ConfigurationError, ConnectionFailed, ConnectionLost, StreamTimeout)

#: What is worth another attempt, besides broken connections: the server is busy, or not there for a while.
_TRANSIENT: Final = frozenset({408, 429, 500, 502, 503, 504})
#: How a server says that it does not stream a state: the API server's way, and that of others who do not know the parameter.
_NO_STREAMED_STATE: Final = frozenset({400, 422})


class FindPath(Protocol):
    """Finds out what to ask for."""

    def __call__(self, *, refresh: bool = False) -> Awaitable[str]:
        """The path.

        :param refresh: what was known about it turned out to be wrong
        """


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
    list_timeout: Any = ...
    backoff: Backoff = field(default_factory=Backoff)
    notify: Callable[[WatchNotice], object] | None = None

    def request(self, path: str, ask: Ask, left: float) -> Request:
        """What is sent.

        :param left: seconds until it is over
        """
        query = [*ask.query, *self.query]
        if ask.watch and left < math.inf:
            # A server that is asked for this many seconds lets go of the watch even where it never learns that nobody reads it.
            query.append(("timeoutSeconds", str(max(1, math.ceil(left)))))
        timeout = self.request_timeout if ask.watch else self.list_timeout
        return Request(path=path, query=query, headers=self.headers, timeout=timeout)


def passes(error: Exception) -> bool:
    """Whether what is wrong may be over soon."""
    return not isinstance(error, ApiError) or error.status_code in _TRANSIENT


def refuses_to_stream(error: Exception) -> bool:
    """Whether a server that is asked to stream a state may have said that it does not."""
    return isinstance(error, ApiError) and error.status_code in _NO_STREAMED_STATE
