"""Watches: what users of other clients complain of.  Numbers as in README.md."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import pytest

from kubex_stream import Backoff, ClientOptions, Gone, Watch, WatchNotice
from kubex_stream.testing import Behaviour, EmbeddedCluster, HttpFailure
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

QUICK = Backoff(first=0.01, longest=0.05)
USUAL = Behaviour(watch_bookmark_interval=0.05)


@pytest.fixture(scope="module")
def shared_maps() -> Generator[EmbeddedCluster, None, None]:
    with EmbeddedCluster(quiet=True, behaviour=USUAL) as cluster:
        yield cluster


@pytest.fixture
def maps(shared_maps: EmbeddedCluster) -> Generator[EmbeddedCluster, None, None]:
    """A cluster with one ConfigMap."""
    shared_maps.behaviour = USUAL
    put(shared_maps, "first", "1")
    yield shared_maps
    shared_maps.behaviour = USUAL
    for each in shared_maps.objects("ConfigMap"):
        shared_maps.delete_object("ConfigMap", each["metadata"]["name"])


def put(cluster: EmbeddedCluster, name: str, value: str) -> None:
    cluster.put_object({"kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}})


async def told(events: Any, count: int) -> list[str]:
    found = [await anext(events) for _ in range(count)]
    return [f"{event.type} {event.raw_object['metadata']['name']}" for event in found]


async def open_again(cluster: EmbeddedCluster) -> None:
    await anyio.to_thread.run_sync(cluster.wait_for, lambda: cluster.open_watches > 0)


async def test_an_upgrade_of_the_control_plane_ended_the_watch(make_client: MakeClient, maps: EmbeddedCluster) -> None:
    """92: kubernetes-client/python #2462: an API server that goes, is away for a while and comes back."""
    async with make_client(maps.configuration, ClientOptions(retries=0)) as client:
        async with Watch(client, backoff=QUICK).stream("configmaps") as events:
            assert await told(events, 1) == ["ADDED first"]
            maps.behaviour = replace(USUAL, failures=(HttpFailure(503, times=3), HttpFailure(504, times=2)))
            maps.fail_watches("end")
            put(maps, "second", "1")
            assert await told(events, 1) == ["ADDED second"]


async def test_a_silent_connection_was_never_noticed(make_client: MakeClient, maps: EmbeddedCluster) -> None:
    """93, 94: kubernetes-client/python #1148, #2067, nolar/kopf #847, javascript #596, #2432: a load balancer or a network that swallows
    everything: no event, no end."""
    async with make_client(maps.configuration) as client:
        async with Watch(client, backoff=QUICK).stream("configmaps", inactivity=0.3) as events:
            assert await told(events, 1) == ["ADDED first"]
            maps.fail_watches("silence")
            put(maps, "second", "1")
            with anyio.fail_after(20):
                assert await told(events, 1) == ["ADDED second"]


async def test_a_quiet_but_living_watch_was_ended(make_client: MakeClient, maps: EmbeddedCluster) -> None:
    """94: javascript #3020: a limit for the whole request ends healthy watches; here any byte, a bookmark's too, is life."""
    notices: list[WatchNotice] = []
    async with make_client(maps.configuration, ClientOptions(timeout=0.2)) as client:
        async with Watch(client).stream("configmaps", inactivity=5, notify=notices.append) as events:
            assert await told(events, 1) == ["ADDED first"]
            with anyio.move_on_after(0.5):
                await anext(events)
    assert {notice.kind for notice in notices} == {"synced", "bookmark"}


@pytest.mark.parametrize("expired", ["event", "status"])
async def test_a_version_that_was_too_old_was_the_end_or_an_endless_loop(
    make_client: MakeClient, maps: EmbeddedCluster, expired: Any
) -> None:
    """95: python-base #57, airflow #21087, kubernetes_asyncio #136, kr8s PR #478, lightkube #108: listed anew, with the differences."""
    maps.behaviour = replace(USUAL, watch_expired=expired)
    async with make_client(maps.configuration) as client:
        async with Watch(client, backoff=QUICK).stream("configmaps", initial="list") as events:
            assert await told(events, 1) == ["ADDED first"]
            maps.fail_watches()
            put(maps, "second", "1")
            maps.delete_object("ConfigMap", "first")
            maps.compact()
            assert await told(events, 2) == ["ADDED second", "DELETED first"]
        begun = len(maps.requests)
        async with Watch(client).stream("configmaps", resource_version=1) as events:
            with pytest.raises(Gone):
                await anext(events)
    assert len(maps.requests) == begun + 1, "and nothing is tried again with a version that is too old"


