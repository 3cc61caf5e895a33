"""Watches on a real cluster: changes replayed across connections that break, versions that are too old, servers that fall silent."""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from kubex_stream import ApiError, Backoff, BaseClient, Discovery, Gone, NotFound, Pods, Watch, WatchNotice, WatchStream
from kubex_stream.client import Request
from tests.cluster.conftest import Connect
from tests.cluster.test_portforward_losses import FROZEN, through_a_wire
from tests.watch.replaying import Replayed

pytestmark = pytest.mark.anyio

CHANGES = 600
CUTS = 10
JSON = {"Content-Type": "application/json"}


class Maps:
    """ConfigMaps of one test, told from others by a label."""

    def __init__(self, client: BaseClient, namespace: str) -> None:
        self.mark = secrets.token_hex(4)
        self.client = client
        self.path = f"/api/v1/namespaces/{namespace}/configmaps"
        self.names: set[str] = set()

    async def put(self, name: str, value: str) -> None:
        metadata = {"name": f"{self.mark}-{name}", "labels": {"mark": self.mark}}
        body = json.dumps({"metadata": metadata, "data": {"value": value}}).encode()
        method, path = ("PUT", f"{self.path}/{metadata['name']}") if name in self.names else ("POST", self.path)
        self.names.add(name)
        await self.client.request(Request(method=method, path=path, body=body, headers=JSON))

    async def delete(self, name: str) -> None:
        self.names.discard(name)
        await self.client.request(Request(method="DELETE", path=f"{self.path}/{self.mark}-{name}"))

    async def delete_all(self) -> None:
        self.names.clear()
        await self.client.request(
            Request(method="DELETE", path=self.path, query=[("labelSelector", f"mark={self.mark}")])
        )

    async def listed(self) -> dict[str, str]:
        """Name and version of each."""
        response = await self.client.request(Request(path=self.path, query=[("labelSelector", f"mark={self.mark}")]))
        metadata = [item["metadata"] for item in json.loads(response.content)["items"]]
        return {each["name"]: each["resourceVersion"] for each in metadata}


@asynccontextmanager
async def maps_of(pods: Pods) -> AsyncGenerator[Maps, None]:
    maps = Maps(pods.client, pods.namespace)
    yield maps
    await maps.delete_all()


async def test_changes_are_replayed_across_cuts(
    connect: Connect, context: str | None, backend: str, namespace: str
) -> None:
    told = Replayed()
    async with (
        connect(context) as pods,
        maps_of(pods) as maps,
        through_a_wire(context, backend, namespace) as (cuttable, wire),
        anyio.create_task_group() as tasks,
        Watch(cuttable.client, backoff=Backoff(0.01, 1)).stream(
            "configmaps", namespace=namespace, label_selector={"mark": maps.mark}, notify=told.notices.append
        ) as events,
    ):

        async def replay() -> None:
            async for event in events:
                told.take(event)

        assert await events.initial_state() == []  # the first connection has to come about
        tasks.start_soon(replay)
        for number in range(CHANGES):
            name = f"map-{number % 17}"
            if number % 5 == 4 and name in maps.names:
                await maps.delete(name)
            else:
                await maps.put(name, str(number))
            if number % (CHANGES // CUTS) == 0:
                await wire.cut()
        await maps.put("last", "")
        listed = await maps.listed()
        with anyio.fail_after(30):
            while told.state != listed:
                await anyio.sleep(0.02)
        events.stop()
    assert len(told.kinds("resuming")) >= CUTS // 2


@pytest.mark.parametrize("initial", ["stream", "list"])
async def test_a_state_and_its_end(connect: Connect, context: str | None, initial: Any) -> None:
    async with connect(context) as pods, maps_of(pods) as maps:
        for name in ("a", "b"):
            await maps.put(name, "1")
        stream = Watch(pods.client).stream(
            "cm", namespace=pods.namespace, label_selector={"mark": maps.mark}, initial=initial
        )
        async with stream as events:
            begun = await events.initial_state()
            assert {
                event.raw_object["metadata"]["name"]: event.raw_object["metadata"]["resourceVersion"] for event in begun
            } == (await maps.listed())
            assert {(event.raw_object["kind"], event.raw_object["apiVersion"]) for event in begun} == {
                ("ConfigMap", "v1")
            }
            await maps.put("a", "x" * 900_000)
            changed = await anext(events)
            assert (changed.type, len(changed.raw_object["data"]["value"])) == ("MODIFIED", 900_000)
            await maps.delete("a")
            assert (await anext(events)).type == "DELETED"


async def test_a_version_that_is_too_old(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        async with Watch(pods.client).stream("/api/v1/configmaps", resource_version=1, timeout=2) as events:
            with pytest.raises(Gone) as caught:
                await _no_event(events)
        assert caught.value.status_code == 410
        assert caught.value.status is not None
        assert caught.value.status.reason == "Expired"


async def _no_event(events: WatchStream[Any]) -> None:
    async for _ in events:
        pytest.skip("this server still has the changes since version 1")


@pytest.mark.skipif(not FROZEN, reason="KUBEX_STREAM_APISERVER_PIDFILE names no API server that may be stopped")
@pytest.mark.parametrize("special_context", ["translated"], indirect=True)
async def test_a_silent_server_is_noticed_and_the_watch_goes_on(connect: Connect, special_context: str) -> None:
    pid = int(Path(FROZEN).read_text().split()[0])
    silent = anyio.Event()

    def note(notice: WatchNotice) -> None:
        if notice.error is not None and "nothing has come for 1 s" in str(notice.error):
            silent.set()

    async with connect(None) as admin, maps_of(admin) as maps, connect(special_context, open_timeout=2.0) as pods:
        stream = Watch(pods.client, backoff=Backoff(0.1, 0.5)).stream(
            "configmaps", namespace=pods.namespace, label_selector={"mark": maps.mark}, inactivity=1.0, notify=note
        )
        async with stream as events, anyio.create_task_group() as tasks:
            assert await events.initial_state() == []
            found: list[str] = []

            async def read() -> None:
                found.append((await anext(events)).raw_object["data"]["value"])

            os.kill(pid, signal.SIGSTOP)
            try:
                tasks.start_soon(read)
                with anyio.fail_after(20):
                    await silent.wait()
                await maps.put("meanwhile", "told")
            finally:
                os.kill(pid, signal.SIGCONT)
        assert found == ["told"]


async def test_words_and_what_they_mean(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        discovery = Discovery.of(pods.client)
        found = [str(await discovery.resolve(word)) for word in ("po", "Deployment", "deployments.v1.apps", "no", "cm")]
        assert found == ["pods", "deployments.apps", "deployments.apps", "nodes", "configmaps"]
        with pytest.raises(NotFound, match=r"no resource 'deploymnts'; did you mean 'deployments\.apps'"):
            await discovery.resolve("deploymnts")
        with pytest.raises(ApiError, match="bindings cannot be watched"):
            await anext(Watch(pods.client).stream("bindings"))


async def test_a_field_that_the_server_does_not_select_by(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        with pytest.raises(ApiError, match="field label not supported") as caught:
            await anext(Watch(pods.client).stream("pods", field_selector="spec.colour=blue"))
        assert caught.value.status_code == 400


async def test_waiting_for_a_pod(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        ready = await pods.wait("box", 'jsonpath={.status.containerStatuses[?(@.name=="cat")].ready}=true', timeout=30)
        assert ready["status"]["phase"] == "Running"
        assert (await pods.wait("box", "condition=PodScheduled", timeout=30))["metadata"]["name"] == "box"
        assert await pods.wait("not-there", "delete", timeout=30) == {}
