"""Watches against the embedded cluster, on every backend and event loop: everything that can happen to them."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import Backoff, Gone, Watch
from kubex_stream.testing import Behaviour, EmbeddedCluster
from tests.behaviour.watching import brief, gone, listed, opened, put
from tests.watch.replaying import Replayed

if TYPE_CHECKING:
    from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

USUAL = Behaviour(watch_bookmark_interval=0.05)


@pytest.mark.parametrize("fault", ["cut", "end", "silence"])
async def test_it_goes_on_after(open_watch: Any, watched: EmbeddedCluster, fault: Any) -> None:
    put(watched, "a", "0")
    put(watched, "b", "0")
    async with open_watch(inactivity=0.3) as (events, notices):
        await brief(events, 2)
        for number in range(1, 4):
            assert watched.fail_watches(fault) == 1
            put(watched, "b", str(number))
            put(watched, "a", str(number))
            assert await brief(events, 2) == ["MODIFIED b", "MODIFIED a"]
        resumed = [notice for notice in notices if notice.kind == "resuming"]
    assert len(resumed) >= 3
    await gone(watched)


async def test_a_connection_that_is_cut_in_the_middle_of_lines(open_watch: Any, watched: EmbeddedCluster) -> None:
    names = [f"map-{number}" for number in range(40)]
    watched.behaviour = replace(USUAL, watch_cut_after_bytes=2500)
    async with open_watch(resource_version=watched.resource_version) as (events, notices):
        for name in names:
            put(watched, name, "x" * 100)
        told = {}
        async for event in events:
            assert event.type == "ADDED"
            told[event.raw_object["metadata"]["name"]] = event.raw_object["metadata"]["resourceVersion"]
            if len(told) == len(names):
                break
    assert told == listed(watched)
    assert any(notice.kind == "resuming" for notice in notices)


async def test_a_state_that_never_comes_whole_in_a_stream_is_listed(open_watch: Any, watched: EmbeddedCluster) -> None:
    names = {f"map-{number}" for number in range(40)}
    for name in sorted(names):
        put(watched, name, "x" * 100)
    watched.behaviour = replace(USUAL, watch_cut_after_bytes=2500)
    async with open_watch() as (events, notices):
        begun = await events.initial_state()
        assert sorted(event.raw_object["metadata"]["name"] for event in begun) == sorted(names), "each once"
    assert [notice.kind for notice in notices] == ["resuming"] * 3 + ["synced"]


@pytest.mark.parametrize("initial", ["stream", "list"])
async def test_a_states_last_object_is_not_where_it_goes_on(
    open_watch: Any, watched: EmbeddedCluster, initial: str
) -> None:
    """The objects of a state come by name: other clients go on from the version of the last one, and are told old changes again."""
    for name in ("z", "m", "a"):
        put(watched, name, "1")
    async with open_watch(initial=initial) as (events, _):
        assert await brief(events, 3) == ["ADDED a initial", "ADDED m initial", "ADDED z initial"]
        for fault in ("cut", "end"):
            watched.fail_watches(fault)
            put(watched, "new", fault)
            assert (await brief(events, 1))[0].endswith(" new")
        assert int(events.resource_version) == watched.resource_version


async def test_a_server_that_ends_every_watch_at_once_is_not_pestered(
    make_client: MakeClient, watched: EmbeddedCluster
) -> None:
    """Other clients ask again without a pause."""
    watched.behaviour = replace(USUAL, watch_timeout=0.001)
    begun = len(watched.requests)
    async with make_client(watched.configuration) as client:
        watch, version = Watch(client, backoff=Backoff(first=5, longest=5)), watched.resource_version
        async with watch.stream("configmaps", namespace="shop", resource_version=version) as events:
            with anyio.move_on_after(1):
                await anext(events)
    assert sum(request.flag("watch") for request in watched.requests[begun:]) == 1


async def test_bookmarks_move_the_version_on(open_watch: Any, watched: EmbeddedCluster) -> None:
    put(watched, "a", "1")
    async with open_watch(field_selector="metadata.name=a", inactivity=None) as (events, notices):
        await brief(events, 1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anext, events, None)
            await opened(watched)
            put(watched, "unrelated", "1")
            latest = str(watched.resource_version)
            while not any(notice.kind == "bookmark" and notice.resource_version == latest for notice in notices):
                await anyio.sleep(0.01)
            events.stop()
        assert events.resource_version == latest


async def test_a_version_that_is_too_old_where_the_caller_gave_it(open_watch: Any, watched: EmbeddedCluster) -> None:
    put(watched, "a", "1")
    version = watched.resource_version
    put(watched, "a", "2")
    watched.compact()
    for told in ("event", "status"):
        watched.behaviour = replace(USUAL, watch_expired=told)
        async with open_watch(resource_version=version) as (events, _):
            with pytest.raises(Gone, match="too old resource version") as caught:
                await anext(events)
            assert caught.value.status_code == 410


@pytest.mark.parametrize("told", ["event", "status"])
@pytest.mark.parametrize("watch_list", [True, False])
async def test_a_version_that_is_too_old_otherwise(
    open_watch: Any, watched: EmbeddedCluster, told: Any, watch_list: bool
) -> None:
    watched.behaviour = replace(USUAL, watch_expired=told, watch_list=watch_list)
    for name in ("changed", "gone", "same"):
        put(watched, name, "1")
    async with open_watch() as (events, notices):
        assert sorted(await brief(events, 3)) == ["ADDED changed initial", "ADDED gone initial", "ADDED same initial"]
        await anyio.to_thread.run_sync(events_end, watched)
        put(watched, "changed", "2")
        watched.delete_object("ConfigMap", "gone", "shop")
        put(watched, "new", "1")
        watched.compact()
        assert sorted(await brief(events, 3)) == [
            "ADDED new relisted",
            "DELETED gone relisted",
            "MODIFIED changed relisted",
        ]
        put(watched, "later", "1")
        assert await brief(events, 1) == ["ADDED later"]
    kinds = [notice.kind for notice in notices if notice.kind in ("synced", "relisting", "relisted")]
    assert kinds == ["synced", "relisting", "relisted"]


def events_end(cluster: EmbeddedCluster) -> None:
    """Cut every watch, without anybody reading meanwhile; one that is not open yet is waited for."""
    if cluster.behaviour.watch_list:
        cluster.wait_for(lambda: cluster.open_watches > 0)
    cluster.fail_watches("cut")
    cluster.wait_for(lambda: cluster.open_watches == 0)


async def test_the_replayed_state_is_the_listed_state(open_watch: Any, watched: EmbeddedCluster) -> None:
    """Hundreds of changes across cuts, ends and compactions."""
    told = Replayed()
    async with open_watch(inactivity=1.0) as (events, notices), anyio.create_task_group() as tasks:

        async def replay() -> None:
            async for event in events:
                told.take(event)

        tasks.start_soon(replay)
        for number in range(300):
            name = f"map-{number % 17}"
            if number % 5 == 4 and name in listed(watched):
                watched.delete_object("ConfigMap", name, "shop")
            else:
                put(watched, name, str(number))
            if number % 60 == 59:
                watched.fail_watches("cut" if number % 120 == 59 else "end")
                watched.compact()
            if number % 10 == 0:
                await anyio.sleep(0.001)
        put(watched, "last", "1")
        with anyio.fail_after(20):
            while told.state != listed(watched):
                await anyio.sleep(0.01)
        events.stop()
    assert any(notice.kind == "resuming" for notice in notices)
