"""Watch.stream: what an event is, and the state at the beginning."""

from __future__ import annotations

from typing import Any, Literal

import anyio
import pytest
from pydantic import BaseModel, ValidationError

from kubex_stream import ApiError
from kubex_stream.api.watch import Watch
from tests.api.watching import (
    PODS,
    QUICK,
    added,
    bookmark,
    brief,
    ends,
    event,
    events_of,
    hangs,
    item,
    listed,
    query,
    take,
    watched,
)
from tests.client.memory import refusal

pytestmark = pytest.mark.anyio


# What an event is -----------------------------------------------------------------------------------------------------


async def test_an_event_has_a_type_the_dict_and_the_object() -> None:
    async with watched(ends(added("a", 5))) as client:
        async with Watch(client).stream(PODS, resource_version=1127) as events:
            async for found in events:
                assert (found.type, found["type"]) == ("ADDED", "ADDED")
                assert found.raw_object == found.object == item("a", 5)
                assert found["raw_object"] is found.raw_object
                assert found["object"] is found.object
                with pytest.raises(KeyError):
                    found["initial"]  # type: ignore[index]
                break
    assert query(client.sent[0]) == {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": "1127"}


class Metadata(BaseModel):
    name: str


class Pod(BaseModel):
    metadata: Metadata


async def test_a_pydantic_model_makes_the_object() -> None:
    async with watched(hangs(added("a", 5))) as client:
        async with Watch(client).stream(PODS, resource_version=1, model=Pod) as events:
            found = await anext(events)
    assert found.object == Pod(metadata=Metadata(name="a"))
    assert found.raw_object == item("a", 5)


async def test_anything_that_can_be_called_makes_the_object() -> None:
    def name_of(raw: dict[str, Any]) -> str:
        return str(raw["metadata"]["name"])

    async with watched(hangs(added("a", 5))) as client:
        async with Watch(client).stream(PODS, resource_version=1, model=name_of) as events:
            assert (await anext(events)).object.upper() == "A"


async def test_an_object_that_does_not_fit_the_model_ends_nothing() -> None:
    async with watched(hangs(event("ADDED", {"metadata": {}}) + added("b", 6))) as client:
        async with Watch(client).stream(PODS, resource_version=1, model=Pod) as events:
            with pytest.raises(ValidationError):
                await anext(events)
            assert (await anext(events)).object.metadata.name == "b"


# The initial state ----------------------------------------------------------------------------------------------------


async def test_a_streamed_state_and_its_end() -> None:
    found, notices = await events_of(
        watched(hangs(added("b", 9) + added("a", 3) + bookmark(20, end=True) + added("c", 21))), 3
    )
    assert found == ["ADDED b 9 initial", "ADDED a 3 initial", "ADDED c 21"]
    assert [(notice.kind, notice.resource_version) for notice in notices] == [("synced", "20")]


async def test_the_state_is_complete_when_its_last_object_is_handed_out() -> None:
    async with watched(hangs(added("a", 3) + added("b", 4) + bookmark(20, end=True) + added("c", 21))) as client:
        async with Watch(client).stream(PODS) as events:
            seen = [events.synced]
            for _ in range(2):
                await take(events, 1)
                seen.append(events.synced)
            assert seen == [False, False, True]


async def test_the_version_is_that_of_what_was_handed_out() -> None:
    piece = added("a", 3) + bookmark(20, end=True) + added("b", 21) + bookmark(30) + added("c", 31)
    async with watched(hangs(piece)) as client, Watch(client).stream(PODS) as events:
        seen = []
        for _ in range(3):
            await anext(events)
            seen.append(events.resource_version)
    assert seen == ["20", "21", "31"]


@pytest.mark.parametrize("initial", ["list", "stream"])
async def test_there_is_no_version_to_go_on_from_before_all_is_handed_out(initial: Literal["list", "stream"]) -> None:
    items = [item("a", 3), item("b", 4), item("c", 5)]
    streamed = b"".join(event("ADDED", each) for each in items) + bookmark(20, end=True)
    begin = [listed(20, *items)] if initial == "list" else [hangs(streamed)]
    async with watched(*begin, hangs()) as client, Watch(client).stream(PODS, initial=initial) as events:
        seen = []
        for _ in range(3):
            await anext(events)
            seen.append(events.resource_version)
    assert seen == ["", "", "20"]


async def test_a_state_that_a_model_fails_on_is_not_handed_out() -> None:
    async with watched(listed(20, item("a", 3), item("b", 4))) as client:
        async with Watch(client).stream(PODS, initial="list", model=lambda raw: raw["missing"]) as events:
            with pytest.raises(KeyError):
                await events.initial_state()
            assert (events.synced, events.resource_version) == (False, "")


@pytest.mark.parametrize("code", [400, 422])
async def test_a_server_that_does_not_stream_a_state_is_asked_for_a_list(code: int) -> None:
    client = watched(refusal(code), listed(20, item("a", 3)), hangs(added("b", 21)))
    found, notices = await events_of(client, 2)
    assert found == ["ADDED a 3 initial", "ADDED b 21"]
    assert [notice.kind for notice in notices] == ["synced"]
    assert [query(request).get("sendInitialEvents") for request in client.sent] == ["true", None, None]
    assert query(client.sent[2])["resourceVersion"] == "20"


async def test_a_selector_that_the_server_refuses_is_an_error() -> None:
    bad = refusal(400, message="unable to parse requirement")
    with pytest.raises(ApiError, match="unable to parse requirement"):
        await events_of(watched(bad, bad), 1)


async def test_a_state_that_must_be_streamed() -> None:
    with pytest.raises(ApiError, match="422"):
        await events_of(watched(refusal(422)), 1, initial="stream")


async def test_a_listed_state_in_pages() -> None:
    client = watched(listed(20, item("a", 3), more="xyz"), listed(20, item("b", 4)), hangs(added("c", 21)))
    found, _ = await events_of(client, 3, initial="list")
    assert found == ["ADDED a 3 initial", "ADDED b 4 initial", "ADDED c 21"]
    assert [query(request).get("continue") for request in client.sent] == [None, "xyz", None]


async def test_a_list_whose_pages_expire_is_listed_whole() -> None:
    client = watched(
        listed(20, item("a", 3), more="xyz"), refusal(410), listed(30, item("b", 4)), hangs(added("c", 31))
    )
    found, _ = await events_of(client, 4, initial="list")
    assert found == ["ADDED a 3 initial", "ADDED b 4 initial", "DELETED a 3 initial", "ADDED c 31"]
    assert "limit" not in query(client.sent[2])


async def test_version_zero_takes_what_the_server_has_at_hand() -> None:
    client = watched(listed(20, item("a", 3)), hangs(added("b", 21)))
    found, _ = await events_of(client, 2, resource_version="0")
    assert found == ["ADDED a 3 initial", "ADDED b 21"]
    assert query(client.sent[0]) == {"resourceVersion": "0"}


async def test_what_is_no_list_is_an_error() -> None:
    with pytest.raises(ApiError, match="the answer is no list of objects; is this really an API server"):
        await events_of(watched(refusal(200)), 1, initial="list")


async def test_the_initial_state_as_a_whole() -> None:
    async with watched(hangs(added("a", 3) + added("b", 4) + bookmark(20, end=True)), hangs(added("c", 21))) as client:
        async with Watch(client, backoff=QUICK).stream(PODS, inactivity=0.05) as events:
            assert [brief(each) for each in await events.initial_state()] == ["ADDED a 3 initial", "ADDED b 4 initial"]
            assert await events.initial_state() == []
            assert await take(events, 1) == ["ADDED c 21"]


async def test_the_initial_state_is_what_is_there_in_the_end() -> None:
    pages = (listed(20, item("a", 3), item("b", 4), more="xyz"), refusal(410), listed(30, item("b", 5), item("c", 6)))
    async with watched(*pages) as client, Watch(client, backoff=QUICK).stream(PODS, initial="list") as events:
        assert [brief(each) for each in await events.initial_state()] == ["ADDED b 5 initial", "ADDED c 6 initial"]


async def test_what_was_handed_out_before_stays_a_change() -> None:
    first = hangs(added("a", 3) + added("b", 4) + added("c", 5))
    second = hangs(added("b", 9) + added("d", 10) + bookmark(20, end=True))
    async with watched(first, second) as client, Watch(client, backoff=QUICK).stream(PODS, initial="stream") as events:
        await take(events, 3)
        with anyio.move_on_after(0.05):
            await anext(events)
        begun = [brief(each) for each in await events.initial_state()]
    assert begun == ["DELETED a 3 initial", "DELETED c 5 initial", "MODIFIED b 9 initial", "ADDED d 10 initial"]


async def test_an_initial_state_that_is_cut_off_loses_nothing() -> None:
    whole = hangs(added("a", 3) + added("b", 4) + bookmark(20, end=True))
    async with watched(hangs(added("a", 3)), whole) as client, Watch(client, backoff=QUICK).stream(PODS) as events:
        with anyio.move_on_after(0.05):
            await events.initial_state()
        assert [brief(each) for each in await events.initial_state()] == ["ADDED a 3 initial", "ADDED b 4 initial"]


async def test_an_object_of_the_initial_state_that_does_not_fit_the_model() -> None:
    state = added("a", 3) + event("ADDED", {"metadata": {}}) + added("b", 4) + bookmark(20, end=True)
    async with watched(hangs(state)) as client, Watch(client).stream(PODS, model=Pod) as events:
        with pytest.raises(ValidationError):
            await events.initial_state()
        assert [each.object.metadata.name for each in await events.initial_state()] == ["a", "b"]


async def test_the_initial_state_of_a_version_is_empty() -> None:
    async with watched() as client, Watch(client).stream(PODS, resource_version=5) as events:
        assert await events.initial_state() == []
    assert client.sent == []


async def test_an_initial_state_that_takes_too_long() -> None:
    async with watched(hangs(added("a", 3))) as client, Watch(client).stream(PODS, timeout=0.05) as events:
        assert [brief(each) for each in await events.initial_state()] == ["ADDED a 3 initial"]
        assert [each async for each in events] == []
