"""Telling that a client has left although nobody reads from its connection.

Rules of this file:
- An end that is behind unread data cannot be seen on the connection: as long as nobody reads, the client's kernel keeps it to itself.  But
  client and server are on one machine, so the kernel's table says what the client's socket is about.  Linux only; elsewhere it never tells.
- A client that only ends one direction has not been thought of: nobody does that to a WebSocket.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from kubex_stream.testing.tasks import cancel_and_wait

__all__ = ("ClientGone", "finish_unless_gone", "has_left")

_ESTABLISHED: Final = "01"
#: Seconds between looks at the table; it has to be polled, and only is while somebody waits.
_LOOK: Final = 0.2


class ClientGone(Exception):
    """The client is gone, and nobody takes what it has sent."""


def _entry(address: tuple[str, int], family: int) -> str:
    raw = socket.inet_pton(family, address[0])
    words = (raw[start : start + 4][::-1].hex().upper() for start in range(0, len(raw), 4))
    return f"{''.join(words)}:{address[1]:04X}"


def has_left(sock: socket.socket) -> bool:
    """Whether the process at the other end of a connection within this machine has closed or reset it."""
    table = Path("/proc/self/net/tcp6" if sock.family == socket.AF_INET6 else "/proc/self/net/tcp")
    try:
        own, peer = _entry(sock.getsockname()[:2], sock.family), _entry(sock.getpeername()[:2], sock.family)
    except OSError:
        return True
    if not table.exists():
        return False
    states = {(row[1], row[2]): row[3] for row in map(str.split, table.read_text().splitlines()[1:])}
    mine = states.get((own, peer), "")
    return bool(mine) and (mine != _ESTABLISHED or states.get((peer, own)) != _ESTABLISHED)


async def finish_unless_gone(work: Coroutine[Any, Any, None], sock: socket.socket, patience: float) -> None:
    """Wait for ``work``, but not for ever once the client is gone.

    A real server would wait for as long as the pod's server stalls; here a connection goes a moment after its client.

    :param sock: the client's connection
    :param patience: seconds that it may still take once the client is gone
    :raises ClientGone: it took longer
    """
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK)
            if not task.done() and has_left(sock):
                await asyncio.wait({task}, timeout=patience)
                break
        if not task.done():
            raise ClientGone
    finally:
        await cancel_and_wait(task)
