"""Pods: getting and listing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from kubex_stream import ApiError, ClientConfiguration, Forbidden, NotFound, Pods, Timeout
from kubex_stream.client import BaseClient, Response
from tests.client.memory import MemoryClient, refusal, scripted

pytestmark = pytest.mark.anyio

CLUSTER = ClientConfiguration(url="http://cluster.test", namespace="mine")
POD = {"metadata": {"name": "web-0"}, "status": {"phase": "Running"}}


def answer(value: object, code: int = 200) -> Response:
    return Response(code, [], json.dumps(value).encode())


def asked(client: MemoryClient) -> tuple[str, list[tuple[str, str]]]:
    """Path and query of the last request."""
    parts = urlsplit(client.sent[-1].url)
    return parts.path, parse_qsl(parts.query)


async def test_the_namespace_is_the_configurations_or_ones_own() -> None:
    async with scripted(*[answer(POD)] * 4, configuration=CLUSTER) as client:
        pods: Pods = Pods(client)
        used: BaseClient = pods.client
        assert used is client
        assert pods.namespace == "mine"
        assert await pods.get("web-0") == POD
        assert asked(client) == ("/api/v1/namespaces/mine/pods/web-0", [])
        await pods.get("web-0", namespace="other")
        assert asked(client)[0] == "/api/v1/namespaces/other/pods/web-0"
        await Pods(client, "yours").get("web-0")
        assert asked(client)[0] == "/api/v1/namespaces/yours/pods/web-0"
        await Pods(client, namespace="yours").get("web-0", namespace="third")
        assert asked(client)[0] == "/api/v1/namespaces/third/pods/web-0"


@pytest.mark.parametrize("namespace", ["", "..", "a/b", "Default", "a.b"])
async def test_a_wrong_namespace_is_refused_everywhere_before_anything_is_sent(namespace: str) -> None:
    async with scripted(configuration=CLUSTER) as client:
        pods = Pods(client)
        with pytest.raises(ValueError, match="namespace"):
            Pods(client, namespace)
        for call in (
            pods.get("web-0", namespace=namespace),
            pods.list(namespace=namespace),
            pods.wait("web-0", namespace=namespace),
        ):
            with pytest.raises(ValueError, match="is not the name of a namespace"):
                await call
        assert client.sent == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "Web", None, 5], ids=repr)
async def test_a_wrong_name_is_refused_before_anything_is_sent(name: Any) -> None:
    async with scripted(configuration=CLUSTER) as client:
        for call in (Pods(client).get(name), Pods(client).wait(name)):
            with pytest.raises((ValueError, TypeError), match="pod"):
                await call
        assert client.sent == []


async def test_listing_with_selectors() -> None:
    pods = {"kind": "PodList", "metadata": {}, "items": [POD, {"metadata": {"name": "web-1"}}]}
    async with scripted(*[answer(pods)] * 3, configuration=CLUSTER) as client:
        assert [pod["metadata"]["name"] for pod in await Pods(client).list()] == ["web-0", "web-1"]
        assert asked(client) == ("/api/v1/namespaces/mine/pods", [])
        await Pods(client).list(label_selector="app=web,tier!=cache", field_selector="status.phase=Running")
        assert asked(client)[1] == [
            ("labelSelector", "app=web,tier!=cache"),
            ("fieldSelector", "status.phase=Running"),
        ]
        await Pods(client).list(namespace="other", label_selector="env in (a, b)")
        assert asked(client) == ("/api/v1/namespaces/other/pods", [("labelSelector", "env in (a, b)")])


@pytest.mark.parametrize("items", [[], None])
async def test_an_empty_list(items: object) -> None:
    async with scripted(answer({"kind": "PodList", "metadata": {}, "items": items}), configuration=CLUSTER) as client:
        assert await Pods(client).list() == []


async def test_each_call_may_have_its_own_timeout() -> None:
    answers = [answer(POD), answer({"metadata": {}, "items": []})]
    async with scripted(*answers, configuration=CLUSTER) as client:
        await Pods(client).get("web-0", request_timeout=5)
        await Pods(client).list(request_timeout=None)
        assert [sent.timeout for sent in client.sent] == [Timeout(5), None]


async def test_errors_are_the_servers() -> None:
    answers = [refusal(404, message='pods "web-0" not found'), refusal(403, message="no")]
    async with scripted(*answers, configuration=CLUSTER) as client:
        with pytest.raises(NotFound, match='pods "web-0" not found'):
            await Pods(client).get("web-0")
        with pytest.raises(Forbidden):
            await Pods(client).list()


NO_OBJECTS = [
    b"",
    b"<html>Log in</html>",
    b"[]",
    b"null",
    b'"text"',
    b"{}",
    b'{"metadata": null}',
    b"\xff\xfe",
    b'{"a":',
]


@pytest.mark.parametrize("content", NO_OBJECTS)
async def test_an_answer_that_is_no_object_is_an_error(content: bytes) -> None:
    async with scripted(*[Response(203, [], content)] * 3, configuration=CLUSTER) as client:
        for call in (Pods(client).get("web-0"), Pods(client).list(), Pods(client).wait("web-0")):
            with pytest.raises(ApiError, match=r"203, but the answer is no .* really an API server") as caught:
                await call
            assert caught.value.status_code == 203


async def test_a_list_without_items_is_no_list() -> None:
    async with scripted(answer(POD), configuration=CLUSTER) as client:
        with pytest.raises(ApiError, match="the answer is no list"):
            await Pods(client).list()
