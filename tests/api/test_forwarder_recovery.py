"""What a forwarder does when its pod or a tunnel is lost, and what it tries again."""

from __future__ import annotations

import anyio
import pytest

from kubex_stream import (
    ApiError,
    ClientOptions,
    ConnectionFailed,
    ConnectionLost,
    NotFound,
    PortForwardError,
    StreamTimeout,
)
from kubex_stream.client import Response
from kubex_stream.protocol.portforward import TUNNEL_PROTOCOL
from tests.api.forwarding import ForwardingClient, echo, forwarding
from tests.client.memory import refusal
from tests.session.memory import PATIENCE
from tests.session.tunnel_peer import PeerPair, SteppingPeer, TunnelPeer

pytestmark = pytest.mark.anyio


async def test_after_a_lost_tunnel_a_new_connection_looks_for_the_pod_again() -> None:
    client = ForwardingClient()
    async with forwarding(client, "svc/web") as forwarder:
        stream = await forwarder.connect(80)
        client.pod = "web-1"
        client.tunnels[0].lose("node is gone")
        with pytest.raises(PortForwardError) as caught:
            await stream.receive()
        assert caught.value.kind == "lost"
        async with forwarder.connect(80) as again:
            assert again.pod == "web-1"
            await echo(again)
        assert client.handshakes[-1][0].endswith("/pods/web-1/portforward")
        await stream.aclose()
    assert client.retries.retries == []  # nothing had to be tried twice


async def test_after_a_connection_told_that_the_pod_is_gone_its_tunnels_are_left() -> None:
    client = ForwardingClient()
    async with forwarding(client, "svc/web") as forwarder:
        stream, other = await forwarder.connect(80), await forwarder.connect(80)
        client.pod = "web-1"
        client.tunnels[0].pairs[0].refuse("network namespace for sandbox 5b2f is closed")
        with pytest.raises(PortForwardError) as caught:
            await stream.receive()
        assert caught.value.kind == "gone"
        await stream.aclose()
        await client.tunnels[0].until(lambda: client.tunnels[0].closed)
        async with forwarder.connect(80) as again:
            assert again.pod == "web-1"
        await echo(other)  # what was open goes on as long as it can
        await other.aclose()


async def test_what_an_old_connection_finds_does_not_count_for_a_pod_that_was_found_since() -> None:
    client = ForwardingClient()
    async with forwarding(client, "svc/web") as forwarder:
        first, second = await forwarder.connect(80), await forwarder.connect(80)
        for peer in client.tunnels:
            peer.lose()
        with pytest.raises(PortForwardError):
            await first.receive()
        third = await forwarder.connect(80)
        lookups = client.lookups
        for _ in range(2):
            with pytest.raises(PortForwardError):
                await second.receive()
            with pytest.raises(PortForwardError):
                await first.receive()
        await third.aclose()
        async with forwarder.connect(80) as fourth:
            await echo(fourth)
        assert client.lookups == lookups
        assert len(client.handshakes) <= 4


async def test_a_connection_that_was_being_opened_while_another_pod_was_found_belongs_to_the_old_one() -> None:
    client, slow = ForwardingClient(), SteppingPeer(accepts=False)
    async with forwarding(client, "svc/web") as forwarder:
        first = await forwarder.connect(80)
        client.answers[TUNNEL_PROTOCOL] = [slow]
        async with anyio.create_task_group() as tasks:

            async def connect() -> None:
                async with forwarder.connect(80) as late:
                    third = await forwarder.connect(80)
                    slow.lose()
                    with pytest.raises(PortForwardError):
                        await late.receive()
                    await echo(third)
                    lookups = client.lookups
                    await (await forwarder.connect(80)).aclose()
                    assert client.lookups == lookups
                    await third.aclose()

            tasks.start_soon(connect)
            await slow.until(lambda: bool(slow.pairs and slow.pairs[0].data_id))
            client.tunnels[0].lose()
            with pytest.raises(PortForwardError):
                await first.receive()
            await (await forwarder.connect(80)).aclose()  # finds the pod once more
            slow.pairs[0].reply()


async def test_opening_is_tried_again_while_the_pod_is_being_replaced() -> None:
    client = ForwardingClient()
    async with forwarding(client, "svc/web") as forwarder:
        stream = await forwarder.connect(80)
        client.tunnels[0].lose()
        with pytest.raises(PortForwardError):
            await stream.receive()
        client.pod = None

        async with anyio.create_task_group() as tasks:

            async def connect() -> None:
                async with forwarder.connect(80) as again:
                    assert again.pod == "web-1"
                    await echo(again)

            tasks.start_soon(connect)
            with anyio.fail_after(PATIENCE):
                while len(client.retries.retries) < 2:
                    await anyio.sleep(0.01)
            client.pod = "web-1"
        pauses = [pause for _, pause in client.retries.retries]
        assert 0.05 <= pauses[0] <= 0.1
        assert 0.1 <= pauses[1] <= 0.2
        assert all(isinstance(error, NotFound) for error, _ in client.retries.retries)


