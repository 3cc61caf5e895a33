"""What a reader of a log asks the server besides the log, and how long it waits where something fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import uniform
from types import EllipsisType
from typing import Any, Final, Literal

import anyio

from kubex_stream.api.objects import kubernetes_object
from kubex_stream.api.request import pod_path
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request
from kubex_stream.errors import (
    ApiError,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    NotFound,
    StreamTimeout,
)
from kubex_stream.logs.line import LogEvent, LogSource
from kubex_stream.logs.status import GONE, UNKNOWN, ContainerView, view_of

__all__ = ("PASSING", "REFUSALS", "LogContact", "ReaderSettings", "Tell", "is_waiting", "look_again")

Tell = Callable[[LogEvent], object]

#: HTTP statuses that pass by themselves: a server that starts, stops or has too much to do, or a node that does not answer it.
PASSING: Final = (429, 500, 502, 503, 504)
#: Those that pass where the same was granted before: a server that has just begun does not know its roles yet.
REFUSALS: Final = (401, 403)
#: Seconds for which that may take.
_REFUSING: Final = 30.0
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 10.0
_LONGEST_ASKED: Final = 120.0
#: What the kubelet says of a container that has no log yet, or of one whose log of now is nowhere.
_WAITING: Final = ("is waiting to start", "is not available", "is terminated")
#: Seconds between two looks at a container that does not run, at first and at most.
_LOOK: Final = 1.0
_SELDOM: Final = 10.0


def is_waiting(error: ApiError) -> bool:
    """Whether the kubelet says that the container has not started."""
    return error.status_code == 400 and any(words in str(error) for words in _WAITING)


async def look_again(begun: float) -> None:
    """Pause between two looks at a container that does not run: the longer, the longer it has not.

    :param begun: the event loop's time of the first look
    """
    await anyio.sleep(max(_LOOK, min(_SELDOM, (anyio.current_time() - begun) / 8)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSettings:
    """How to go on.

    :ivar inactivity: seconds of silence after which a log is asked for again; None for never
    :ivar start_timeout: seconds for the container to start; None for ever
    :ivar retry_for: seconds for which it may fail before it is given up; None for ever
    :ivar given: for the requests: ``timeout`` and ``headers``
    """

    inactivity: float | None
    start_timeout: float | None
    retry_for: float | None
    given: dict[str, Any] = field(default_factory=dict)


class LogContact:
    """Asks about one container.

    :param uid: the pod's; "" where it may not be read
    :param granted: whether the pod has been read by its name, so that a refusal to do so will pass
    :param tell: is told what happens; it returns at once
    """

    def __init__(
        self, client: BaseClient, source: LogSource, settings: ReaderSettings, *, uid: str, granted: bool, tell: Tell
    ) -> None:
        self.client = client
        self.source = source
        self.settings = settings
        self.path = pod_path(source.namespace, source.pod, "log")
        self._uid = uid
        self._tell = tell
        self._failures = 0
        self._failing_since: float | None = None
        self._granted = granted

    def say(
        self,
        kind: Literal["waiting", "resumed", "restarted", "gap", "failed", "ended"],
        message: str,
        error: Exception | None = None,
    ) -> None:
        """Tell what happens."""
        self._tell(LogEvent(kind, self.source, message, error))

    def works(self) -> None:
        """Something came."""
        self._failures, self._failing_since = 0, None

    def fails(self) -> None:
        """Nothing came."""
        self._failures += 1

    async def pause(self, error: Exception | None, limit: float | EllipsisType | None = ...) -> None:
        """Wait before the next attempt, longer each time nothing came of one.

        :param error: what went wrong; None where nothing did
        :param limit: seconds for which it may; ``...``: as the settings have it
        :raises Exception: ``error``, where things have been going wrong for too long
        """
        if not self._failures:
            return
        now, limit = anyio.current_time(), self.settings.retry_for if limit is ... else limit
        if isinstance(error, ApiError) and error.status_code in REFUSALS:
            limit = _REFUSING if limit is None else min(_REFUSING, limit)
        if error is None:
            self._failing_since = None
        elif self._failing_since is None:
            self._failing_since = now
        elif limit is not None and now - self._failing_since > limit:
            raise error
        delay = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10)) * uniform(0.5, 1.0)
        if isinstance(error, ApiError) and error.retry_after is not None:
            delay = max(delay, min(error.retry_after, _LONGEST_ASKED))
        if error is not None:
            self.client.observer.retried(self.path, error, delay)
        await anyio.sleep(delay)

    async def look(self, before: ContainerView) -> ContainerView:
        """The container now; waits while the server cannot be asked, or refuses what it has granted before.

        :param before: as it was seen last
        :raises ApiError: the server refused
        """
        if before.state == "unknown":
            return UNKNOWN
        request = Request(path=pod_path(self.source.namespace, self.source.pod), **self.settings.given)
        while True:
            try:
                pod = kubernetes_object(await self.client.request(request), request)
            except NotFound:
                return replace(GONE, restarts=before.restarts)
            except (ConnectionFailed, ConnectionLost, StreamTimeout, ApiError) as error:
                if isinstance(error, Forbidden) and not self._granted:
                    return UNKNOWN
                if isinstance(error, ApiError) and error.status_code not in (*PASSING, *REFUSALS):
                    raise
                self.fails()
                await self.pause(error)
                continue
            self._granted = True
            if self._uid and pod["metadata"].get("uid") != self._uid:
                return replace(GONE, restarts=before.restarts, why="its pod has been replaced by another one")
            return view_of(pod, self.source.container)
