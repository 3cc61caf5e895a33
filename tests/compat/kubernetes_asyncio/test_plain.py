"""Plain requests of the generated APIs, and that package's own Watch, through WsApiClient."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import anyio
import pytest
from kubernetes_asyncio import client, watch
from kubernetes_asyncio.client import ApiClient
from kubernetes_asyncio.client.exceptions import ApiValueError
from kubernetes_asyncio.dynamic import DynamicClient

from kubex_stream import ConnectionLost
from kubex_stream.compat.kubernetes_asyncio import WsApiClient
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.compat.kubernetes_asyncio.conftest import Connect, configured

pytestmark = pytest.mark.anyio


async def test_objects_as_from_the_package_itself(v1: Any, configuration: client.Configuration) -> None:
    async with ApiClient(configuration) as theirs:
        expected = await client.CoreV1Api(theirs).list_namespaced_pod("default", label_selector="app=demo")
    listed = await v1.list_namespaced_pod("default", label_selector="app=demo")
    assert listed.items == expected.items
    assert listed.items[0].metadata.name == "demo"


async def test_creating_changing_and_deleting(v1: Any, backend: str) -> None:
    name = f"settings-{backend}"
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name), data={"a": "1"})
    assert (await v1.create_namespaced_config_map("default", body)).data == {"a": "1"}
    body.data = {"a": "2"}
    assert (await v1.replace_namespaced_config_map(name, "default", body)).data == {"a": "2"}
    await v1.delete_namespaced_config_map(name, "default")
    with pytest.raises(client.ApiException) as caught:
        await v1.read_namespaced_config_map(name, "default")
    assert caught.value.status == 404


async def test_refusals_as_from_the_package_itself(v1: Any, configuration: client.Configuration) -> None:
    async with ApiClient(configuration) as theirs:
        with pytest.raises(client.ApiException) as expected:
            await client.CoreV1Api(theirs).read_namespaced_pod("nobody", "default")
    with pytest.raises(client.ApiException) as caught:
        await v1.read_namespaced_pod("nobody", "default")
    assert type(caught.value) is client.ApiException
    assert (caught.value.status, caught.value.reason) == (expected.value.status, expected.value.reason)
    assert json.loads(str(caught.value.body)) == json.loads(str(expected.value.body))
    reply = await v1.read_namespaced_pod("nobody", "default", _preload_content=False)
    assert (reply.status, reply.reason, (await reply.json())["reason"]) == (404, "Not Found", "NotFound")


async def test_a_log_that_is_followed(v1: Any, cluster: EmbeddedCluster, backend: str) -> None:
    name, long = f"talker-{backend}", 3 * 1024 * 1024  # aiohttp's lines end at the size of a buffer
    script = f"echo one; head -c {long} /dev/zero | tr '\\0' x; echo; echo two"
    cluster.add_pod(EmbeddedPod(name, containers=(EmbeddedContainer(command=["sh", "-c", script]),)))
    async with await v1.read_namespaced_pod_log(name, "default", follow=True, _preload_content=False) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"].startswith("text/plain")
        lines = [line async for line in reply.content]
    assert [len(line) for line in lines] == [4, long + 1, 4]
    assert (await v1.read_namespaced_pod_log(name, "default", tail_lines=1)) == "two\n"
    async with await v1.read_namespaced_pod_log(name, "default", _preload_content=False) as reply:
        assert await reply.content.readline() == b"one\n"
        assert await reply.content.read(3) == b"xxx"
        assert len(await reply.text()) == long + 5 - 3
        assert reply.content.at_eof()
    watched = [line async for line in watch.Watch().stream(v1.read_namespaced_pod_log, name, "default")]
    assert [len(line) for line in watched] == [4, long + 1, 4]
    cluster.delete_pod(name)


async def test_their_watch(v1: Any) -> None:
    events = watch.Watch().stream(
        v1.list_namespaced_pod, "default", field_selector="metadata.name=demo", timeout_seconds=1
    )
    assert [(event["type"], event["object"].metadata.name) async for event in events] == [("ADDED", "demo")]


async def test_their_dynamic_client(connect: Connect) -> None:
    async with connect() as api_client:
        resource = await (await DynamicClient(api_client)).resources.get(api_version="v1", kind="Pod")
        listed = await resource.get(namespace="default", label_selector="app=demo")
    assert [pod.metadata.name for pod in listed.items] == ["demo"]


async def test_a_reply_has_a_time(v1: Any) -> None:
    reply = await v1.list_namespaced_pod("default", watch=True, _preload_content=False, _request_timeout=(5, 0.3))
    assert json.loads(await reply.content.readline())["type"] == "ADDED"
    with pytest.raises(asyncio.TimeoutError):
        await reply.read()
    reply.close()
    await reply.wait_closed()


async def test_a_reply_that_was_left_open_is_closed_with_its_client(connect: Connect) -> None:
    api_client = connect()
    v1: Any = client.CoreV1Api(api_client)
    await v1.list_namespaced_pod("default", watch=True, _preload_content=False)
    await api_client.close()


async def test_a_body_that_is_cut_short_is_no_end(backend: str) -> None:
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(watch_cut_after_bytes=100)) as cluster:
        async with WsApiClient(configured(cluster), backend=backend) as api_client:
            v1: Any = client.CoreV1Api(api_client)
            reply = await v1.list_namespaced_pod("default", watch=True, _preload_content=False)
            with pytest.raises(ConnectionLost):
                await reply.read()
            reply.release()


async def test_a_reply_is_used_as_aiohttps(v1: Any) -> None:
    reply = await v1.list_namespaced_pod("default", _preload_content=False)
    assert (reply.ok, reply.content_type) == (True, "application/json")
    reply.raise_for_status()
    body = await reply.read()
    assert body == await reply.read()
    assert await reply.text(encoding="utf-8", errors="replace") == body.decode()
    assert (await reply.json(content_type=None))["kind"] == "PodList"
    assert (await reply.json(loads=lambda text: [text]))[0] == body.decode().strip()
    await reply.wait_closed()
    assert await reply.read() == body
    refused = await v1.read_namespaced_pod("nobody", "default", _preload_content=False)
    assert not refused.ok
    with pytest.raises(client.ApiException) as caught:
        refused.raise_for_status()
    assert (caught.value.status, caught.value.reason) == (404, "Not Found")


@pytest.mark.parametrize("whole", [False, True], ids=["reply", "client"])
async def test_closing_ends_a_read_of_another_task_as_such(connect: Connect, whole: bool) -> None:
    async with connect() as api_client:
        v1: Any = client.CoreV1Api(api_client)
        reply = await v1.list_namespaced_pod("default", watch=True, _preload_content=False)
        assert await reply.content.readline()
        reading = asyncio.create_task(reply.content.readline())
        await anyio.wait_all_tasks_blocked()
        if whole:
            await api_client.close()
        else:
            await reply.wait_closed()
        with pytest.raises(anyio.ClosedResourceError):
            await reading
        with pytest.raises(anyio.ClosedResourceError):
            await reply.content.readline()


async def test_a_body_of_a_type_that_is_not_json(v1: Any) -> None:
    with pytest.raises(ApiValueError, match="text/plain is given as bytes, not as str"):
        await v1.patch_namespaced_config_map("settings", "default", "text", _content_type="text/plain")


async def test_a_zero_of_aiohttp_is_no_limit(v1: Any) -> None:
    for timeout in (aiohttp.ClientTimeout(total=0), aiohttp.ClientTimeout(total=0, connect=0, sock_read=0)):
        assert (await v1.list_namespaced_pod("default", _request_timeout=timeout)).items
