"""Connections to one target: which protocol carries them, and what happens when the pod or a tunnel is lost."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from kubex_stream import (
    ApiError,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    KubexClientException,
    NotFound,
    Pods,
    PortForwardError,
    ProtocolViolation,
    Unauthorized,
)
from kubex_stream.client import Response
from kubex_stream.protocol.portforward import LEGACY_PROTOCOL, TUNNEL_PROTOCOL
from kubex_stream.session.forward_stream import PortForwardStream
from tests.api.forwarding import NO_TUNNELS, ForwardingClient, LegacyEcho, echo, forwarding
from tests.client.memory import refusal
from tests.session.memory import SteppingConnection
from tests.session.test_turns import settled
from tests.session.tunnel_peer import EchoPeer, SteppingPeer

pytestmark = pytest.mark.anyio


# Life ---------------------------------------------------------------------------------------------------------------------


async def test_entering_finds_the_pod_and_opens_the_first_tunnel_which_connections_use() -> None:
    client = ForwardingClient()
    async with forwarding(client, headers={"X-Given": "1"}) as forwarder:
        assert (client.lookups, forwarder.tunnels) == (1, 1)
        async with forwarder.connect(80) as stream:
            assert (stream.pod, stream.port, stream.protocol) == ("web-0", 80, TUNNEL_PROTOCOL)
            await echo(stream)
        assert len(client.handshakes) == 1
        stream = await forwarder.connect("http")
        assert stream.port == 8080
        await echo(stream)
        await stream.aclose()
        assert client.lookups == 1
    assert all(headers["X-Given"] == "1" for headers in client.headers)


async def test_a_services_ports_are_translated() -> None:
    client = ForwardingClient()
    async with forwarding(client, "svc/web") as forwarder:
        for port in (80, "web"):
            async with forwarder.connect(port) as stream:
                assert (stream.pod, stream.port) == ("web-0", 8080)
                await echo(stream)
        with pytest.raises(NotFound):
            await forwarder.connect(8080)


async def test_it_is_used_only_while_it_is_entered_and_entered_once() -> None:
    client = ForwardingClient()
    async with client:
        forwarder = Pods(client).portforward.forwarder("web-0")
        assert forwarder.tunnels == 0
        with pytest.raises(RuntimeError, match="async with"):
            await forwarder.connect(80)
        async with forwarder:
            with pytest.raises(RuntimeError, match="once"):
                await forwarder.__aenter__()
        with pytest.raises(RuntimeError, match="async with"):
            await forwarder.connect(80)


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": "spdy"}, {"max_tunnels": 0}, {"half_close_delay": -1}, {"half_close_delay": float("inf")},
        {"half_close_delay": float("nan")}, {"reconnect": -1}, {"reconnect": float("nan")}, {"reconnect": float("inf")},
    ],
    ids=str,
)  # fmt: skip
async def test_wrong_options_are_refused_at_once(options: dict[str, Any]) -> None:
    async with ForwardingClient() as client:
        with pytest.raises(ValueError, match=next(iter(options))):
            Pods(client).portforward.forwarder("web-0", **options)


@pytest.mark.parametrize("error", [ZeroDivisionError, None])
async def test_leaving_ends_what_is_open_and_leaves_nothing(error: type[Exception] | None) -> None:
    client = ForwardingClient()
    ends: list[KubexClientException] = []

    async def read(stream: PortForwardStream) -> None:
        try:
            await stream.receive()
        except KubexClientException as end:
            ends.append(end)

    async with anyio.create_task_group() as tasks:
        try:
            async with forwarding(client) as forwarder:
                for _ in range(3):
                    tasks.start_soon(read, await forwarder.connect(7))
                await settled()
                assert forwarder.tunnels == 3
                if error is not None:
                    raise error
        except ZeroDivisionError:
            assert error is not None
    assert len(ends) == 3
    assert all(isinstance(end, PortForwardError) and end.kind == "lost" for end in ends)
    assert [peer.closed_with for peer in client.tunnels] == [1000] * 3


@pytest.mark.parametrize("steps", range(0, 24, 2))
async def test_entering_and_connecting_can_be_cancelled_at_every_step(steps: int) -> None:
    client = ForwardingClient()

    async def use(scope: anyio.CancelScope) -> None:
        with scope:
            async with forwarding(client) as forwarder, forwarder.connect(7) as stream:
                await echo(stream)
                await stream.receive()

    async with anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()
        tasks.start_soon(use, scope)
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        scope.cancel()
    assert client.retries.open == 0
    assert all(connection.closed for connection in client.connections)


async def test_leaving_waits_until_what_was_sent_has_arrived() -> None:
    client, peer = ForwardingClient(), SteppingPeer()
    client.answers[TUNNEL_PROTOCOL] = [peer]
    left = anyio.Event()

    async def use() -> None:
        async with forwarding(client) as forwarder, forwarder.connect(7) as stream:
            await stream.send(b"last words")
        left.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(use)
        await peer.until(lambda: bool(peer.pairs) and peer.pairs[0].input_ended)
        await settled()
        assert not peer.closed
        assert not left.is_set()
        peer.pairs[0].end()


async def test_a_connection_that_is_being_opened_while_the_forwarder_is_left_is_an_error_and_leaves_nothing() -> None:
    client = ForwardingClient()
    begun, go_on = anyio.Event(), anyio.Event()

    class Slow(EchoPeer):
        @property
        def negotiated_subprotocol(self) -> str | None:
            return TUNNEL_PROTOCOL

    peer = Slow()
    client.answers[TUNNEL_PROTOCOL] = [EchoPeer()]
    usual = client.open_websocket

    async def slow(request: Any, subprotocols: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await usual(request, subprotocols)

    async with anyio.create_task_group() as tasks:
        async with forwarding(client) as forwarder:
            client.answers[TUNNEL_PROTOCOL] = [peer]
            client.open_websocket = slow  # type: ignore[method-assign]

            async def connect() -> None:
                with pytest.raises((RuntimeError, KubexClientException)):
                    await forwarder.connect(7)

            first = await forwarder.connect(7)
            tasks.start_soon(connect)
            await begun.wait()
            await first.aclose()
        go_on.set()
    assert peer.closed


# Protocols ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [400, 403, 404, 405, 501])
async def test_where_the_tunnels_handshake_is_refused_the_older_protocol_follows_for_good(code: int) -> None:
    client = ForwardingClient()
    client.answers[TUNNEL_PROTOCOL] = [Response(code, [], b"no tunneling spdy protocols provided")]
    async with forwarding(client) as forwarder:
        for port in (80, 81):
            async with forwarder.connect(port) as stream:
                assert (stream.protocol, stream.port) == (LEGACY_PROTOCOL, port)
                await echo(stream)
        assert forwarder.tunnels == 0
    assert [protocol for _, protocol in client.handshakes] == [TUNNEL_PROTOCOL, LEGACY_PROTOCOL, LEGACY_PROTOCOL]
    assert len({id(connection) for connection in client.connections}) == 2


async def test_a_server_that_chooses_something_else_is_not_spoken_to_in_tunnels() -> None:
    client = ForwardingClient()
    client.answers[TUNNEL_PROTOCOL] = [SteppingConnection(protocol=LEGACY_PROTOCOL)]
    async with forwarding(client) as forwarder, forwarder.connect(80) as stream:
        assert stream.protocol == LEGACY_PROTOCOL
        await echo(stream)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(403, message="you may not"), Forbidden),
        (refusal(404, message="no such pod"), NotFound),
        (refusal(400, message="pod does not run"), ApiError),
        (refusal(401), Unauthorized),
        (Response(500, [], b"oops"), ApiError),
        (Response(200, [], b"hello"), ApiError),
        (ConnectionFailed("no route"), ConnectionFailed),
        (ConnectionLost("reset"), ConnectionLost),
    ],
    ids=repr,
)
async def test_what_is_no_refusal_of_the_protocol_is_an_error(
    answer: Response | Exception, kind: type[Exception]
) -> None:
    client = ForwardingClient()
    client.answers[TUNNEL_PROTOCOL] = [answer]
    with pytest.raises(kind):
        async with forwarding(client):
            pytest.fail("entered")
    assert [protocol for _, protocol in client.handshakes] == [TUNNEL_PROTOCOL]


@pytest.mark.parametrize("kind", [Forbidden, ProtocolViolation])
async def test_a_forced_tunnel_has_no_fallback(kind: type[Exception]) -> None:
    client = ForwardingClient()
    other = SteppingConnection(protocol=LEGACY_PROTOCOL)
    client.answers[TUNNEL_PROTOCOL] = [NO_TUNNELS if kind is Forbidden else other]
    with pytest.raises(kind):
        async with forwarding(client, protocol="tunnel"):
            pytest.fail("entered")
    assert [protocol for _, protocol in client.handshakes] == [TUNNEL_PROTOCOL]


async def test_the_older_protocol_alone_opens_nothing_before_it_is_needed() -> None:
    client = ForwardingClient()
    async with forwarding(client, protocol="legacy") as forwarder:
        assert client.handshakes == []
        async with forwarder.connect(80) as stream:
            await echo(stream)
    assert [protocol for _, protocol in client.handshakes] == [LEGACY_PROTOCOL]


async def test_an_older_connection_to_the_wrong_port_is_an_error_and_closed() -> None:
    client = ForwardingClient()
    wrong = LegacyEcho(81)
    client.answers[LEGACY_PROTOCOL] = [wrong]
    async with forwarding(client, protocol="legacy") as forwarder:
        with pytest.raises(PortForwardError, match="asked for port 80"):
            await forwarder.connect(80)
        assert wrong.closed


@pytest.mark.parametrize("share", [False, True])
async def test_connections_share_only_where_it_is_asked_for_or_needed(share: bool) -> None:
    client = ForwardingClient()
    async with forwarding(client, share=share, max_tunnels=2) as forwarder:
        streams = [await forwarder.connect(7) for _ in range(4)]
        assert forwarder.tunnels == (1 if share else 2)
        for number, stream in enumerate(streams):
            await echo(stream, b"%d" % number)
        for stream in streams:
            await stream.aclose()


@pytest.mark.parametrize(
    ("name", "given", "delay", "cuts"),
    [
        ("containerd", None, 1.0, True),
        ("cri-o", None, 0.0, False),
        ("odd", None, 1.0, False),
        ("containerd", 0.0, 0.0, True),
        ("cri-o", 3.0, 3.0, False),
    ],
)
async def test_what_becomes_of_an_end_depends_on_the_runtime(
    name: str, given: float | None, delay: float, cuts: bool
) -> None:
    client = ForwardingClient()
    client.runtime = name
    async with forwarding(client, half_close_delay=given) as forwarder, forwarder.connect(7) as stream:
        conduit = stream._conduit
        assert (conduit.end_of_input.patience, conduit.end_of_input.cuts) == (delay, cuts)
