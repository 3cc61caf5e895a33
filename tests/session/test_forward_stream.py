"""The byte stream that an application holds."""

from __future__ import annotations

import anyio
import pytest
from anyio.abc import SocketAttribute

from kubex_stream import PortForwardError
from kubex_stream.protocol.portforward import TUNNEL_PROTOCOL
from kubex_stream.session.forward_stream import PortForwardStream
from kubex_stream.session.tunnel import Tunnel
from tests.session.test_turns import settled
from tests.session.tunnel_peer import EchoPeer, SteppingPeer, opened, tunnel_to

pytestmark = pytest.mark.anyio


async def stream_to(tunnel: Tunnel, failures: list[PortForwardError] | None = None) -> PortForwardStream:
    (pair,) = await opened(tunnel, 80)
    told = [] if failures is None else failures
    return PortForwardStream(pair, pod="web-0", protocol=TUNNEL_PROTOCOL, failed=told.append)


async def test_pieces_are_as_small_as_asked_for_and_nothing_is_lost() -> None:
    async with tunnel_to(EchoPeer()) as tunnel:
        stream = await stream_to(tunnel)
        await stream.send(b"0123456789")
        await stream.send_eof()
        assert await stream.receive(3) == b"012"
        assert await stream.receive(4) == b"3456"
        assert await stream.receive() == b"789"
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()
        for wrong in (0, -1):
            with pytest.raises(ValueError, match="max_bytes"):
                await stream.receive(wrong)
        assert stream.extra(SocketAttribute.remote_port) == 80
        assert (stream.statistics.bytes_in, stream.statistics.bytes_out) == (10, 10)
        assert repr(stream) == "<PortForwardStream pod web-0, port 80>"


async def test_closing_drops_what_was_not_taken() -> None:
    async with tunnel_to(EchoPeer()) as tunnel:
        async with await stream_to(tunnel) as stream:
            await stream.send(b"0123456789")
            assert await stream.receive(3) == b"012"
        with pytest.raises(anyio.ClosedResourceError):
            await stream.receive()


async def test_two_tasks_do_not_receive_or_send_at_a_time() -> None:
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        stream = await stream_to(tunnel)
        peer.hold()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.receive)
            tasks.start_soon(stream.send, b"x")
            await peer.until(lambda: peer.blocked)
            await settled()
            with pytest.raises(anyio.BusyResourceError):
                await stream.receive()
            with pytest.raises(anyio.BusyResourceError):
                await stream.send(b"y")
            with pytest.raises(anyio.BusyResourceError):
                await stream.send_eof()
            tasks.cancel_scope.cancel()
        peer.let_go()
        peer.pairs[0].say(b"z")
        assert await stream.receive() == b"z"


async def test_failures_are_told_to_the_forwarder() -> None:
    failures: list[PortForwardError] = []
    peer = SteppingPeer()
    async with tunnel_to(peer) as tunnel:
        stream = await stream_to(tunnel, failures)
        peer.pairs[0].refuse()
        with pytest.raises(PortForwardError):
            await stream.receive()
        with pytest.raises(PortForwardError):
            await stream.send(b"x")
    assert [failure.kind for failure in failures] == ["refused", "refused"]
