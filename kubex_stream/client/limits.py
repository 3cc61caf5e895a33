"""How long things may take, and how long to wait before they are tried again."""

from __future__ import annotations

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
def deadline(timeout: Timeout | Any | None, open_timeout: float | None, what: str) -> Generator[None, None, None]:
    """Limit the block by the wall clock, to the shorter one of ``timeout.total`` and ``open_timeout``.

    :raises StreamTimeout: that passed; a TimeoutError of the block itself stays what it is
    """
    total = timeout.total if isinstance(timeout, Timeout) else None
    seconds = min((limit for limit in (total, open_timeout) if limit is not None), default=None)
    with anyio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise StreamTimeout(f"{what} took longer than {seconds:g} s")


def retry_delay(error: ApiError, *, method: str, retried: int, retries: int) -> float | None:
    """Seconds until a refused request is tried again, None to give up.

    :param retried: how often it has been already
    :param retries: how often it may be
    """
    # A 429 means that nothing was done.  A 503 of a gateway does not, so only what changes nothing is repeated then.
    repeatable = error.status_code == 429 or (error.status_code == 503 and method in ("GET", "HEAD"))
    if not repeatable or retried >= retries:
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= LONGEST_RETRY_AFTER else None
    return min(LONGEST_BACKOFF, 2.0 ** (retried - 1)) * random.uniform(0.5, 1.0)
