"""How long to wait before a watch is opened again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

__all__ = ("Backoff", "Pauses")

#: Seconds.  A watch that ended in order after living so long has done its work, events or none.
_SETTLED: Final = 5.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double, each cut at random to between a half and the whole of it, so that many watches do not come back at once.

    :ivar first: seconds of the first pause
    :ivar longest: seconds of the longest
    :raises ValueError: no positive numbers, or the first longer than the longest
    """

    first: float = 0.5
    longest: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.longest < math.inf:
            raise ValueError(
                "a Backoff's first and longest pause are seconds, higher than zero, the longest not shorter"
            )

    def pause(self, failures: int) -> float:
        """Seconds before the next attempt.

        :param failures: how many attempts in a row have brought nothing; at least 1
        """
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, 60))
        return whole * random.uniform(0.5, 1.0)


class Pauses:
    """The pauses of one watch: they grow while attempts bring nothing.

    :param patience: seconds for which nothing but failures is put up with; None: any number
    """

    def __init__(self, backoff: Backoff, patience: float | None = None) -> None:
        self._backoff = backoff
        self._patience = patience
        self._failures = 0
        self._failing_since: float | None = None

    def succeeded(self) -> None:
        """An attempt was answered."""
        self._failing_since = None

    def are_over(self, now: float) -> bool:
        """Whether with this failure patience ends.

        :param now: by the clock of the event loop
        """
        if self._failing_since is None:
            self._failing_since = now
        return self._patience is not None and now - self._failing_since >= self._patience

    def after_end(self, *, changes: bool, lived: float) -> float:
        """Seconds to wait after an end in order, which servers make every half hour or so: none, unless it came too soon.

        :param changes: whether there were any
        :param lived: seconds that it was open
        """
        if changes or lived >= _SETTLED:
            self._failures = 0
            return 0.0
        return self._next(None)

    def after_failure(self, *, changes: bool, lived: float, asked: float | None) -> float:
        """Seconds to wait after anything else.

        :param asked: what the server asked for
        """
        if changes or lived >= _SETTLED:
            self._failures = 0
        return self._next(asked)

    def _next(self, asked: float | None) -> float:
        self._failures += 1
        pause = self._backoff.pause(self._failures)
        return pause if asked is None else max(asked, pause)
