"""Going on after a connection broke."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import anyio

from kubex_stream.errors import ApiError, ConnectionFailed, ConnectionLost, StartError, StatusMissing

__all__ = ("Retries",)

T = TypeVar("T")
_LONGEST: Final = 30.0
_logger = logging.getLogger("kubex_stream")


class Retries:
    """How often a copy goes on, and when.

    :param allowed: so often; negative: for ever
    """

    def __init__(self, allowed: int) -> None:
        self._allowed = allowed
        self.used = 0
        self._futile = 0

    @property
    def any(self) -> bool:
        """Whether anything is tried again at all."""
        return self._allowed != 0

    async def insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something small, from its beginning where the connection broke.

        :raises Exception: as :meth:`pause`
        """
        while True:
            try:
                return await work()
            except Exception as error:  # noqa: BLE001  # raised again where it is no break
                await self.pause(error, advanced=False)

    async def pause(self, error: Exception, *, advanced: bool) -> None:
        """Wait a growing, jittered while, or give up.

        :param error: why
        :param advanced: something was copied since the last time, so there is no need to wait for long
        :raises Exception: ``error``, where it is no such trouble, or this has been tried often enough
        """
        if not _passes(error) or 0 <= self._allowed <= self.used:
            raise error
        self.used += 1
        self._futile = 0 if advanced else self._futile + 1
        delay = min(_LONGEST, 0.05 * 2**self._futile) * random.uniform(0.5, 1.0)
        _logger.warning("the copy broke off (%s); going on in %.2f s", type(error).__name__, delay)
        await anyio.sleep(delay)


def _passes(error: Exception) -> bool:
    if isinstance(error, ApiError):
        return not isinstance(error, StartError) and error.status_code >= 500
    return isinstance(error, ConnectionLost | ConnectionFailed | StatusMissing)
