"""Watch.stream: how it goes on behind an end, an error, silence and a version that is too old."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from kubex_stream import (
    ApiError,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    Gone,
    Observer,
    StreamTimeout,
)
from kubex_stream.api.watch import Watch
from kubex_stream.api.watch_events import WatchNotice
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
from tests.client.memory import HangingBody, refusal

pytestmark = pytest.mark.anyio


# Going on -------------------------------------------------------------------------------------------------------------


async def test_a_clean_end_goes_on_from_the_last_version_at_once() -> None:
    client = watched(ends(added("a", 5)), ends(added("b", 6) + bookmark(40)), hangs(added("c", 41)))
    found, notices = await events_of(client, 3, resource_version=1)
    assert found == ["ADDED a 5", "ADDED b 6", "ADDED c 41"]
    assert [query(request)["resourceVersion"] for request in client.sent] == ["1", "5", "40"]
    kinds = [(notice.kind, notice.resource_version, notice.error, notice.delay) for notice in notices]
    assert kinds == [("resuming", "5", None, 0), ("bookmark", "40", None, 0), ("resuming", "40", None, 0)]


BROKEN: list[tuple[bytes | Exception, ...]] = [
    (added("a", 5), ConnectionLost("reset")),
    (added("a", 5) + b'{"type": "ADDED", "obj', ConnectionLost("reset")),
    (added("a", 5) + b'{"type": "ADDED", "obj',),
    (added("a", 5) + error(500),),
    (added("a", 5) + error(504, details={"retryAfterSeconds": 0}),),
    (added("a", 5) + error(429),),
]


@pytest.mark.parametrize("pieces", BROKEN, ids=range(len(BROKEN)))
async def test_what_breaks_goes_on_from_the_last_version(pieces: tuple[bytes | Exception, ...]) -> None:
    told: list[str] = []

    class Told(Observer):
        def retried(self, path: str, error: Exception, delay: float) -> None:
            assert str(error)
            assert 0 < delay < 1
            told.append(path)

    client = watched(ends(*pieces), hangs(added("b", 6)), observer=Told())
    found, notices = await events_of(client, 2, resource_version=1)
    assert found == ["ADDED a 5", "ADDED b 6"]
    assert query(client.sent[1])["resourceVersion"] == "5"
    assert [notice.kind for notice in notices] == ["resuming"]
    assert told == ([] if notices[0].error is None else [PODS])


async def test_a_server_that_is_away_for_a_while() -> None:
    renewal = ConfigurationError("the plugin needs the network")
    away = [ConnectionFailed("refused"), StreamTimeout("late"), refusal(500), refusal(504), renewal]
    client = watched(ends(added("a", 5)), *away, hangs(added("b", 6)))
    found, notices = await events_of(client, 2, resource_version=1)
    assert found == ["ADDED a 5", "ADDED b 6"]
    assert [type(notice.error) for notice in notices] == [
        type(None),
        ConnectionFailed,
        StreamTimeout,
        ApiError,
        ApiError,
        ConfigurationError,
    ]
    assert {query(request)["resourceVersion"] for request in client.sent[1:]} == {"5"}


@pytest.mark.parametrize("kind", [ConnectionFailed, ConfigurationError])
async def test_the_first_request_has_to_succeed(kind: type[Exception]) -> None:
    async with watched(kind("no route")) as client:
        async with Watch(client).stream(PODS) as events:
            with pytest.raises(kind, match="no route"):
                await anext(events)
            with pytest.raises(StopAsyncIteration):
                await anext(events)
    assert len(client.sent) == 1


async def test_giving_up() -> None:
    client = watched(ends(added("a", 5)), *[ConnectionFailed("refused")] * 500)
    async with client, Watch(client, backoff=QUICK).stream(PODS, resource_version=1, give_up_after=0.02) as events:
        await anext(events)
        with pytest.raises(ConnectionFailed, match="refused"):
            await anext(events)
    assert len(client.sent) > 3


@pytest.mark.parametrize("as_event", [False, True])
async def test_a_refusal_for_good_ends_it(as_event: bool) -> None:
    answer = ends(error(403)) if as_event else refusal(403, message="refused")
    async with watched(ends(added("a", 5)), answer) as client:
        async with Watch(client).stream(PODS, resource_version=1) as events:
            assert await take(events, 1) == ["ADDED a 5"]
            with pytest.raises(Forbidden, match="refused"):
                await anext(events)
            assert [each async for each in events] == []


async def test_the_same_change_again_and_again_is_no_hot_loop() -> None:
    client = watched(*[ends(event("MODIFIED", {"metadata": {"name": "a"}})) for _ in range(50)])
    async with client, Watch(client).stream(PODS, resource_version=1, timeout=0.2) as events:
        assert len([each async for each in events]) == 1
    assert len(client.sent) == 1, "the first pause is longer than this"


async def test_a_state_that_expires_as_soon_as_it_is_whole_is_no_hot_loop() -> None:
    state = added("a", 5) + bookmark(9, end=True)
    client = watched(*[ends(state + EXPIRED) for _ in range(50)])
    delays: list[float] = []
    with anyio.fail_after(20) as scope:

        def note(notice: WatchNotice) -> None:
            if notice.kind == "relisting":
                delays.append(notice.delay)
                if delays[-1] > 8 * delays[0]:  # the pauses grow
                    scope.cancel()

        async with client, Watch(client, backoff=Backoff(0.001, 60)).stream(PODS, notify=note) as events:
            await anext(events)
            await anext(events)
    assert scope.cancelled_caught
    assert len(delays) < 40


async def test_silence_is_measured_while_waiting_only() -> None:
    silent = HangingBody(added("a", 5))
    client = watched(silent.response(), hangs(added("b", 6)))
    notices: list[Any] = []
    async with (
        client,
        Watch(client, backoff=QUICK).stream(PODS, resource_version=1, inactivity=0.05, notify=notices.append) as events,
    ):
        await anext(events)
        await anyio.sleep(0.06)  # a slow consumer is not a silent server
        open_still = not silent.closed
        assert await take(events, 1) == ["ADDED b 6"]
    assert open_still
    assert silent.closed
    (notice,) = notices
    assert isinstance(notice.error, ConnectionLost)
    assert "nothing has come for 0.05 s" in str(notice.error)
    assert query(client.sent[1])["resourceVersion"] == "5"


async def test_a_version_that_the_server_has_never_had_is_no_silence_for_ever() -> None:
    """As after etcd was restored from a backup: it answers with 200, and neither a change nor a bookmark ever comes."""
    restored = listed(7, item("b", 6)), hangs(added("c", 8))
    client = watched(listed(20, item("a", 3)), hangs(), hangs(), *restored)
    found, notices = await events_of(client, 4, inactivity=0.03, initial="list")
    assert found == ["ADDED a 3 initial", "ADDED b 6 relisted", "DELETED a 3 relisted", "ADDED c 8"]
    assert [notice.kind for notice in notices] == ["synced", "resuming", "relisting", "relisted"]


async def test_a_given_version_is_gone_on_from_whatever_the_silence() -> None:
    client = watched(hangs(), hangs(), hangs(), hangs(added("c", 8)))
    found, _ = await events_of(client, 1, inactivity=0.03, resource_version=5)
    assert found == ["ADDED c 8"]
    assert {query(request)["resourceVersion"] for request in client.sent} == {"5"}


async def test_a_server_that_never_ends_the_state_that_it_streams() -> None:
    client = watched(hangs(added("a", 5)), listed(9, item("a", 5), item("b", 6)), hangs(added("c", 10)))
    found, notices = await events_of(client, 3, inactivity=0.03)
    assert found == ["ADDED a 5 initial", "ADDED b 6 initial", "ADDED c 10"]
    assert [notice.kind for notice in notices] == ["resuming", "synced"]


# 410 ------------------------------------------------------------------------------------------------------------------


TOO_OLD = pytest.mark.parametrize(
    "expiry", [lambda: refusal(410, message="refused"), lambda: ends(EXPIRED)], ids=["status", "event"]
)


@TOO_OLD
async def test_a_given_version_that_is_too_old_is_an_error(expiry: Any) -> None:
    async with watched(expiry()) as client:
        async with Watch(client).stream(PODS, resource_version=1127) as events:
            with pytest.raises(Gone, match="refused") as caught:
                await anext(events)
            assert caught.value.status_code == 410
            assert [each async for each in events] == []


async def test_later_on_too_and_what_came_before_is_handed_out() -> None:
    async with watched(ends(added("a", 5) + added("b", 6) + EXPIRED)) as client:
        async with Watch(client).stream(PODS, resource_version=1) as events:
            assert await take(events, 2) == ["ADDED a 5", "ADDED b 6"]
            with pytest.raises(Gone):
                await anext(events)


@TOO_OLD
@pytest.mark.parametrize("streamed", [True, False])
async def test_otherwise_the_differences_are_told(expiry: Any, streamed: bool) -> None:
    before = [item("same", 1), item("changed", 2), item("gone", 3)]
    after = [item("same", 1), item("changed", 50), item("new", 51)]

    def state(version: int, items: list[dict[str, Any]]) -> Any:
        if not streamed:
            return listed(version, *items)
        return ends(b"".join(event("ADDED", each) for each in items) + bookmark(version, end=True))

    rest: list[Any] = [] if streamed else [ends()]
    client = watched(state(10, before), *rest, expiry(), state(60, after), hangs(added("later", 61)))
    found, notices = await events_of(client, 7, initial="stream" if streamed else "list")
    assert found == [
        "ADDED same 1 initial",
        "ADDED changed 2 initial",
        "ADDED gone 3 initial",
        "MODIFIED changed 50 relisted",
        "ADDED new 51 relisted",
        "DELETED gone 3 relisted",
        "ADDED later 61",
    ]
    assert [notice.kind for notice in notices if notice.kind != "resuming"] == ["synced", "relisting", "relisted"]
    relisting = next(notice for notice in notices if notice.kind == "relisting")
    assert isinstance(relisting.error, Gone)


@pytest.mark.parametrize("streamed", [True, False])
async def test_what_is_handed_out_is_the_readers_own(streamed: bool) -> None:
    last = item("gone", 3, spec={"size": 1})
    state = ends(event("ADDED", last) + bookmark(10, end=True)) if streamed else listed(10, last)
    rest = [] if streamed else [ends()]
    client = watched(state, *rest, refusal(410), *([ends(bookmark(60, end=True))] if streamed else [listed(60)]))
    stream = Watch(client, backoff=QUICK).stream(PODS, initial="stream" if streamed else "list")
    async with client, stream as events:
        (await anext(events)).raw_object.clear()
        deleted = await anext(events)
    assert (deleted.type, deleted.relisted, deleted.raw_object) == ("DELETED", True, last)
