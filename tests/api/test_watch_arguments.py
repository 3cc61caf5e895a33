"""What a watch is asked for, and what makes no sense."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from kubex_stream.api.discovery import ResourceType
from kubex_stream.api.watch import Watch
from tests.api.watching import PODS, added, hangs, query, watched

pytestmark = pytest.mark.anyio

DEPLOYMENTS = ResourceType("apps", "v1", "deployments", "Deployment", True, verbs=("watch",))
NODES = ResourceType("", "v1", "nodes", "Node", False, verbs=("watch",))


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
        ({"resource": ""}, ValueError, "'' is no resource; name one as 'pods'"),
        ({"resource": "pods/web-0"}, ValueError, "'pods/web-0' is no resource"),
        ({"resource": 5}, TypeError, "resource is a name as 'pods'.*not int"),
        ({"model": "Pod"}, TypeError, "model is a pydantic model or something that can be called, not str"),
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
