"""An open WebSocket: frames both ways, and every way in which it can end."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable

import anyio
import anyio.lowlevel
import pytest

from kubex_stream.client import WebSocketConnection
from kubex_stream.errors import ConnectionLost, ProtocolViolation
from tests.backends.conftest import Connect
from tests.backends.raw import CLOSE, PING, PONG, TEXT, Frame, Handler, Peer, RawServer, frame

pytestmark = pytest.mark.anyio


def sends(*pieces: bytes, then: Callable[[Peer], object] = Peer.rest) -> Handler:
    """A server that sends these after the handshake, and then reads to the end or does something else."""

    def handle(peer: Peer) -> None:
        peer.accept()
        for piece in pieces:
            peer.send(piece)
        then(peer)

    return handle


def close_frame(code: int, reason: bytes = b"") -> bytes:
    return frame(struct.pack("!H", code) + reason, CLOSE)


def ends_after(websocket_close: bytes) -> Callable[[Peer], object]:
    def then(peer: Peer) -> None:
        peer.send(websocket_close)
        peer.finish()
        peer.rest()

    return then


def code_of(websocket: WebSocketConnection) -> int | None:
    """Its close code now; mypy takes a property for constant."""
    return websocket.close_code


def pong_of(websocket: WebSocketConnection) -> float | None:
    """The time of its last pong now."""
    return websocket.last_pong


async def send_until_the_end(websocket: WebSocketConnection) -> None:
    """Send until that fails."""
    while True:
        await websocket.send_bytes(b"x" * 65536)


# Receiving ------------------------------------------------------------------------------------------------------------


async def test_messages_come_whole_and_in_order(connect: Connect) -> None:
    messages = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 65535, b"e" * 65536, b"f" * 300_000]
    with RawServer(sends(b"".join(map(frame, messages)))) as server:
        async with connect(server.url) as websocket:
            assert [await websocket.receive_bytes() for _ in messages] == messages


async def test_messages_that_came_with_the_101(connect: Connect) -> None:
    def handle(peer: Peer) -> None:
        peer.accept("v4.channel.k8s.io", frame(b"one"), frame(b"two")[:2])
        peer.send(frame(b"two")[2:])
        peer.rest()

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            assert await websocket.receive_bytes() == b"one"
            assert await websocket.receive_bytes() == b"two"


async def test_frames_in_single_bytes(connect: Connect) -> None:
    stream = frame(b"one") + frame(b"x" * 200) + frame(b"ping", PING) + frame(b"three")
    with RawServer(sends(*(bytes([byte]) for byte in stream))) as server:
        async with connect(server.url) as websocket:
            assert [await websocket.receive_bytes() for _ in range(3)] == [b"one", b"x" * 200, b"three"]


async def test_fragments_are_put_together(connect: Connect) -> None:
    pieces = [
        frame(b"a", fin=False),
        frame(b"", 0, fin=False),
        frame(b"?", PING),
        frame(b"b", 0, fin=False),
        frame(b"c", 0),
        frame(b"d"),
    ]
    with RawServer(sends(*pieces)) as server:
        async with connect(server.url) as websocket:
            assert await websocket.receive_bytes() == b"abc"
            assert await websocket.receive_bytes() == b"d"


async def test_many_fragments_take_linear_time(connect: Connect) -> None:
    count = 20_000
    stream = frame(b"x" * 50, fin=False) + frame(b"y" * 50, 0, fin=False) * count + frame(b"z", 0)
    with RawServer(sends(stream)) as server:
        async with connect(server.url) as websocket:
            assert await websocket.receive_bytes() == b"x" * 50 + b"y" * 50 * count + b"z"


async def test_iteration_ends_in_order(connect: Connect) -> None:
    with RawServer(sends(frame(b"1"), frame(b"2"), then=ends_after(close_frame(1000)))) as server:
        async with connect(server.url) as websocket:
            assert [message async for message in websocket] == [b"1", b"2"]


async def test_a_cancelled_receive_loses_nothing(connect: Connect) -> None:
    count = 400

    def handle(peer: Peer) -> None:
        peer.accept()
        for number in range(count):
            peer.send(frame(number.to_bytes(4, "big") * 100)[:7])
            peer.send(frame(number.to_bytes(4, "big") * 100)[7:])
        peer.rest()

    received: list[int] = []
    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            for attempt in range(100_000):
                with anyio.CancelScope() as scope:
                    if attempt % 3:
                        scope.cancel()
                    else:
                        scope.deadline = anyio.current_time() + 0.0002
                    received.append(int.from_bytes((await websocket.receive_bytes())[:4], "big"))
                if len(received) == count:
                    break
                if attempt % 3:
                    await anyio.lowlevel.checkpoint()
    assert received == list(range(count))


async def test_the_limit_itself_is_allowed(connect: Connect) -> None:
    with RawServer(sends(frame(b"x" * 1000), frame(b"y" * 500, fin=False), frame(b"y" * 500, 0))) as server:
        async with connect(server.url, ws_max_message_size=1000) as websocket:
            assert await websocket.receive_bytes() == b"x" * 1000
            assert await websocket.receive_bytes() == b"y" * 1000


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([frame(b"x" * 1001)], id="frame"),
        pytest.param([frame(b"", size=2**62)], id="announced"),
        pytest.param([frame(b"x" * 600, fin=False), frame(b"x" * 600, 0)], id="fragments"),
    ],
)
async def test_a_message_over_the_limit(connect: Connect, pieces: list[bytes]) -> None:
    last: list[int] = []

    def handle(peer: Peer) -> None:
        peer.accept()
        peer.send(frame(b"before"))
        for piece in pieces:
            peer.send(piece)
        last.append(peer.frame().code)
        peer.rest()

    with RawServer(handle) as server:
        async with connect(server.url, ws_max_message_size=1000) as websocket:
            assert await websocket.receive_bytes() == b"before"
            for _ in range(2):
                with pytest.raises(ProtocolViolation, match="1000 bytes"):
                    await websocket.receive_bytes()
            assert websocket.closed
    assert last == [1009]


async def test_no_limit(connect: Connect) -> None:
    with RawServer(sends(frame(b"x" * 3_000_000))) as server:
        async with connect(server.url, ws_max_message_size=None) as websocket:
            assert await websocket.receive_bytes() == b"x" * 3_000_000


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        pytest.param(frame(b"text", TEXT), 1003, id="text"),
        pytest.param(frame(b"", TEXT), 1003, id="empty-text"),
        pytest.param(frame(b"x", 3), 1002, id="opcode"),
        pytest.param(frame(b"x", 0), 1002, id="continuation"),
        pytest.param(bytes([0xC2, 1]) + b"x", 1002, id="rsv"),
        pytest.param(frame(b"x", PING, fin=False), 1002, id="fragmented-ping"),
        pytest.param(frame(b"x" * 126, PING), 1002, id="long-ping"),
        pytest.param(frame(b"\x03", CLOSE), 1002, id="short-close"),
        pytest.param(frame(b"a", fin=False) + frame(b"b"), 1002, id="interrupted"),
    ],
)
async def test_what_the_protocol_forbids(connect: Connect, bad: bytes, code: int) -> None:
    last: list[int] = []

    def handle(peer: Peer) -> None:
        peer.accept()
        peer.send(frame(b"before") + bad)
        last.append(peer.frame().code)
        peer.rest()

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            assert await websocket.receive_bytes() == b"before"
            for _ in range(2):
                with pytest.raises(ProtocolViolation):
                    await websocket.receive_bytes()
            assert websocket.closed
            with pytest.raises(ConnectionLost):
                await websocket.send_bytes(b"x")
    assert last == [code]


# Endings --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "code"), [(close_frame(1000), 1000), (close_frame(1001, b"bye"), 1001), (frame(b"", CLOSE), 1005)]
)
async def test_an_end_in_order(connect: Connect, ending: bytes, code: int) -> None:
    with RawServer(sends(frame(b"1"), frame(b"2") + ending)) as server:
        async with connect(server.url) as websocket:
            assert [await websocket.receive_bytes() for _ in range(2)] == [b"1", b"2"]
            assert code_of(websocket) is None
            for _ in range(3):
                with pytest.raises(StopAsyncIteration):
                    await websocket.receive_bytes()
            assert code_of(websocket) == code
            assert websocket.closed
            with pytest.raises(ConnectionLost):
                await websocket.send_bytes(b"x")


@pytest.mark.parametrize("code", [1002, 1011, 1012, 3000, 4999])
async def test_a_close_that_is_an_error(connect: Connect, code: int) -> None:
    with RawServer(sends(frame(b"1"), close_frame(code, b"the reason"))) as server:
        async with connect(server.url) as websocket:
            assert await websocket.receive_bytes() == b"1"
            for _ in range(2):
                with pytest.raises(ConnectionLost, match=str(code)) as caught:
                    await websocket.receive_bytes()
                assert caught.value.close_code == code
            assert websocket.close_code == code


@pytest.mark.parametrize("end", [Peer.finish, Peer.reset])
async def test_the_end_of_tcp_without_a_close(connect: Connect, end: Callable[[Peer], None]) -> None:
    taken = threading.Event()

    def handle(peer: Peer) -> None:
        peer.accept()
        peer.send(frame(b"1") + frame(b"2"))
        # An RST makes the kernel forget what was not read yet.
        assert taken.wait(20)
        end(peer)

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            assert await websocket.receive_bytes() == b"1"
            taken.set()
            assert await websocket.receive_bytes() == b"2"
            for _ in range(2):
                with pytest.raises(ConnectionLost) as caught:
                    await websocket.receive_bytes()
                assert caught.value.close_code is None
            assert websocket.close_code is None
            assert websocket.closed
            with pytest.raises(ConnectionLost):
                await websocket.send_bytes(b"x")
            with pytest.raises(ConnectionLost):
                await websocket.ping()


async def test_everything_is_handed_out_before_the_end(connect: Connect) -> None:
    count, size = 200, 20_000

    def handle(peer: Peer) -> None:
        peer.accept()
        for number in range(count):
            peer.send(frame(bytes([number]) * size))
        peer.finish()
        peer.rest()

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            for number in range(count):
                if number % 50 == 0:
                    await anyio.sleep(0.02)
                assert await websocket.receive_bytes() == bytes([number]) * size
            with pytest.raises(ConnectionLost):
                await websocket.receive_bytes()


async def test_half_a_frame_is_no_message(connect: Connect) -> None:
    with RawServer(sends(frame(b"whole"), frame(b"half", size=100), then=Peer.finish)) as server:
        async with connect(server.url) as websocket:
            assert await websocket.receive_bytes() == b"whole"
            with pytest.raises(ConnectionLost):
                await websocket.receive_bytes()


# Sending --------------------------------------------------------------------------------------------------------------


async def test_a_message_is_one_masked_frame(connect: Connect) -> None:
    messages = [b"", b"a", b"b" * 125, b"c" * 126, b"d" * 65535, b"e" * 65536, b"f" * 1_000_000]
    received: list[Frame] = []

    def handle(peer: Peer) -> None:
        peer.accept()
        received.extend(peer.frame() for _ in messages)

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            for message in messages:
                await websocket.send_bytes(message)
            with pytest.raises(ConnectionLost):
                await websocket.receive_bytes()
    assert [item.payload for item in received] == messages
    assert all(item.fin and item.masked and item.opcode == 2 for item in received)


async def test_bytes_like(connect: Connect) -> None:
    numbers = memoryview(bytearray(range(16)))
    messages: list[bytearray | memoryview] = [bytearray(b"array"), memoryview(b"view"), numbers[::2], numbers.cast("I")]
    payloads: list[bytes] = []

    def handle(peer: Peer) -> None:
        peer.accept()
        payloads.extend(peer.frame().payload for _ in messages)

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            for message in messages:
                await websocket.send_bytes(message)
            with pytest.raises(ConnectionLost):
                await websocket.receive_bytes()
    assert payloads == [b"array", b"view", bytes(range(0, 16, 2)), bytes(range(16))]


async def test_what_is_sent_is_the_callers_again(connect: Connect) -> None:
    payloads: list[bytes] = []

    def handle(peer: Peer) -> None:
        peer.accept()
        payloads.extend(peer.frame().payload for _ in range(2))

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            buffer = bytearray(b"one")
            await websocket.send_bytes(buffer)
            buffer[:] = b"two"
            await websocket.send_bytes(buffer)
            with pytest.raises(ConnectionLost):
                await websocket.receive_bytes()
    assert payloads == [b"one", b"two"]


async def fill(websocket: WebSocketConnection, *, size: int = 65536) -> int:
    """Send until a send does not return any more, and cancel that one."""
    sent = 0
    while True:
        with anyio.move_on_after(0.3) as scope:
            await websocket.send_bytes(bytes([sent % 251]) * size)
        sent += 1
        if scope.cancelled_caught:
            return sent


class Stalled:
    """A server that does not read until it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.payloads: list[bytes] = []
        self.codes: list[int] = []

    def __call__(self, peer: Peer) -> None:
        peer.accept()
        peer.send(frame(b"hello"))
        assert self.go_on.wait(20)
        while True:
            try:
                item = peer.frame()
            except (EOFError, ConnectionResetError):
                return
            if item.opcode == CLOSE:
                self.codes.append(item.code)
                peer.send(frame(item.payload, CLOSE))
                return
            if item.opcode == PING:
                peer.send(frame(item.payload, PONG))
            elif item.opcode == 2:
                self.payloads.append(item.payload)


