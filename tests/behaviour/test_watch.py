"""Watches against the embedded cluster, on every backend and event loop: their ordinary life, and their ends."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import ApiError, NotFound, Watch
from kubex_stream.testing import EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.behaviour.watching import brief, gone, opened, put

if TYPE_CHECKING:
    from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio


# The ordinary life ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("initial", ["stream", "list"])
async def test_what_is_there_and_what_happens(open_watch: Any, watched: EmbeddedCluster, initial: str) -> None:
    put(watched, "a", "1")
    async with open_watch(initial=initial) as (events, notices):
        assert await brief(events, 1) == ["ADDED a initial"]
        put(watched, "b", "1")
        put(watched, "a", "2")
        watched.delete_object("ConfigMap", "a", "shop")
        assert await brief(events, 3) == ["ADDED b", "MODIFIED a", "DELETED a"]
        assert events.synced
    assert notices[0].kind == "synced"
    await gone(watched)


async def test_a_loop_that_stops_its_watch(make_client: MakeClient, watched: EmbeddedCluster) -> None:
    version = watched.resource_version
    for name in ("one", "two"):
        watched.put_object({"kind": "Namespace", "metadata": {"name": name}})
    seen = []
    async with make_client(watched.configuration) as client:
        watch = Watch(client)
        async for e in watch.stream("namespaces", resource_version=version):
            type, object, raw_object = e["type"], e["object"], e["raw_object"]
            assert object is raw_object
            seen.append((type, raw_object["metadata"]["name"]))
            if len(seen) == 2:
                watch.stop()
    assert seen == [("ADDED", "one"), ("ADDED", "two")]
    for name in ("one", "two"):
        watched.delete_object("Namespace", name)


async def test_other_namespaces_and_all_of_them(open_watch: Any, watched: EmbeddedCluster) -> None:
    put(watched, "a", "1")
    watched.put_object({"kind": "ConfigMap", "metadata": {"name": "elsewhere"}}, "default")
    async with open_watch(namespace=None, all_namespaces=True) as (events, _):
        assert await brief(events, 2) == ["ADDED elsewhere initial", "ADDED a initial"]
        watched.delete_object("ConfigMap", "elsewhere", "default")
        assert await brief(events, 1) == ["DELETED elsewhere"]


async def test_a_resource_without_namespaces(open_watch: Any, watched: EmbeddedCluster) -> None:
    async with open_watch("ns", namespace=None, field_selector="metadata.name=passing") as (events, _):
        watched.put_object({"kind": "Namespace", "metadata": {"name": "passing"}})
        first = await anext(events)
        assert first.type == "ADDED"
        watched.delete_object("Namespace", "passing")
        assert await brief(events, 2) == ["MODIFIED passing", "DELETED passing"]


async def test_an_object_that_is_no_longer_selected_is_deleted_for_the_watch(
    open_watch: Any, watched: EmbeddedCluster
) -> None:
    put(watched, "a", "1", app="web")
    put(watched, "b", "1")
    async with open_watch(label_selector={"app": "web"}) as (events, _):
        assert await brief(events, 1) == ["ADDED a initial"]
        put(watched, "a", "2")
        put(watched, "b", "2", app="web")
        assert await brief(events, 2) == ["DELETED a", "ADDED b"]


async def test_pods(open_watch: Any, watched: EmbeddedCluster) -> None:
    async with open_watch("po") as (events, _):
        watched.add_pod(EmbeddedPod("web", namespace="shop", containers=[EmbeddedContainer()]))
        assert (await brief(events, 1))[0].startswith("ADDED web")
        watched.delete_pod("web", "shop")
        assert await brief(events, 2) == ["MODIFIED web", "DELETED web"]


async def test_an_object_of_many_megabytes(open_watch: Any, watched: EmbeddedCluster) -> None:
    async with open_watch() as (events, _):
        put(watched, "big", "€" * (8 * 1024 * 1024))
        event = await anext(events)
        assert len(event.raw_object["data"]["value"]) == 8 * 1024 * 1024


# Ending ---------------------------------------------------------------------------------------------------------------


async def test_stop_from_another_task(open_watch: Any, watched: EmbeddedCluster) -> None:
    async with open_watch() as (events, _), anyio.create_task_group() as tasks:

        async def stop() -> None:
            await opened(watched)
            events.stop()

        tasks.start_soon(stop)
        assert [event async for event in events] == []
        await gone(watched)


async def test_cancelling_leaves_nothing_open_and_the_next_wait_goes_on(
    open_watch: Any, watched: EmbeddedCluster
) -> None:
    async with open_watch() as (events, _):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:

                async def cancel() -> None:
                    await opened(watched)
                    scope.cancel()

                tasks.start_soon(cancel)
                await anext(events)
        await gone(watched)
        put(watched, "meanwhile", "1")
        assert (await brief(events, 1))[0].startswith("ADDED meanwhile")


async def test_a_timeout_is_an_end_in_order(open_watch: Any, watched: EmbeddedCluster) -> None:
    put(watched, "a", "1")
    async with open_watch(timeout=0.3) as (events, _):
        assert [event.type async for event in events] == ["ADDED"]
    await gone(watched)


# Bad input ------------------------------------------------------------------------------------------------------------


async def test_an_unknown_resource_names_the_nearest(open_watch: Any) -> None:
    async with open_watch("configmap5") as (events, _):
        with pytest.raises(NotFound, match="no resource 'configmap5'; did you mean 'configmaps'"):
            await anext(events)


async def test_a_resource_that_cannot_be_watched(open_watch: Any) -> None:
    async with open_watch("svc") as (events, _):
        with pytest.raises(ApiError, match="services cannot be watched: the server offers get, list"):
            await anext(events)


async def test_a_field_that_is_not_indexed(open_watch: Any) -> None:
    async with open_watch(field_selector="data.value=1") as (events, _):
        with pytest.raises(ApiError, match=r"field label not supported: data\.value") as caught:
            await anext(events)
        assert caught.value.status_code == 400