async def test_bookmarks_crashed_or_were_taken_for_objects(make_client: MakeClient, maps: EmbeddedCluster) -> None:
    """96: kubernetes-client/python #1729, #1404, kubernetes_asyncio #363: they move the version on, and no model sees them."""
    bookmarks: list[str] = []

    def name_of(raw: dict[str, Any]) -> str:
        return str(raw["metadata"]["name"])

    def note(notice: WatchNotice) -> None:
        if notice.kind == "bookmark":
            bookmarks.append(notice.resource_version)
            if len(bookmarks) == 2:
                put(maps, "second", "1")

    async with make_client(maps.configuration) as client:
        async with Watch(client).stream("configmaps", model=name_of, notify=note) as events:
            assert (await anext(events)).object == "first"
            assert (await anext(events)).object == "second"
    assert len(bookmarks) >= 2


async def test_characters_in_two_pieces_were_corrupted(make_client: MakeClient, maps: EmbeddedCluster) -> None:
    """97: kubernetes-client/python #2087: UTF-8 that is split between two reads, wherever that is."""
    text = "€ñ中🙂" * 50_000
    async with make_client(maps.configuration) as client:
        async with Watch(client).stream("configmaps", resource_version=maps.resource_version) as events:
            put(maps, "second", text)
            assert (await anext(events)).raw_object["data"]["value"] == text


async def test_a_long_line_was_an_error(make_client: MakeClient, maps: EmbeddedCluster) -> None:
    """98: kubernetes_asyncio #137, aiohttp #4453 "Line is too long": an object of 16 MB."""
    async with make_client(maps.configuration) as client:
        async with Watch(client).stream("configmaps", resource_version=maps.resource_version) as events:
            put(maps, "large", "x" * 16_000_000)
            assert len((await anext(events)).raw_object["data"]["value"]) == 16_000_000


async def test_a_connection_that_broke_was_an_error_of_the_http_library(
    make_client: MakeClient, maps: EmbeddedCluster
) -> None:
    """99: kubernetes_asyncio #352 "Not enough data for satisfy transfer length header", #325: cut within a chunk, within a line."""
    version = maps.resource_version
    maps.behaviour = replace(USUAL, watch_cut_after_bytes=1000)
    async with make_client(maps.configuration) as client:
        async with Watch(client, backoff=QUICK).stream("configmaps", resource_version=version) as events:
            for number in range(12):
                put(maps, f"map-{number}", "x" * 200)
            assert await told(events, 12) == [f"ADDED map-{number}" for number in range(12)]


async def test_a_watch_could_not_be_stopped(make_client: MakeClient, maps: EmbeddedCluster) -> None:
    """100: kubernetes-client/python #1881, #422: stopped while nothing happens, from another task; kubernetes_asyncio #103 "Unclosed client
    session": nothing stays open."""
    async with make_client(maps.configuration) as client:
        watch = Watch(client)
        events = watch.stream("configmaps")
        async with anyio.create_task_group() as tasks:

            async def stop() -> None:
                await open_again(maps)
                watch.stop()

            tasks.start_soon(stop)
            found = [event.raw_object["metadata"]["name"] async for event in events]
        assert found in ([], ["first"])
        await anyio.to_thread.run_sync(maps.wait_for, lambda: maps.open_watches == 0)


async def test_new_credentials_killed_the_watches(make_client: MakeClient, maps: EmbeddedCluster) -> None:
    """100: nolar/kopf #980 "Session is closed": a token that is replaced while the watch goes on."""
    tokens = [maps.token]

    async def token() -> str:
        return tokens[-1]

    async with make_client(maps.configuration.model_copy(update={"token": token})) as client:
        async with Watch(client, backoff=QUICK).stream("configmaps") as events:
            assert await told(events, 1) == ["ADDED first"]
            tokens.append(maps.rotate_token())
            maps.fail_watches("cut")
            put(maps, "second", "1")
            assert await told(events, 1) == ["ADDED second"]