async def test_a_cancelled_send_leaves_no_half_frame(connect: Connect, backend: str) -> None:
    stalled = Stalled()
    with RawServer(stalled, receive_buffer=4096) as server:
        async with connect(server.url, close_timeout=10.0) as websocket:
            sent = await fill(websocket)
            stalled.go_on.set()
            # Either all of it goes on, or nothing can be sent any more.
            try:
                for number in range(20):
                    await websocket.send_bytes(b"after%d" % number)
            except ConnectionLost:
                assert backend == "httpx"
            else:
                assert await websocket.receive_bytes() == b"hello"
                await websocket.close()
                assert stalled.payloads[-20:] == [b"after%d" % number for number in range(20)]
                assert stalled.codes == [1000]
    whole = [bytes([number % 251]) * 65536 for number in range(sent)]
    assert [payload for payload in stalled.payloads if not payload.startswith(b"after")] in (whole, whole[:-1])


async def test_two_cancelled_sends_do_not_cancel_a_third(connect: Connect, backend: str) -> None:
    stalled = Stalled()
    with RawServer(stalled, receive_buffer=4096) as server:
        async with connect(server.url, close_timeout=10.0) as websocket:
            await fill(websocket)
            try:
                # More than any library takes in without waiting.
                with anyio.move_on_after(0.1):
                    await websocket.send_bytes(b"x" * 1_000_000)
                async with anyio.create_task_group() as group:
                    group.start_soon(websocket.send_bytes, b"y" * 1_000_000)
                    await anyio.wait_all_tasks_blocked()
                    await websocket.ping()
                    stalled.go_on.set()
            except* ConnectionLost:
                assert backend == "httpx"
            else:
                await websocket.close()
                assert stalled.payloads[-2:] == [b"x" * 1_000_000, b"y" * 1_000_000]
            stalled.go_on.set()


