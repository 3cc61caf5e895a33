"""Discovery: what words mean, that it is asked for once, and what is said about a word that means nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from kubex_stream import ApiError, NotFound
from kubex_stream.api.discovery import Discovery, ResourceType
from kubex_stream.api.watch import Watch
from kubex_stream.client import BaseClient, Response
from tests.api.watching import QUICK, added, ends, hangs, query, take, watched
from tests.client.memory import refusal

pytestmark = pytest.mark.anyio


def entry(
    name: str, kind: str, *short: str, scope: str = "Namespaced", verbs: tuple[str, ...] = ("list", "watch")
) -> Any:
    return {
        "resource": name,
        "responseKind": {"kind": kind},
        "scope": scope,
        "singularResource": kind.lower(),
        "verbs": list(verbs),
        "shortNames": list(short),
    }


def group(name: str, **versions: list[Any]) -> Any:
    return {
        "metadata": {"name": name},
        "versions": [{"version": each, "resources": found} for each, found in versions.items()],
    }


def answer(document: Any) -> Response:
    return Response(200, [], json.dumps(document).encode())


def aggregated(*groups: Any) -> Response:
    return answer({"kind": "APIGroupDiscoveryList", "items": list(groups)})


CORE = group(
    "",
    v1=[
        entry("pods", "Pod", "po"),
        entry("nodes", "Node", "no", scope="Cluster"),
        entry("events", "Event", "ev"),
        entry("bindings", "Binding", verbs=("create",)),
    ],
)
GROUPS = (
    group("apps", v1=[entry("deployments", "Deployment", "deploy", "dep")]),
    group("events.k8s.io", v1=[entry("events", "Event", "ev")]),
    group(
        "example.org",
        v2=[entry("widgets", "Widget", "wd")],
        v1=[entry("widgets", "Widget"), entry("gadgets", "Gadget")],
    ),
    group("zoo", v2=[entry("deps", "Dep")]),
)


def known() -> tuple[Response, Response]:
    return aggregated(CORE), aggregated(*GROUPS)


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("pods", "/api/v1/namespaces/n/pods"),
        ("pod", "/api/v1/namespaces/n/pods"),
        ("po", "/api/v1/namespaces/n/pods"),
        ("Pod", "/api/v1/namespaces/n/pods"),
        ("PODS", "/api/v1/namespaces/n/pods"),
        ("deployments.apps", "/apis/apps/v1/namespaces/n/deployments"),
        ("deploy", "/apis/apps/v1/namespaces/n/deployments"),
        ("deployments.v1.apps", "/apis/apps/v1/namespaces/n/deployments"),
        ("events", "/api/v1/namespaces/n/events"),
        ("events.events.k8s.io", "/apis/events.k8s.io/v1/namespaces/n/events"),
        ("widgets", "/apis/example.org/v2/namespaces/n/widgets"),
        ("widgets.v1.example.org", "/apis/example.org/v1/namespaces/n/widgets"),
        ("widgets.example", "/apis/example.org/v2/namespaces/n/widgets"),
        ("pods.v1.", "/api/v1/namespaces/n/pods"),
        ("dep", "/apis/zoo/v2/namespaces/n/deps"),
        ("gadgets.example.org", "/apis/example.org/v1/namespaces/n/gadgets"),
    ],
)
async def test_words(word: str, path: str) -> None:
    async with watched(*known()) as client:
        found = await Discovery.of(client).resolve(word)
    assert found.path("n") == path
    assert [urlsplit(request.url).path for request in client.sent] == ["/api", "/apis"]
    assert "APIGroupDiscoveryList" in dict(client.sent[0].headers)["Accept"]


async def test_a_resource_without_namespaces() -> None:
    async with watched(*known()) as client:
        nodes = await Discovery.of(client).resolve("no")
    assert nodes.path() == "/api/v1/nodes"
    with pytest.raises(ValueError, match="nodes have no namespace"):
        nodes.path("n")


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("pood", "; did you mean 'pods'?"),
        ("deplyoments", "; did you mean 'deployments.apps'?"),
        ("widget.example.com", "; did you mean 'widgets.example.org' or 'gadgets.example.org'?"),
        ("xyzzy", ""),
        ("pods.apps", ""),
    ],
)
async def test_a_word_that_means_nothing(word: str, hint: str) -> None:
    async with watched(*known()) as client:
        with pytest.raises(NotFound) as caught:
            await Discovery.of(client).resolve(word)
    assert str(caught.value).startswith(f"the server has no resource {word!r}")
    assert str(caught.value).endswith(hint)
    assert len(client.sent) == 2, "what was just asked for is not asked for again"


async def test_it_is_asked_for_once() -> None:
    async with watched(*known()) as client, anyio.create_task_group() as tasks:
        for word in ("pods", "deploy", "nodes"):
            tasks.start_soon(Discovery.of(client).resolve, word)
    assert len(client.sent) == 2


async def test_a_word_that_was_not_known_then_is_asked_for_again() -> None:
    later = aggregated(*GROUPS, group("new.example", v1=[entry("novelties", "Novelty")]))
    async with watched(*known(), aggregated(CORE), later) as client:
        discovery = Discovery.of(client)
        await discovery.resolve("pods")
        assert str(await discovery.resolve("novelties")) == "novelties.new.example"
    assert len(client.sent) == 4


async def test_clients_do_not_share_it() -> None:
    clients: list[BaseClient] = [watched(), watched()]
    assert Discovery.of(clients[0]) is Discovery.of(clients[0])
    assert Discovery.of(clients[0]) is not Discovery.of(clients[1])


LEGACY = (
    answer({"kind": "APIVersions", "versions": ["v1"]}),
    answer(
        {
            "kind": "APIResourceList",
            "resources": [
                {
                    "name": "pods",
                    "kind": "Pod",
                    "singularName": "",
                    "namespaced": True,
                    "shortNames": ["po"],
                    "verbs": ["watch"],
                },
                {"name": "pods/log", "kind": "Pod", "namespaced": True, "verbs": ["get"]},
            ],
        }
    ),
    answer(
        {
            "kind": "APIGroupList",
            "groups": [
                {
                    "preferredVersion": {"groupVersion": "apps/v1"},
                    "versions": [{"groupVersion": "apps/v1beta1"}, {"groupVersion": "apps/v1"}],
                },
                {"preferredVersion": {"groupVersion": "away.example/v1"}},
            ],
        }
    ),
    answer(
        {
            "kind": "APIResourceList",
            "resources": [{"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": []}],
        }
    ),
    answer({"resources": [{"name": "scales", "kind": "Scale", "namespaced": True}]}),
)


@pytest.mark.parametrize("status", [404, 500, 502, 504])
async def test_servers_without_the_aggregated_form_and_groups_that_are_away(status: int) -> None:
    async with watched(*LEGACY, refusal(status)) as client:
        types = await Discovery.of(client).types()
    assert types == (
        ResourceType("", "v1", "pods", "Pod", True, "", ("po",), ("watch",)),
        ResourceType("apps", "v1", "deployments", "Deployment", True),
        ResourceType("apps", "v1beta1", "scales", "Scale", True),
    )
    paths = [urlsplit(request.url).path for request in client.sent]
    assert paths == ["/api", "/api/v1", "/apis", "/apis/apps/v1", "/apis/apps/v1beta1", "/apis/away.example/v1"]


@pytest.mark.parametrize(
    "content", [b"<html>", b"[]", b'{"kind": "APIGroupDiscoveryList", "items": [5]}', b'{"groups": [{}]}']
)
async def test_what_is_no_discovery(content: bytes) -> None:
    async with watched(Response(200, [], content)) as client:
        with pytest.raises(ApiError, match=r"/api: 200, but the answer is no discovery document"):
            await Discovery.of(client).types()


async def test_a_watch_by_name() -> None:
    async with watched(*known(), hangs(added("a", 5)), hangs(added("b", 6))) as client:
        watch = Watch(client)
        async with watch.stream("deploy", resource_version=1) as events:
            assert await take(events, 1) == ["ADDED a 5"]
        async with watch.stream("nodes", resource_version=1) as events:
            assert await take(events, 1) == ["ADDED b 6"]
    assert urlsplit(client.sent[2].url).path == "/apis/apps/v1/namespaces/shop/deployments"
    assert query(client.sent[2])["watch"] == "1"
    assert urlsplit(client.sent[3].url).path == "/api/v1/nodes"


async def test_what_cannot_be_watched() -> None:
    async with watched(*known()) as client:
        with pytest.raises(ApiError, match="bindings cannot be watched: the server offers create for them"):
            await anext(Watch(client).stream("bindings"))


async def test_an_unknown_resource_is_said_by_the_watch() -> None:
    async with watched(*known()) as client:
        events = Watch(client).stream("pood")
        with pytest.raises(NotFound, match="did you mean 'pods'"):
            await anext(events)
        assert [each async for each in events] == []


async def test_a_group_whose_server_is_away_is_named_where_a_word_is_not_found() -> None:
    stale = {"metadata": {"name": "away.example"}, "versions": [{"version": "v1", "freshness": "Stale"}]}
    async with watched(aggregated(CORE), aggregated(stale, *GROUPS)) as client:
        discovery = Discovery.of(client)
        assert str(await discovery.resolve("deploy")) == "deployments.apps"
        client.answers.extend([aggregated(CORE), aggregated(stale)])
        with pytest.raises(NotFound, match=r"those of away\.example/v1 could not be asked for"):
            await discovery.resolve("metrics")


async def test_a_resource_that_moves_to_another_version_is_found_there() -> None:
    later = aggregated(group("apps", v2=[entry("deployments", "Deployment", "deploy")]))
    answers = (*known(), ends(added("a", 5)), refusal(404), aggregated(CORE), later, hangs(added("b", 6)))
    async with watched(*answers) as client, Watch(client, backoff=QUICK).stream("deploy", resource_version=1) as events:
        assert await take(events, 2) == ["ADDED a 5", "ADDED b 6"]
    assert urlsplit(client.sent[-1].url).path == "/apis/apps/v2/namespaces/shop/deployments"
    assert query(client.sent[-1])["resourceVersion"] == "5"


async def test_a_resource_that_is_no_longer_there_is_said_to_be() -> None:
    answers = (*known(), ends(added("a", 5)), refusal(404), aggregated(CORE), aggregated())
    async with watched(*answers) as client, Watch(client, backoff=QUICK).stream("deploy", resource_version=1) as events:
        assert await take(events, 1) == ["ADDED a 5"]
        with pytest.raises(NotFound, match="the server has no resource 'deploy'"):
            await anext(events)


async def test_a_resource_that_is_where_it_was_and_not_found_is_not_found() -> None:
    async with watched(*known(), refusal(404, message="not here"), *known()) as client:
        with pytest.raises(NotFound, match="not here"):
            await anext(Watch(client).stream("deploy"))
    assert len(client.sent) == 5
