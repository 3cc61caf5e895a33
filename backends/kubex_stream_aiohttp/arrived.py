"""Reading before writing.

A write into a connection that the peer has reset makes an event loop throw away what it has not read yet, and that may be the Status of a
process which has just ended.  So before each message the socket is asked, and where it has something to say the event loop gets its turns
to take it.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

__all__ = ("Arrived",)

#: An event loop reads behind the tasks that were ready, so only in the second turn, and not all at once.
_TURNS: Final = 4


class Arrived:
    """What one transport's socket has, and the event loop has not read.

    :param transport: None for one that has ended
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    @cached_property  # most sessions never send
    def waiting(self) -> Callable[[int], object]:
        """With 0: what waits there; nothing where that cannot be known."""
        sock = None if self._transport is None else self._transport.get_extra_info("socket")
        if sys.platform == "win32" or sock is None or sock.fileno() < 0:
            return _nothing
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        return poll.poll

    @property
    def known(self) -> bool:
        """Whether it can be known."""
        return self.waiting is not _nothing

    async def taken(self) -> None:
        """Let the event loop take it; what a paused transport leaves there is not waited for."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if not self.waiting(0):
                return


def _nothing(_timeout: int) -> None:
    return None
