"""What a watch is asked for, and what makes no sense."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from kubex_stream import ClientOptions, Pods, Timeout
from kubex_stream.api.discovery import ResourceType
from kubex_stream.api.watch import Watch
from tests.api.watching import CLUSTER, PODS, added, hangs, listed, query, watched
from tests.client.memory import scripted

pytestmark = pytest.mark.anyio

DEPLOYMENTS = ResourceType("apps", "v1", "deployments", "Deployment", True, verbs=("watch",))
NODES = ResourceType("", "v1", "nodes", "Node", False, verbs=("watch",))


async def later(_: object) -> None:
    """Not what anything here may be."""


@pytest.mark.parametrize(
    ("resource", "options", "path"),
    [
        (DEPLOYMENTS, {}, "/apis/apps/v1/namespaces/shop/deployments"),
        (DEPLOYMENTS, {"namespace": "other"}, "/apis/apps/v1/namespaces/other/deployments"),
        (DEPLOYMENTS, {"all_namespaces": True}, "/apis/apps/v1/deployments"),
        (NODES, {}, "/api/v1/nodes"),
        (NODES, {"all_namespaces": True}, "/api/v1/nodes"),
        ("/apis/example.org/v1/widgets", {}, "/apis/example.org/v1/widgets"),
    ],
)
async def test_where_it_looks(resource: Any, options: dict[str, Any], path: str) -> None:
    async with watched(hangs(added("a", 5))) as client:
        async with Watch(client).stream(resource, resource_version=1, **options) as events:
            await anext(events)
    assert urlsplit(client.sent[0].url).path == path


async def test_which_objects() -> None:
    async with watched(hangs(added("a", 5))) as client:
        async with Watch(client).stream(
            PODS,
            resource_version=1,
            name="web-0",
            label_selector={"app": "web"},
            field_selector="status.phase=Running",
            headers={"X-Trace": "7"},
        ) as events:
            await anext(events)
    (request,) = client.sent
    assert query(request)["labelSelector"] == "app=web"
    assert query(request)["fieldSelector"] == "status.phase=Running,metadata.name=web-0"
    assert ("X-Trace", "7") in request.headers


@pytest.mark.parametrize(("given", "sent"), [(5, "5"), ("007", "7"), (2**64 - 1, str(2**64 - 1))])
async def test_where_it_begins(given: Any, sent: str) -> None:
    async with watched(hangs(added("a", 8))) as client:
        async with Watch(client).stream(PODS, resource_version=given, name="system:node") as events:
            await anext(events)
    assert query(client.sent[0])["resourceVersion"] == sent


async def test_a_namespace_for_what_has_none() -> None:
    async with watched() as client:
        with pytest.raises(ValueError, match="nodes have no namespace; leave it out"):
            await anext(Watch(client).stream(NODES, namespace="other"))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"resource_version": "abc"}, ValueError, "resource_version is a number.*not 'abc'; leave it out"),
        ({"resource_version": -1}, ValueError, "resource_version is a number"),
        ({"resource_version": True}, ValueError, "resource_version is a number"),
        ({"resource_version": "1.5"}, ValueError, "resource_version is a number"),
        ({"resource_version": "\u0663"}, ValueError, "resource_version is a number"),
        ({"label_selector": "app is web"}, ValueError, "'app is web' is no term of a label selector"),
        ({"field_selector": "phase"}, ValueError, "'phase' is no term of a field selector"),
        ({"timeout": 0}, ValueError, "timeout must be a positive number of seconds or None"),
        ({"inactivity": -1}, ValueError, "inactivity must be a positive number of seconds or None"),
        ({"give_up_after": float("nan")}, ValueError, "give_up_after must be a positive number"),
        ({"initial": "maybe"}, ValueError, "initial is 'auto', 'list' or 'stream', not 'maybe'"),
        ({"namespace": "Shop!"}, ValueError, "'Shop!' is not the name of a namespace"),
        ({"namespace": "shop", "all_namespaces": True}, ValueError, "exclude each other"),
        ({"resource": PODS, "namespace": "shop"}, ValueError, "a path says where to look itself"),
        ({"resource": PODS, "all_namespaces": True}, ValueError, "a path says where to look itself"),
        ({"resource": "/api/v1/pods?watch=1"}, ValueError, "holds neither spaces"),
        (
            {"resource": "/api/v1/namespaces/shop/pods/web-0"},
            ValueError,
            "one object; watch '/api/v1/namespaces/shop/pods' with name='web-0'",
        ),
        (
            {"resource": "/apis/apps/v1/deployments/web/"},
            ValueError,
            "one object; watch '/apis/apps/v1/deployments' with name='web'",
        ),
        (
            {"resource": "/api/v1/namespaces/shop"},
            ValueError,
            "one object; watch '/api/v1/namespaces' with name='shop'",
        ),
        ({"resource": "/apis/apps/v1"}, ValueError, "'/apis/apps/v1' is no resource; go on to its plural"),
        ({"resource": "/apis"}, ValueError, "'/apis' is no resource; go on to its plural"),
        ({"resource": ""}, ValueError, "'' is no resource; name one as 'pods'"),
        ({"resource": "pods/web-0"}, ValueError, "'pods/web-0' is no resource"),
        ({"resource": 5}, TypeError, "resource is a name as 'pods'.*not int"),
        ({"model": "Pod"}, TypeError, "model is a pydantic model or something that can be called, not str"),
        ({"resource_version": "9" * 40}, ValueError, "resource_version is a number"),
        ({"resource_version": 2**64}, ValueError, "resource_version is a number"),
        ({"request_timeout": -1}, ValueError, "timeout must be a positive number"),
        ({"name": ""}, ValueError, "'' is not the name of an object"),
        ({"name": "a/b"}, ValueError, "'a/b' is not the name of an object"),
        ({"name": 5}, TypeError, "name must be a string, not int"),
        ({"label_selector": {"app": "a,b=c"}}, ValueError, "'app=a,b=c' is no term of a label selector"),
        ({"notify": "me"}, TypeError, "notify is something that can be called, not str"),
        ({"notify": later}, TypeError, "notify is called and not awaited"),
        ({"model": later}, TypeError, "model is called and not awaited"),
        ({"headers": {"Connection": "close"}}, ValueError, "set by the transport"),
    ],
)
async def test_what_makes_no_sense_is_said_before_anything_is_sent(
    arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    async with watched() as client:
        with pytest.raises(error, match=text):
            Watch(client).stream(**{"resource": "pods", **arguments})
    assert client.sent == []


async def test_a_watch_is_of_a_client() -> None:
    async with watched() as client:
        with pytest.raises(TypeError, match=r"Watch takes a client, as create_client\(\) makes it, not Pods"):
            Watch(Pods(client))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "arguments", "limit"),
    [
        ({}, {}, Timeout(connect=90, read=90)),
        ({}, {"inactivity": 5}, Timeout(connect=60, read=60)),
        ({}, {"inactivity": None}, ...),
        ({}, {"request_timeout": 7}, Timeout(7)),
        ({}, {"request_timeout": None}, None),
        ({"timeout": 8}, {}, Timeout(8)),
    ],
)
async def test_how_long_a_list_may_take(options: dict[str, Any], arguments: dict[str, Any], limit: Any) -> None:
    client = scripted(listed(5), hangs(added("a", 8)), configuration=CLUSTER, options=ClientOptions(**options))
    async with client, Watch(client).stream(PODS, initial="list", **arguments) as events:
        await anext(events)
    assert client.sent[0].timeout == limit
