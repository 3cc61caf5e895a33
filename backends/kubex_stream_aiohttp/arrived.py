"""Reading before writing.

A write into a connection that the peer has reset makes an event loop throw away what it has not read yet, and that may be the Status of a
process which has just ended.  So before each message the socket is asked, and where it has something to say the event loop gets its turns
to take it.
"""

from __future__ import annotations

import asyncio
import select
import sys
from typing import Any, Final

__all__ = ("Arrived",)

#: An event loop reads behind the tasks that were ready, so only in the second turn, and not all at once.
_TURNS: Final = 4


class Arrived:
    """What one transport's socket has, and the event loop has not read.

    :param transport: None for one that has ended
    """

    def __init__(self, transport: Any) -> None:
        sock = None if transport is None else transport.get_extra_info("socket")
        self._poll = None
        if sys.platform != "win32" and sock is not None and sock.fileno() >= 0:
            waiting = select.poll()
            waiting.register(sock.fileno(), select.POLLIN)
            self._poll = waiting.poll

    async def taken(self) -> None:
        """Let the event loop take it; what a paused transport leaves there is not waited for."""
        for _ in range(_TURNS):
            if self._poll is None or not self._poll(0):
                return
            await asyncio.sleep(0)
