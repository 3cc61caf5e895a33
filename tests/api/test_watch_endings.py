"""Watch.stream: how it ends, and what it makes of the bytes that come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from kubex_stream import ApiError, ConnectionLost
from kubex_stream.api.watch import Watch
from kubex_stream.watch.backoff import Backoff
from tests.api.watching import (
    EXPIRED,
    PODS,
    QUICK,
    added,
    bookmark,
    ends,
    error,
    event,
    events_of,
    hangs,
    item,
    listed,
    query,
    take,
    watched,
)
from tests.client.memory import Body, HangingBody, hang, refusal

pytestmark = pytest.mark.anyio


# Ending ---------------------------------------------------------------------------------------------------------------


async def test_stop_from_another_task_ends_the_wait_at_once() -> None:
    body = HangingBody(added("a", 5))
    async with watched(body.response()) as client, anyio.create_task_group() as tasks:
        watch = Watch(client)
        events = watch.stream(PODS, resource_version=1, inactivity=None)

        async def stop() -> None:
            await anyio.wait_all_tasks_blocked()
            watch.stop()

        tasks.start_soon(stop)
        assert [each.raw_object["metadata"]["name"] async for each in events] == ["a"]
        assert body.closed
        assert [each async for each in events] == []


@pytest.mark.parametrize("rest", [added("b", 6), error(403), b"<html>\n"], ids=["event", "error", "junk"])
async def test_stop_within_the_loop_drops_what_was_not_asked_for(rest: bytes) -> None:
    body = HangingBody(added("a", 5) + rest)
    async with watched(body.response()) as client:
        events = Watch(client).stream(PODS, resource_version=1)
        found = []
        async for each in events:
            found.append(each)
            events.stop()
    assert len(found) == 1
    assert body.closed


class Arriving(HangingBody):
    """Calls something when a piece has arrived that nobody has looked at yet."""

    def __init__(self, arrived: Callable[[], None], *pieces: bytes | Exception) -> None:
        super().__init__(*pieces)
        self._arrived = arrived

    async def __anext__(self) -> bytes:
        piece = await super().__anext__()
        self._arrived()
        return piece


@pytest.mark.parametrize("piece", [added("a", 5), error(403), b"<html>\n"], ids=["event", "error", "junk"])
async def test_what_arrives_in_the_moment_of_the_stop_is_dropped(piece: bytes) -> None:
    body = Arriving(lambda: events.stop(), piece)
    async with watched(body.response()) as client:
        events = Watch(client).stream(PODS, resource_version=1)
        assert [each async for each in events] == []
    assert body.closed


WAITS: dict[str, tuple[str, list[Any], dict[str, Any]]] = {
    "discovery": ("pods", [hang], {}),
    "list": (PODS, [hang], {"initial": "list"}),
    "second page": (PODS, [listed(5, more="xyz"), hang], {"initial": "list"}),
    "opening": (PODS, [hang], {}),
    "retry of the client": (PODS, [refusal(503, ("retry-after", "20"))], {}),
    "pause behind an end": (PODS, [ends], {}),
    "pause behind an error": (PODS, [lambda: ends(error(500))], {"resource_version": 5}),
    "pause before a list": (PODS, [lambda: ends(bookmark(9, end=True) + EXPIRED)], {}),
}


@pytest.mark.parametrize("way", ["stop", "close", "cancel"])
@pytest.mark.parametrize("where", WAITS)
async def test_it_ends_at_once_wherever_it_waits(where: str, way: str) -> None:
    resource, answers, options = WAITS[where]
    client = watched(*[answer() if callable(answer) and answer is not hang else answer for answer in answers])
    async with client, anyio.create_task_group() as tasks:
        events = Watch(client, backoff=Backoff(100, 100)).stream(resource, **options)
        found: list[object] = []

        async def read(scope: anyio.CancelScope) -> None:
            with scope:
                found.extend([each async for each in events])

        scope = anyio.CancelScope()
        tasks.start_soon(read, scope)
        await anyio.wait_all_tasks_blocked()
        if way == "cancel":
            scope.cancel()
        elif way == "stop":
            events.stop()
        await events.aclose() if way == "close" else None
    assert found == []


async def test_stopped_before_it_has_begun() -> None:
    async with watched() as client:
        watch = Watch(client)
        events = watch.stream(PODS)
        watch.stop()
        assert [each async for each in events] == []
        assert await events.initial_state() == []
    assert client.sent == []


async def test_leaving_the_block_while_another_task_waits() -> None:
    body = HangingBody()
    done = anyio.Event()
    async with watched(body.response()) as client, anyio.create_task_group() as tasks:

        async def read() -> None:
            assert [each async for each in events] == []
            done.set()

        async with Watch(client).stream(PODS, resource_version=1) as events:
            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
        assert body.closed
        await done.wait()


async def test_breaking_out_of_the_block_closes_the_connection() -> None:
    body = HangingBody(added("a", 5))
    async with watched(body.response()) as client:
        async with Watch(client).stream(PODS, resource_version=1) as events:
            async for _ in events:
                break
        assert body.closed


async def test_leaving_the_watch_ends_all_its_streams() -> None:
    bodies = [HangingBody(added("a", 5)), HangingBody(added("a", 5))]
    async with watched(*[body.response() for body in bodies]) as client:
        async with Watch(client) as watch:
            streams = [watch.stream(PODS, resource_version=1) for _ in bodies]
            for stream in streams:
                await anext(stream)
        assert all(body.closed for body in bodies)


async def test_a_cancelled_wait_closes_the_connection_and_loses_nothing() -> None:
    body = HangingBody(added("a", 5) + b'{"type": "ADDED", ')
    async with watched(body.response(), hangs(added("b", 6))) as client:
        async with Watch(client).stream(PODS, resource_version=1) as events:
            await anext(events)
            with anyio.move_on_after(0.01) as scope:
                await anext(events)
            assert scope.cancelled_caught
            assert body.closed
            assert await take(events, 1) == ["ADDED b 6"]
    assert query(client.sent[1])["resourceVersion"] == "5"


async def test_what_arrives_in_the_moment_of_a_cancellation_is_kept() -> None:
    scope = anyio.CancelScope()
    body = Arriving(scope.cancel, added("a", 5) + added("b", 6) + bookmark(7))
    async with watched(body.response(), hangs(added("c", 8))) as client:
        async with Watch(client).stream(PODS, resource_version=1) as events:
            with scope:
                await anext(events)
            assert scope.cancelled_caught
            assert body.closed
            assert await take(events, 3) == ["ADDED a 5", "ADDED b 6", "ADDED c 8"]
    assert query(client.sent[1])["resourceVersion"] == "7"


async def test_an_error_that_arrives_in_the_moment_of_a_cancellation_is_told() -> None:
    scope = anyio.CancelScope()
    body = Arriving(scope.cancel, added("a", 5) + error(403))
    async with watched(body.response()) as client, Watch(client).stream(PODS, resource_version=1) as events:
        with scope:
            await anext(events)
        assert await take(events, 1) == ["ADDED a 5"]
        with pytest.raises(ApiError, match="403"):
            await anext(events)
    assert len(client.sent) == 1


async def test_waits_that_are_shorter_than_the_pause_do_not_begin_it_anew() -> None:
    client = watched(ends(added("a", 5), ConnectionLost("reset")), hangs(added("b", 6)))
    backoff = Backoff(first=0.3, longest=0.3)
    async with client, Watch(client, backoff=backoff).stream(PODS, resource_version=1) as events:
        found: list[str] = []
        with anyio.fail_after(20):
            while len(found) < 2:
                with anyio.move_on_after(0.05):
                    found += await take(events, 1)
    assert found == ["ADDED a 5", "ADDED b 6"]


async def test_a_timeout_ends_it_in_order() -> None:
    body = HangingBody(added("a", 5))
    async with watched(body.response()) as client:
        async with Watch(client).stream(PODS, resource_version=1, timeout=0.5) as events:
            assert len([each async for each in events]) == 1
    assert body.closed
    assert query(client.sent[0])["timeoutSeconds"] == "1"


@pytest.mark.parametrize(
    ("last", "told"), [(error(403), "403"), (b"<html>\n", "no watch event")], ids=["error", "junk"]
)
async def test_what_came_before_a_timeout_is_told_however_slow_the_consumer(last: bytes, told: str) -> None:
    body = HangingBody(added("a", 5) + added("b", 6) + last)
    async with watched(body.response()) as client:
        async with Watch(client).stream(PODS, resource_version=1, timeout=0.5) as events:
            found = await take(events, 1)
            await anyio.sleep(0.6)
            found += await take(events, 1)
            with pytest.raises(ApiError, match=told):
                await anext(events)
            assert body.closed
            assert [each async for each in events] == []
    assert found == ["ADDED a 5", "ADDED b 6"]


async def test_a_timeout_ends_a_back_off_too() -> None:
    client = watched(ends(ConnectionLost("reset")))
    async with client, Watch(client).stream(PODS, resource_version=1, timeout=0.02) as events:
        assert [each async for each in events] == []


async def test_one_reader_at_a_time() -> None:
    async with watched(HangingBody().response()) as client, anyio.create_task_group() as tasks:
        async with Watch(client).stream(PODS, resource_version=1) as events:

            async def wait() -> None:
                await anext(events, None)

            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BusyResourceError):
                await anext(events)


# Lines ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 7, 100])
async def test_events_come_in_any_pieces(size: int) -> None:
    content = event("ADDED", item("ä", 5, note="€ü")) + added("b", 6)
    client = watched(hangs(*[content[at : at + size] for at in range(0, len(content), size)]))
    found, _ = await events_of(client, 2, resource_version=1)
    assert found == ["ADDED ä 5", "ADDED b 6"]


async def test_a_line_of_many_megabytes() -> None:
    line = event("ADDED", item("big", 5, data="x" * (32 * 1024 * 1024)))
    pieces = [line[at : at + 65536] for at in range(0, len(line), 65536)]
    async with watched(hangs(*pieces)) as client, Watch(client).stream(PODS, resource_version=1) as events:
        assert len((await anext(events)).raw_object["data"]) == 32 * 1024 * 1024


@pytest.mark.parametrize(
    "line", [b"<html>", b"[]", b"{}", b'{"type": "ADDED"}', b'{"type": "ADDED", "object": 5}', b"\xff"]
)
async def test_what_is_no_event_is_an_error(line: bytes) -> None:
    body = Body(added("a", 5) + line + b"\n")
    async with watched(body.response()) as client, Watch(client).stream(PODS, resource_version=1) as events:
        assert await take(events, 1) == ["ADDED a 5"]
        with pytest.raises(ApiError, match=r"GET /api/v1/pods: 200, but the answer is no watch event"):
            await anext(events)
    assert body.closed


async def test_what_is_no_event_behind_the_state_hides_nothing_of_the_state() -> None:
    content = added("a", 3) + added("b", 4) + b"<html>\n" + added("c", 5)
    async with watched(hangs(content)) as client, Watch(client).stream(PODS) as events:
        assert await take(events, 2) == ["ADDED a 3 initial", "ADDED b 4 initial"]
        assert not events.synced
        with pytest.raises(ApiError, match="no watch event"):
            await anext(events)
        assert [each async for each in events] == []


async def test_a_page_of_one_line_is_no_end_in_order() -> None:
    body = Body(b"<html>please log in</html>")
    async with watched(body.response()) as client, Watch(client).stream(PODS, resource_version=1) as events:
        with pytest.raises(ApiError, match=r"200, but the answer is no watch event; is this really an API server"):
            await anext(events)
    assert len(client.sent) == 1


async def test_empty_lines_and_carriage_returns() -> None:
    content = b"\n\r\n" + added("a", 5).replace(b"\n", b"\r\n") + b"\n" + added("b", 6)
    found, _ = await events_of(watched(hangs(content)), 2, resource_version=1)
    assert found == ["ADDED a 5", "ADDED b 6"]


async def test_other_types_of_events_are_left_out() -> None:
    found, _ = await events_of(watched(hangs(event("INVENTED", item("x", 4)) + added("a", 5))), 1, resource_version=1)
    assert found == ["ADDED a 5"]


async def test_ends_at_once_are_not_asked_for_in_a_hot_loop() -> None:
    client = watched(*[ends() for _ in range(100)])
    async with client, Watch(client).stream(PODS, resource_version=1, timeout=0.2) as events:
        assert [each async for each in events] == []
    assert len(client.sent) == 1, "the first pause is longer than this"


async def test_a_watch_of_its_own_backoff() -> None:
    client = watched(*[ends() for _ in range(5)], hangs(added("a", 5)))
    async with client, Watch(client, backoff=QUICK).stream(PODS, resource_version=1) as events:
        assert await take(events, 1) == ["ADDED a 5"]
    assert len(client.sent) == 6
