"""How long things may take, and how long to wait before they are tried again."""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import anyio

from kubex_stream.core.params import Timeout
from kubex_stream.errors import ApiError, StreamTimeout

__all__ = ("deadline", "retry_delay")

#: Seconds; a server that asks for a longer pause gets no retry.
LONGEST_RETRY_AFTER: Final = 120.0
LONGEST_BACKOFF: Final = 30.0


@contextmanager
def deadline(timeout: Timeout | Any | None, open_timeout: float | None, what: str) -> Generator[float, None, None]:
    """Limit the block by the wall clock, to the shorter one of ``timeout.total`` and ``open_timeout``; gives the event loop's time then.

    :raises StreamTimeout: that passed; a TimeoutError of the block itself stays what it is
    """
    total = timeout.total if isinstance(timeout, Timeout) else None
    seconds = min((limit for limit in (total, open_timeout) if limit is not None), default=None)
    with anyio.move_on_after(seconds) as scope:
        yield scope.deadline
    if scope.cancelled_caught:
        raise StreamTimeout(f"{what} took longer than {seconds:g} s")


def retry_delay(
    error: ApiError, *, repeatable: bool, retried: int, retries: int, until: float = math.inf
) -> float | None:
    """Seconds until a refused request is tried again, None to give up.

    :param repeatable: whether doing it twice does no harm
    :param retried: how often it has been already
    :param retries: how often it may be
    :param until: the event loop's time at which it is too late; then what the server said tells more than a timeout
    """
    # A 429 means that nothing was done; a 503, which may be a gateway's, does not.
    refused = error.status_code == 429 or (error.status_code == 503 and repeatable)
    if not refused or retried >= retries:
        return None
    delay = error.retry_after
    if delay is None:
        delay = min(LONGEST_BACKOFF, 2.0 ** (retried - 1)) * random.uniform(0.5, 1.0)
    if delay > LONGEST_RETRY_AFTER or (until < math.inf and anyio.current_time() + delay >= until):
        return None
    return delay
