"""The bytes of a server, cut at every place: by TCP, by its end, and by a receive that is cancelled there."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

import anyio
import pytest

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import ConnectionLost
from kubex_stream.testing.conformance.base import Conformance, Connect
from kubex_stream.testing.conformance.raw import PING, Peer, RawServer, close_frame, frame

__all__ = ("Cuts", "receive_all")

PIECES: Final = (
    frame(b"one"), frame(b""), frame(b"tw", fin=False), frame(b"?", PING), frame(b"o", 0), frame(b"x" * 130), close_frame(1000),
)  # fmt: skip
STREAM: Final = b"".join(PIECES)
MESSAGES: Final = [b"one", b"", b"two", b"x" * 130]
#: Where each message is whole, and where the Close is.
WHOLE: Final = [sum(map(len, PIECES[:count])) for count in (1, 2, 5, 6)]
#: Every place of what is not the long message's inside, and some of that.
PLACES: Final = [*range(1, WHOLE[2] + 6), *range(WHOLE[2] + 6, WHOLE[3] - 2, 40), *range(WHOLE[3] - 2, len(STREAM))]


class Cuts(Conformance):
    """The bytes of a server, cut at every place."""

    async def test_tcp_cuts_anywhere(self, connect: Connect) -> None:
        places = iter(PLACES)

        def handle(peer: Peer) -> None:
            place = next(places)
            peer.accept("v4.channel.k8s.io", STREAM[:place])
            peer.send(STREAM[place:])
            peer.rest()

        with RawServer(handle) as server:
            for _ in PLACES:
                async with connect(server.url) as websocket:
                    assert [message async for message in websocket] == MESSAGES

    async def test_tcp_ends_anywhere(self, connect: Connect) -> None:
        """Whatever was whole is handed out, then it is an end that tells of the break."""
        places = iter(PLACES)

        def handle(peer: Peer) -> None:
            peer.accept("v4.channel.k8s.io", STREAM[: next(places)])
            peer.finish()
            peer.rest()

        with RawServer(handle) as server:
            for place in PLACES:
                received: list[bytes] = []
                async with connect(server.url) as websocket:
                    with pytest.raises(ConnectionLost):
                        await receive_all(websocket, received)
                assert received == MESSAGES[: sum(place >= whole for whole in WHOLE)], place

    async def test_a_receive_that_is_cancelled_anywhere_loses_nothing(self, connect: Connect) -> None:
        """One byte arrives for each attempt, and every attempt is cancelled while it waits for the next one."""
        turns = threading.Semaphore(0)

        def handle(peer: Peer) -> None:
            peer.accept()
            for byte in STREAM:
                assert turns.acquire(timeout=20)
                peer.send(bytes([byte]))
            peer.rest()

        received: list[bytes] = []
        with RawServer(handle) as server:
            async with connect(server.url) as websocket:
                with suppress(StopAsyncIteration):  # the last byte may come before its attempt is over
                    for _ in STREAM:
                        turns.release()
                        with anyio.move_on_after(0.001):
                            received.append(await websocket.receive_bytes())
                received += [message async for message in websocket]
        assert received == MESSAGES


async def receive_all(websocket: WebSocketConnection, received: list[bytes]) -> None:
    """Receive until that fails."""
    while True:
        received.append(await websocket.receive_bytes())