async def test_reading_goes_on_while_a_send_is_blocked(connect: Connect) -> None:
    """Full duplex, pings included."""
    blocked = threading.Event()
    codes: list[int] = []

    def handle(peer: Peer) -> None:
        peer.accept()
        assert blocked.wait(20)
        for number in range(50):
            peer.send(frame(b"ping", PING) + frame(b"%d" % number) + frame(b"pong", PONG))
        item = peer.frame()
        while item.opcode != CLOSE:
            item = peer.frame()
        codes.append(item.code)
        peer.send(frame(item.payload, CLOSE))

    async def send() -> None:
        with pytest.raises(ConnectionLost):
            await send_until_the_end(websocket)

    with RawServer(handle, receive_buffer=4096) as server:
        async with connect(server.url, close_timeout=10.0) as websocket, anyio.create_task_group() as group:
            group.start_soon(send)
            await anyio.sleep(0.3)
            blocked.set()
            with anyio.fail_after(10):
                assert [await websocket.receive_bytes() for _ in range(50)] == [b"%d" % number for number in range(50)]
            assert websocket.last_pong is not None
            await websocket.close()
    assert codes == [1000]


# Pings and times ------------------------------------------------------------------------------------------------------


async def test_pings_are_answered_in_receive(connect: Connect) -> None:
    pongs: list[bytes] = []

    def handle(peer: Peer) -> None:
        peer.accept()
        for payload in (b"", b"abc", b"x" * 125):
            peer.send(frame(payload, PING))
            item = peer.frame()
            assert item.opcode == PONG
            assert item.masked
            pongs.append(item.payload)
        peer.send(frame(b"done"))
        peer.rest()

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            assert await websocket.receive_bytes() == b"done"
    assert pongs == [b"", b"abc", b"x" * 125]


