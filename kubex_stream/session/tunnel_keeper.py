"""The task of a tunnel that nobody waits for: it pings, notices a tunnel that died, reads what nobody is reading, and minds the time.

Rules of this file:
- The ping is SPDY's, as in client-go: it is data to everything on the way, and only it keeps the runtime's four-hour idle timer from ending
  the tunnel (k8s.io/cri-streaming portforward/httpstream.go).  It goes out after an interval in which nothing came, and when much has been
  sent of which it is not known that the server took it.
- A server that is busy handing our bytes to a pod answers nothing, so much that it has not confirmed suspends the deadline; and time in
  which nobody reads does not count.
- Nothing here waits for sending: frames are queued.
"""

from __future__ import annotations

import time
from typing import Final

import anyio

from kubex_stream.session.tunnel import Tunnel

__all__ = ("TunnelKeeper",)

#: Seconds between two looks at a tunnel that has connections.
TICK: Final = 1.0
#: Seconds that a tunnel without connections is kept for the next one.
IDLE_TIMEOUT: Final = 60.0

#: Bytes on their way to pods from which on a server may be too busy with them to answer (measured: 4 MB and more).
STALLING: Final = 1024 * 1024


class TunnelKeeper:
    """Keeps one tunnel until it ends, is idle for long, or the task is cancelled."""

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._frames = tunnel.frames_in
        self._looked = time.monotonic()
        self._wait = 0.0  # seconds that the wait for the next look was to take
        self._quiet = self._silence = 0.0

    async def run(self) -> None:
        """Until the tunnel has ended; it is closed then."""
        tunnel = self._tunnel
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tunnel.sender.send_queued)
                while tunnel.ended is None and not self._is_idle():
                    read = await self._rest()
                    self._look(read)
                    for pair in tunnel.pairs:
                        due = pair.due()
                        if due is not None and due <= time.monotonic():
                            pair.look()
                tunnel.spoiled = True  # nothing is to be opened in it while it is being left
                tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await tunnel.leave()

    def _is_idle(self) -> bool:
        tunnel = self._tunnel
        if tunnel.load:
            return False
        return tunnel.spoiled or time.monotonic() - tunnel.empty_since > IDLE_TIMEOUT

    async def _rest(self) -> bool:
        """Wait for the next look, reading meanwhile where nobody does; whether the socket was being read."""
        tunnel = self._tunnel
        if tunnel.poked.is_set():
            tunnel.poked = anyio.Event()
        unread, reading = tunnel.unread, tunnel.reading
        self._wait = self._tick()
        with anyio.move_on_after(self._wait):
            if unread:
                await tunnel.read_ahead()
            # Whoever has interrupted that reads now.  To take its turn back at once would be a race without an end.
            await tunnel.poked.wait()
        return unread or (reading and tunnel.reading)

    def _tick(self) -> float:
        now = time.monotonic()
        limits = [TICK if self._tunnel.load else IDLE_TIMEOUT]
        limits += [due - now for pair in self._tunnel.pairs if (due := pair.due()) is not None]
        if self._tunnel.options.heartbeat is not None:
            limits.append(self._tunnel.options.heartbeat - self._quiet)
        return max(0.01, min(limits))

    def _look(self, read: bool) -> None:
        tunnel, now = self._tunnel, time.monotonic()
        elapsed, self._looked = now - self._looked, now
        if tunnel.frames_in != self._frames:
            self._frames, self._quiet, self._silence = tunnel.frames_in, 0.0, 0.0
            if tunnel.bytes_out - tunnel.pings.confirmed >= STALLING // 2:
                self._ping()  # or what has flowed long ago would hide a death for ever
            return
        if not read:
            return
        self._quiet += elapsed
        if tunnel.pings.pending and tunnel.bytes_out - tunnel.pings.confirmed < STALLING:
            # Not more than was to be waited: a process that was stopped, or an event loop that was busy, was not listening.
            self._silence += min(elapsed, self._wait)
        deadline, interval = tunnel.options.heartbeat_timeout, tunnel.options.heartbeat
        if deadline is not None and self._silence > deadline:
            tunnel.fail(f"no sign of life from the server for {self._silence:.0f} s: pings were not answered")
        elif interval is not None and self._quiet >= interval:
            self._quiet = 0.0
            self._ping()

    def _ping(self) -> None:
        tunnel = self._tunnel
        if not tunnel.pings.pending and tunnel.options.heartbeat is not None:
            ping_id, frame = tunnel.spdy.ping()
            tunnel.pings.sent(ping_id, tunnel.bytes_out)
            tunnel.sender.queue(frame)