RECOVERABLE: list[Response | Exception] = [
    ConnectionFailed("no route"),
    ConnectionLost("reset"),
    refusal(404, message="no such pod"),
    refusal(500, message="error dialing backend"),
    Response(502, [], b"bad gateway"),
]


@pytest.mark.parametrize("answer", RECOVERABLE, ids=repr)
async def test_what_may_be_otherwise_in_a_moment_is_tried_again(answer: Response | Exception) -> None:
    client = ForwardingClient()
    async with forwarding(client) as forwarder:
        client.answers[TUNNEL_PROTOCOL] = [answer]
        first = await forwarder.connect(7)
        async with forwarder.connect(7) as second:
            await echo(second)
        await first.aclose()
        assert len(client.retries.retries) == 1


@pytest.mark.parametrize("answer", [refusal(403, message="you may not"), refusal(401)], ids=repr)
async def test_what_will_not_change_is_not_tried_again(answer: Response) -> None:
    client = ForwardingClient()
    async with forwarding(client) as forwarder:
        first = await forwarder.connect(7)
        client.answers[TUNNEL_PROTOCOL] = [answer]
        with pytest.raises(ApiError):
            await forwarder.connect(7)
        assert client.retries.retries == []
        await echo(first)
        await first.aclose()


async def test_giving_up_after_a_while_tells_the_last_error() -> None:
    client = ForwardingClient()
    async with forwarding(client, reconnect=0.7) as forwarder:
        first = await forwarder.connect(7)
        client.answers[TUNNEL_PROTOCOL] = [ConnectionFailed(f"try {number}") for number in range(100)]
        with pytest.raises(ConnectionFailed, match=f"try {len(client.retries.retries) or ''}"):
            await forwarder.connect(7)
        assert 2 <= len(client.retries.retries) <= 4
        await first.aclose()


async def test_without_reconnecting_an_error_comes_at_once_and_the_next_connection_still_looks_again() -> None:
    client = ForwardingClient()
    async with forwarding(client, "svc/web", reconnect=0) as forwarder:
        first = await forwarder.connect(80)
        client.pod = "web-1"
        client.answers[TUNNEL_PROTOCOL] = [refusal(404, message="pods web-0 not found")]
        with pytest.raises(NotFound):
            await forwarder.connect(80)
        assert client.retries.retries == []
        async with forwarder.connect(80) as again:
            assert again.pod == "web-1"
        await first.aclose()


async def test_a_wrong_port_is_not_tried_again() -> None:
    client = ForwardingClient()
    async with forwarding(client) as forwarder:
        with pytest.raises(NotFound, match="no port named 'https'"):
            await forwarder.connect("https")
        with pytest.raises(ValueError, match="from 1 to 65535"):
            await forwarder.connect(0)
        assert (client.retries.retries, client.lookups) == ([], 1)


async def test_a_server_that_does_not_answer_for_a_connection_is_a_timeout() -> None:
    client = ForwardingClient(ClientOptions(heartbeat=None, open_timeout=0.4, close_timeout=0.2))
    client.answers[TUNNEL_PROTOCOL] = [TunnelPeer(accepts=False)]
    async with forwarding(client, reconnect=0) as forwarder:
        with pytest.raises(StreamTimeout, match="opening a connection to port 80"):
            await forwarder.connect(80)
        async with forwarder.connect(80) as stream:  # in a tunnel that is not stuck
            await echo(stream)


async def test_a_refused_connection_fails_alone_and_is_not_tried_again() -> None:
    class Refusing(SteppingPeer):
        def on_pair(self, pair: PeerPair) -> None:
            if pair.port == 81:
                pair.reset_errors()
                pair.reset_data()
            else:
                pair.reply()

        def on_data(self, pair: PeerPair, data: bytes) -> None:
            pair.say(data)

    client = ForwardingClient()
    client.answers[TUNNEL_PROTOCOL] = [Refusing()]
    async with forwarding(client, share=True) as forwarder:
        stream = await forwarder.connect(80)
        with pytest.raises(PortForwardError) as caught:
            await forwarder.connect(81)
        assert caught.value.kind == "reset"
        await echo(stream)
        client.tunnels[0].pairs[0].end()
        await stream.aclose()
    assert client.retries.retries == []