async def test_a_ping_of_ours(connect: Connect) -> None:
    def handle(peer: Peer) -> None:
        peer.accept()
        item = peer.frame()
        assert item.opcode == PING
        assert item.masked
        peer.send(frame(item.payload, PONG) + frame(b"data"))
        peer.rest()

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            assert pong_of(websocket) is None
            await websocket.ping()
            assert await websocket.receive_bytes() == b"data"
            pong = pong_of(websocket)
            assert pong is not None
            assert websocket.last_activity is not None
            assert websocket.last_activity >= pong


async def test_activity_is_any_frame(connect: Connect) -> None:
    steps = [threading.Event() for _ in range(3)]

    def handle(peer: Peer) -> None:
        peer.accept()
        for step, piece in zip(steps, (frame(b"data"), frame(b"", PONG), frame(b"", PING)), strict=True):
            assert step.wait(20)
            peer.send(piece)
        peer.rest()

    with RawServer(handle) as server:
        async with connect(server.url) as websocket:
            times = [websocket.last_activity]
            steps[0].set()
            await websocket.receive_bytes()
            times.append(websocket.last_activity)
            for step in steps[1:]:
                step.set()
                with anyio.move_on_after(0.2):
                    await websocket.receive_bytes()
                times.append(websocket.last_activity)
            known = [time for time in times if time is not None]
            assert known[-3:] == sorted(set(known[-3:]))
