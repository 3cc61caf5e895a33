"""One forwarded connection: from a client's stream to a port of a pod, as container runtimes forward it, and what they say about it.

Rules of this file:
- containerd: when either direction has ended, the other one has a second, then both are cut; an end is not passed on.  So an end of the
  client's never reaches the pod's server, and one of the server's is told a second late.  What the client sent before its end is written
  to the pod first, however long that takes, and only then the second begins.
- With ``half_close``, as CRI-O does it: each end is passed on, and the connection is over when both directions are.
- Texts are the runtimes' own, with everything in them that means nothing to a user: ids, namespaces, local ports.
Source: containerd internal/cri/server/sandbox_portforward_linux.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from kubex_stream.testing.behaviour import Behaviour
from kubex_stream.testing.tasks import cancel_and_wait

if TYPE_CHECKING:
    from kubex_stream.testing.store import PodState

__all__ = ("ClientEnd", "Ending", "Forward", "Inbox")

_PIECE: Final = 32 * 1024
Address = tuple[str, int]


class Inbox:
    """One client's bytes on their way to a pod.

    :param limit: pieces that it holds before its giver has to wait; None for any number
    """

    def __init__(self, limit: int | None = 1) -> None:
        self._limit = limit
        self._pieces: deque[bytes] = deque()
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._ended = self._dropping = False
        #: Set when the client has given up, instead of having come to its end.
        self.given_up = asyncio.Event()

    def offer(self, piece: bytes) -> bool:
        """Take a piece if there is room for it.  What comes after an end is dropped."""
        if self._limit is not None and len(self._pieces) >= self._limit and not self._ended:
            return False
        if not self._ended:
            self._pieces.append(piece)
            self._filled.set()
        return True

    async def put(self, piece: bytes) -> None:
        """Take a piece; wait while there is no room."""
        while not self.offer(piece):
            self._room.clear()
            await self._room.wait()

    async def get(self) -> bytes:
        """The next piece; empty at the end."""
        while not self._pieces:
            if self._ended:
                return b""
            self._filled.clear()
            await self._filled.wait()
        self._room.set()
        return self._pieces.popleft()

    def end(self, *, cut: bool = False) -> None:
        """No more will come.

        :param cut: the client has given up
        """
        self._ended = True
        if cut:
            self.given_up.set()
        self._filled.set()
        self._room.set()

    def drop(self) -> None:
        """Nobody takes anything any more."""
        self.end()
        self._pieces.clear()


class ClientEnd(Protocol):
    """A client's stream, from the pod's side."""

    @property
    def inbox(self) -> Inbox:
        """What the client sends."""

    async def send(self, data: bytes) -> None:
        """Send to the client; wait while it does not read.

        :raises OSError: the client is gone
        """

    async def end(self) -> None:
        """Pass on the end of what the pod's server says."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a forwarded connection ended.

    :ivar text: what the runtime says about it; empty when all went well
    :ivar entered: whether the pod's network was there
    """

    text: str = ""
    entered: bool = True


class Forward:
    """One connection to a port of a pod.

    :param pod: the pod
    :param number: the port's number
    :param client: the client's stream
    :param behaviour: how to forward
    :param count: told 1 when a connection is open and -1 when it is not any more
    """

    def __init__(
        self, pod: PodState, number: int, client: ClientEnd, behaviour: Behaviour, count: Callable[[int], None]
    ) -> None:
        self._pod = pod
        self._number = number
        self._client = client
        self._behaviour = behaviour
        self._count = count
        self._sock: socket.socket | None = None
        self._names = ""

    async def run(self) -> Ending:
        """Forward until the connection is over."""
        pod = self._pod
        if pod.deleted is not None:
            return self._ending(f'network namespace for sandbox "{pod.sandbox}" is closed', entered=False)
        if self._behaviour.dial_delay:
            await asyncio.sleep(self._behaviour.dial_delay)
        sock = await self._dial()
        if sock is None:
            return self._ending(self._inside(self._refused()))
        self._sock = sock
        pod.forwards.add(self)
        self._count(1)
        try:
            trouble = await self._copy(sock)
        finally:
            pod.forwards.discard(self)
            self._hang_up(sock)
            self._count(-1)
        return self._ending(self._inside(trouble)) if trouble else Ending()

    def pod_ended(self) -> None:
        """The pod is gone, and its servers with it."""
        if self._behaviour.half_close:
            self._client.inbox.end(cut=True)  # nothing that the client says could still arrive
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def _hang_up(self, sock: socket.socket) -> None:
        self._sock = None
        server = self._pod.servers.get(self._number)
        if server is not None:
            server.left(sock.getsockname()[:2])
        sock.close()

    # Dialling -------------------------------------------------------------------------------------------------------

    async def _dial(self) -> socket.socket | None:
        loop = asyncio.get_running_loop()
        for host, port in self._pod.addresses(self._number):
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, (host, port))
            except OSError:
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._names = f"127.0.0.1:{sock.getsockname()[1]}->127.0.0.1:{self._number}"
                return sock
        return None

    def _refused(self) -> str:
        number, sandbox = self._number, self._pod.sandbox
        refused = f"dial tcp4 127.0.0.1:{number}: connect: connection refused"
        if self._behaviour.half_close:
            refused = refused.replace("tcp4 127.0.0.1", "tcp6 [::1]")
            return f"failed to connect to localhost:{number} inside namespace {sandbox}: {refused}"
        second = "dial tcp6: address localhost: no suitable address found"
        return f'failed to connect to localhost:{number} inside namespace "{sandbox}", IPv4: {refused} IPv6 {second} '

    def _inside(self, trouble: str) -> str:
        doing = "port forward into" if self._behaviour.half_close else "failed to execute portforward in"
        return f'{doing} network namespace "{self._pod.network}": {trouble}'

    def _ending(self, trouble: str, *, entered: bool = True) -> Ending:
        return Ending(f"error forwarding port {self._number} to pod {self._pod.sandbox}, uid : {trouble}", entered)

    # Copying --------------------------------------------------------------------------------------------------------

    async def _copy(self, sock: socket.socket) -> str:
        """Both ways, to the end of both; what went wrong first."""
        down, up = asyncio.create_task(self._down(sock)), asyncio.create_task(self._up(sock))
        given_up = asyncio.create_task(self._client.inbox.given_up.wait())
        try:
            done, rest = await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
            troubles = [task.result() for task in done]
            if rest and self._behaviour.half_close and not any(troubles):
                await asyncio.wait({*rest, given_up}, return_when=asyncio.FIRST_COMPLETED)
            elif rest:
                await asyncio.wait(rest, timeout=self._behaviour.half_close_grace)
            troubles += [task.result() for task in rest if task.done()]
        finally:
            await cancel_and_wait(down, up, given_up)
        return next(filter(None, troubles), "")

    async def _down(self, sock: socket.socket) -> str:
        """From the pod to the client; what went wrong at the pod's end."""
        loop, names = asyncio.get_running_loop(), self._names
        while True:
            try:
                data = await loop.sock_recv(sock, _PIECE)
            except OSError:
                return f"writeto tcp4 {names}: read tcp4 {names}: read: connection reset by peer"
            try:
                if data:
                    await self._client.send(data)
                elif self._behaviour.half_close:
                    await self._client.end()
            except OSError:
                return ""
            if not data:
                return ""
            await asyncio.sleep(0)  # neither of these needs to wait when both ends are fast; others want their turn

    async def _up(self, sock: socket.socket) -> str:
        """From the client to the pod."""
        loop, names, inbox = asyncio.get_running_loop(), self._names, self._client.inbox
        try:
            while data := await inbox.get():
                await loop.sock_sendall(sock, data)
            if self._behaviour.half_close and not inbox.given_up.is_set():
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            return f"readfrom tcp4 {names}: write tcp4 {names}: write: broken pipe"
        return ""
