"""What is known from the pings of a tunnel: how long they take, and how much of what was sent the server has taken."""

from __future__ import annotations

import time

__all__ = ("PingLog",)


class PingLog:
    """One ping at a time, and what its answer tells."""

    def __init__(self) -> None:
        #: Seconds from the last answered ping to its answer, None before the first one.
        self.rtt: float | None = None
        #: Bytes that the server had taken when it answered.
        self.confirmed = 0
        self._pending: tuple[int, float, int] | None = None  # id, when, bytes sent before it

    @property
    def pending(self) -> bool:
        """Whether an answer is awaited."""
        return self._pending is not None

    @property
    def waiting(self) -> float:
        """Seconds for which it is."""
        return 0.0 if self._pending is None else time.monotonic() - self._pending[1]

    def sent(self, ping_id: int, bytes_out: int) -> None:
        """A ping goes out behind so many bytes."""
        self._pending = (ping_id, time.monotonic(), bytes_out)

    def answered(self, ping_id: int) -> None:
        """One has come back."""
        if self._pending is not None and self._pending[0] == ping_id:
            self.rtt, self.confirmed = self.waiting, self._pending[2]
            self._pending = None
