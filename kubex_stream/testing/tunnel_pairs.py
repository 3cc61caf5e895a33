"""The connections in a tunnel: streams that the client opens, two of them to a connection, and what is forwarded through them.

Rules of this file (k8s.io/cri-streaming portforward/httpstream.go, with what containerd makes of it):
- A stream without a good port or type is reset, without a word.
- Two streams of one request id are a pair, whichever comes first; without an id, an error stream and the data stream opened right after it.
- A pair whose second stream does not come in time is told so, and forgotten; its streams stay open.
- A connection that ends in good order: both streams end.  One that fails: the data stream ends, the error stream has a text and is reset.
  One to a pod that is gone: a text, and both are reset.
- After a good end nobody reads the data stream any more: what the client still sends there stops the worker that serves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kubex_stream.testing.forwarding import Ending, Forward, Inbox
from kubex_stream.testing.store import PodState
from kubex_stream.testing.tasks import cancel_and_wait
from kubex_stream.testing.tunnel_link import TunnelLink

__all__ = ("TunnelPairs", "TunnelStream")

#: How long a reply waits for the one that is to come before it.
_REVERSED_WAIT: Final = 0.1


class TunnelStream:
    """A stream that the client has opened."""

    def __init__(self, link: TunnelLink, stream_id: int, headers: Mapping[str, str]) -> None:
        self._link = link
        self.id = stream_id
        self.headers = headers
        self.inbox = Inbox(1 if link.behaviour.stall_by_stream_id else None)
        self._sent = 0

    async def send(self, data: bytes) -> None:
        """Send data, or as much of it as the behaviour lets pass.

        :raises OSError: nothing is to be sent any more
        """
        limit = self._link.behaviour.reset_stream_after_bytes
        if limit is not None and self._sent + len(data) >= limit:
            if limit > self._sent:
                await self._link.data(self.id, data[: limit - self._sent])
            self._link.reset(self.id)
            self.inbox.drop()
            raise ConnectionResetError("reset on purpose")
        self._sent += len(data)
        await self._link.data(self.id, data)

    async def end(self) -> None:
        """Pass on the end of what the pod's server says."""
        self._link.end(self.id)


@dataclass(slots=True)
class _Pair:
    request: str
    data: TunnelStream | None = None
    error: TunnelStream | None = None
    timer: asyncio.TimerHandle | None = None


def _is_good(headers: Mapping[str, str]) -> bool:
    port = headers.get("port", "")
    return (
        port.isascii() and port.isdigit() and 0 < int(port) < 65536 and headers.get("streamtype") in ("error", "data")
    )


class TunnelPairs:
    """All streams of a tunnel.

    :param link: the way to the client
    :param pod: where to forward to
    :param count: told 1 when a connection is open and -1 when it is not any more
    """

    def __init__(self, link: TunnelLink, pod: PodState, count: Callable[[int], None]) -> None:
        self._link = link
        self._pod = pod
        self._count = count
        self._pairs: dict[str, _Pair] = {}
        self._held: dict[str, tuple[int, asyncio.TimerHandle]] = {}
        #: The streams that the client may still send on.
        self.streams: dict[int, TunnelStream] = {}
        #: The connections.
        self.tasks: set[asyncio.Task[None]] = set()

    # What the client says ---------------------------------------------------------------------------------------------

    def opened(self, stream_id: int, headers: Mapping[str, str], *, ended: bool) -> None:
        """A stream was opened."""
        if not _is_good(headers) and not self._link.behaviour.no_reply:
            self._link.reset(stream_id)
            return
        stream = self.streams[stream_id] = TunnelStream(self._link, stream_id, headers)
        if ended:
            self.ended(stream_id)
        if not self._link.behaviour.no_reply:
            request = self._request_of(stream)
            self._reply(request, stream_id)
            self._pair(request, stream)

    def ended(self, stream_id: int) -> None:
        """The client's half of a stream has ended."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            stream.inbox.end()

    def reset(self, stream_id: int) -> None:
        """The client has given a stream up."""
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            stream.inbox.end(cut=True)

    def end_all(self) -> None:
        """The client has gone: every stream has ended."""
        for stream_id in tuple(self.streams):
            self.ended(stream_id)
        for pair in self._pairs.values():
            if pair.timer is not None:
                pair.timer.cancel()
        for _, timer in self._held.values():
            timer.cancel()

    async def aclose(self) -> None:
        """Cut everything."""
        self.end_all()
        await cancel_and_wait(*self.tasks)

    # Replies ----------------------------------------------------------------------------------------------------------

    def _reply(self, request: str, stream_id: int) -> None:
        if self._link.behaviour.reply_order == "as-is":
            self._link.reply(stream_id)
        elif request in self._held:
            self._link.reply(stream_id)
            self._release(request)
        else:
            # A client that waits for this reply before it opens the second stream has to have it.
            timer = asyncio.get_running_loop().call_later(_REVERSED_WAIT, self._release, request)
            self._held[request] = stream_id, timer

    def _release(self, request: str) -> None:
        stream_id, timer = self._held.pop(request)
        timer.cancel()
        self._link.reply(stream_id)

    # Pairs ------------------------------------------------------------------------------------------------------------

    @staticmethod
    def _request_of(stream: TunnelStream) -> str:
        return stream.headers.get("requestid") or str(
            stream.id if stream.headers["streamtype"] == "error" else stream.id - 2
        )

    def _pair(self, request: str, stream: TunnelStream) -> None:
        pair = self._pairs.get(request)
        if pair is None:
            pair = self._pairs[request] = _Pair(request)
            wait = self._link.behaviour.pair_timeout
            pair.timer = asyncio.get_running_loop().call_later(wait, self._expired, pair)
        which = stream.headers["streamtype"]
        if getattr(pair, which) is not None:
            text = f"error processing stream for request {request}: {which} stream already assigned"
            self._tell(pair, text)
            return
        setattr(pair, which, stream)
        if pair.data is not None and pair.error is not None:
            self._forget(pair)
            task = asyncio.create_task(self._forward(pair.data, pair.error))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _forget(self, pair: _Pair) -> None:
        del self._pairs[pair.request]
        if pair.timer is not None:
            pair.timer.cancel()

    def _expired(self, pair: _Pair) -> None:
        self._forget(pair)
        self._tell(
            pair, f"(conn=0xc{id(self) & 0xFFFFFFFFF:09x}, request={pair.request}) timed out waiting for streams"
        )

    def _tell(self, pair: _Pair, text: str) -> None:
        if pair.error is not None:
            self._link.text(pair.error.id, text)

    async def _forward(self, data: TunnelStream, error: TunnelStream) -> None:
        port = int(data.headers["port"])
        ending = await Forward(self._pod, port, data, self._link.behaviour, self._count).run()
        if not ending.text:
            self._link.end(data.id)
            self._link.end(error.id)
        else:
            self._fail(data, error, ending)

    def _fail(self, data: TunnelStream, error: TunnelStream, ending: Ending) -> None:
        link = self._link
        if ending.entered:
            link.end(data.id)
        link.text(error.id, ending.text)
        frame = link.spdy.reset(data.id)
        if not ending.entered:
            link.post(frame)
        link.reset(error.id)
        for stream in (data, error):
            self.streams.pop(stream.id, None)
            stream.inbox.drop()
