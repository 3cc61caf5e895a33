"""Tunnels to one pod, and which of them a new connection takes.

Rules of this file:
- A connection has a tunnel for itself while there are fewer of them than the limit: one whose server does not read brings a tunnel to a
  stop after a few megabytes, and nothing on the wire tells (there is no flow control inside).  Above the limit they share the least loaded.
- A tunnel that is at a stop is not shared, where that can be seen, and does not count: up to twice the limit there may be then.
- A tunnel is used again when it is empty and its connections have all come to a clean end.
- Of several that wait for the same handshake, one makes it; when that one is cancelled, the next one does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio
from anyio.abc import TaskGroup

from kubex_stream.session.conduit import EndOfInput, SpoiledTunnelError
from kubex_stream.session.pair import Pair
from kubex_stream.session.tunnel import Tunnel
from kubex_stream.session.tunnel_keeper import TunnelKeeper

__all__ = ("TunnelPool",)

#: Seconds that a shared tunnel may take to answer for a new connection, before another tunnel is tried.
PATIENCE: Final = 5.0


class _Slot:
    """A place for a tunnel, which may not be there yet."""

    def __init__(self) -> None:
        self.tunnel: Tunnel | None = None
        self.failure: Exception | None = None
        self.lock = anyio.Lock(fast_acquire=True)
        self.reserved = 0  # connections that are about to be opened in it
        self.silent = False  # whether one got no answer

    @property
    def load(self) -> int:
        return self.reserved + (self.tunnel.load if self.tunnel is not None else 0)

    @property
    def congested(self) -> bool:
        return self.silent or (self.tunnel is not None and self.tunnel.congested)

    @property
    def usable(self) -> bool:
        return self.failure is None and (self.tunnel is None or self.tunnel.usable)


class TunnelPool:
    """The tunnels to one pod.

    :param tasks: where their keepers run
    :param connect: opens a tunnel, telling it the function to call when it has become emptier
    :param limit: so many tunnels at most
    """

    def __init__(
        self, tasks: TaskGroup, connect: Callable[[Callable[[Tunnel], None]], Awaitable[Tunnel]], limit: int
    ) -> None:
        self._tasks = tasks
        self._connect = connect
        self._limit = limit
        self._slots: list[_Slot] = []
        self._changed = anyio.Event()
        self._tunnels: list[Tunnel] = []  # of slots that are no more, too

    @property
    def tunnels(self) -> tuple[Tunnel, ...]:
        """Those that are open."""
        self._tunnels = [tunnel for tunnel in self._tunnels if tunnel.ended is None]
        return tuple(self._tunnels)

    async def prepare(self) -> None:
        """Make sure that there is a tunnel.  Raises what opening one raises."""
        slot = self._choose()
        slot.reserved += 1
        try:
            await self._opened(slot)
        finally:
            slot.reserved -= 1

    async def open(self, port: int, end_of_input: EndOfInput) -> Pair:
        """Open a connection.

        :raises PortForwardError: the server refused, or the tunnel was lost meanwhile; and what opening a tunnel raises
        """
        while True:
            slot = self._choose()
            slot.reserved += 1
            try:
                tunnel = await self._opened(slot)
            finally:
                slot.reserved -= 1
            shared = tunnel.load > 0
            with suppress(SpoiledTunnelError), anyio.move_on_after(PATIENCE if shared else None) as limit:
                return await tunnel.open(port, end_of_input)
            slot.silent |= limit.cancelled_caught

    def _choose(self) -> _Slot:
        self._slots = [slot for slot in self._slots if slot.usable]
        flowing = [slot for slot in self._slots if not slot.congested]
        free = next((slot for slot in flowing if not slot.load), None)
        if free is not None:
            return free
        if len(flowing) >= self._limit or len(self._slots) >= 2 * self._limit:
            return min(flowing or self._slots, key=lambda slot: slot.load)
        slot = _Slot()
        self._slots.append(slot)
        return slot

    async def _opened(self, slot: _Slot) -> Tunnel:
        async with slot.lock:
            if slot.failure is not None:
                raise slot.failure
            if slot.tunnel is None:
                try:
                    slot.tunnel = await self._connect(self._note)
                except Exception as error:
                    slot.failure = error
                    raise
                slot.tunnel.spoiled = slot not in self._slots  # retired meanwhile
                await self._keep(slot.tunnel)
            return slot.tunnel

    async def _keep(self, tunnel: Tunnel) -> None:
        try:
            self._tasks.start_soon(TunnelKeeper(tunnel).run)
        except BaseException:  # there are no tasks any more
            with anyio.CancelScope(shield=True):
                await tunnel.leave()
            raise
        self._tunnels = [*self.tunnels, tunnel]

    def retire(self) -> None:
        """Open nothing more in the tunnels that are there; they end with their connections."""
        for slot in self._slots:
            if slot.tunnel is not None and slot.tunnel.ended is None:
                slot.tunnel.spoiled = True
                slot.tunnel.poke()
        self._slots.clear()

    def _note(self, _tunnel: Tunnel) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def delivered(self) -> None:
        """Wait until nothing is on its way that was sent over connections closed here."""
        while any(pair.closed and pair.unconfirmed() for tunnel in self.tunnels for pair in tunnel.pairs):
            await self._changed.wait()
