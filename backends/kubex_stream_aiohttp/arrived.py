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
from typing import Any, Final

__all__ = ("Arrived",)

#: An event loop reads behind the tasks that were ready, so only in the second turn, and not all at once.
_TURNS: Final = 4


class Arrived:
    """What one transport's socket has, and the event loop has not read.

    :param transport: None for one that has ended
    """

    def __init__(self, transport: Any) -> None:
        #: Whether it can be known.
        self.known = False
        sock = None if transport is None else transport.get_extra_info("socket")
        #: With 0: what waits there; nothing where that cannot be known.
        self.waiting: Callable[[int], object] = _nothing
        if sys.platform != "win32" and sock is not None and sock.fileno() >= 0:
            poll = select.poll()
            poll.register(sock.fileno(), select.POLLIN)
            self.waiting, self.known = poll.poll, True

    async def taken(self) -> None:
        """Let the event loop take it; what a paused transport leaves there is not waited for."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if not self.waiting(0):
                return


def _nothing(_timeout: int) -> None:
    return None
