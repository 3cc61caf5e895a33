"""One local connection and the pod's end of it: real local sockets, and a pod that is the test."""

from __future__ import annotations

import random

import anyio
import pytest
from anyio.lowlevel import checkpoint

from kubex_stream import ApiError, NotFound
from kubex_stream.api.relay import Relay
from kubex_stream.protocol.portforward import LEGACY_PROTOCOL, TUNNEL_PROTOCOL
from kubex_stream.session.forward_stream import PortForwardStream
from tests.api.relays import Remote, failure, local_pair, read, relaying, reset
from tests.packages import release
from tests.session.memory import PATIENCE

pytestmark = pytest.mark.anyio


async def test_bytes_go_both_ways_and_an_end_is_an_end() -> None:
    remote = Remote()
    async with relaying(remote) as (relay, client, failures):
        await client.send(b"question")
        await remote.until(lambda: remote.received == b"question")
        remote.say(b"answer", anyio.EndOfStream())
        assert await read(client) == (b"answer", True)
        await client.aclose()
    assert failures == []
    assert (relay.bytes_in, relay.bytes_out) == (6, 8)


async def test_the_local_end_is_passed_on_and_the_answer_still_comes() -> None:
    remote = Remote()
    async with relaying(remote) as (_, client, failures):
        await client.send(b"question")
        await client.send_eof()
        await remote.until(lambda: remote.ended)
        remote.say(b"answer", anyio.EndOfStream())
        assert await read(client) == (b"answer", True)
    assert bytes(remote.received) == b"question"
    assert failures == []


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
async def test_a_failure_is_a_reset_after_everything_that_came(size: int) -> None:
    error, answer = failure("reset"), random.Random(1).randbytes(size)
    remote = Remote(*[answer[start : start + 100_000] for start in range(0, size, 100_000)], error)
    async with relaying(remote) as (relay, client, failures):
        assert await read(client) == (answer, False)
    assert failures == [error]
    assert relay.bytes_in == size


@pytest.mark.parametrize(
    "error", [NotFound("no such pod", status_code=404), failure("refused"), ZeroDivisionError()], ids=repr
)
async def test_an_end_that_cannot_be_made_is_a_reset(error: Exception) -> None:
    async with relaying(error) as (_, client, failures):
        assert await read(client) == (b"", False)
    assert failures == [error]


@pytest.mark.skipif(release("anyio") < (4, 16), reason="this anyio sends an end before it resets a connection")
async def test_a_local_client_that_resets_ends_it_quietly() -> None:
    remote = Remote()
    async with relaying(remote) as (_, client, failures):
        await client.send(b"question")
        await remote.until(lambda: remote.received == b"question")
        await reset(client)
        await remote.until(lambda: remote.closed)
    assert failures == []
    assert not remote.ended


async def test_a_local_client_that_resets_while_much_comes_ends_it_quietly() -> None:
    remote = Remote(*[bytes(100_000)] * 100)
    async with relaying(remote) as (_, client, failures):
        await client.receive()
        await reset(client)
        await remote.until(lambda: remote.closed)
    assert failures == []


async def test_an_early_end_of_the_pods_side_reaches_a_client_that_is_still_sending() -> None:
    """What a client sends into a closed socket would make its kernel throw away the answer."""
    answer = bytes(200_000)
    remote = Remote(takes=1)
    async with relaying(remote) as (_, client, failures):
        await client.send(b"begin")
        await remote.until(lambda: bool(remote.received))
        remote.say(answer, anyio.EndOfStream())
        sent = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                for _ in range(100):
                    await client.send(bytes(10_000))
                    await checkpoint()
                await client.send_eof()
                sent.set()

            tasks.start_soon(send)
            await sent.wait()
            assert await read(client) == (answer, True)
    assert failures == []


@pytest.mark.parametrize("protocol", [TUNNEL_PROTOCOL, LEGACY_PROTOCOL])
async def test_a_cut_is_a_reset_and_a_failure_only_where_it_could_be_avoided(protocol: str) -> None:
    error = failure("cut")
    async with relaying(Remote(b"part", error), protocol=protocol) as (_, client, failures):
        assert await read(client) == (b"part", False)
    assert failures == ([error] if protocol == TUNNEL_PROTOCOL else [])


async def test_leaving_cuts_a_connection_at_once_even_one_that_takes_nothing() -> None:
    remote = Remote(*[bytes(100_000)] * 1000)
    async with local_pair() as (local, client):

        async def connect() -> PortForwardStream:
            return PortForwardStream(remote, pod="web-0", protocol=TUNNEL_PROTOCOL, failed=lambda _: None)

        relay = Relay(local, connect)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(relay.run)
            with anyio.fail_after(PATIENCE):
                while not relay.bytes_in:
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        assert remote.closed
        assert (await read(client))[1] is False


async def test_errors_of_the_server_are_not_tried_again() -> None:
    error = ApiError("no", status_code=500)
    async with relaying(error, Remote()) as (_, client, failures):
        assert await read(client) == (b"", False)
    assert failures == [error]
