"""The embedded cluster's objects and their watches: as a real server has them, for clients that nobody here wrote too."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from kubex_stream import ApiError, BaseClient, Pods, create_client
from kubex_stream.client import Request
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.testing.test_kubectl import kubectl_words

PROGRAM = Path(__file__).with_name("watching_client.py")
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
def empty() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster([EmbeddedPod("demo", containers=[EmbeddedContainer()])], quiet=True) as cluster:
        yield cluster


def put(cluster: EmbeddedCluster, name: str, value: str = "1", **labels: str) -> None:
    cluster.put_object({"kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"value": value}})


def ask(cluster: EmbeddedCluster, *requests: Request) -> list[Any]:
    """The answers, errors as errors."""

    async def one(client: BaseClient, request: Request) -> Any:
        try:
            return json.loads((await client.request(request)).content)
        except ApiError as error:
            return error

    async def main() -> list[Any]:
        async with create_client(cluster.configuration) as client:
            return [await one(client, request) for request in requests]

    return anyio.run(main)


def get(path: str, **query: str) -> Request:
    return Request(path=path, query=list(query.items()))


def send(method: str, path: str, document: Any = None, kind: str = "application/json") -> Request:
    return Request(method=method, path=path, body=json.dumps(document).encode(), headers={"Content-Type": kind})


def events(cluster: EmbeddedCluster, path: str = MAPS, **query: str) -> list[dict[str, Any]]:
    """What a watch of a moment tells."""

    async def main() -> list[dict[str, Any]]:
        request = Request(path=path, query=[("watch", "1"), ("timeoutSeconds", "0.3"), *query.items()])
        async with create_client(cluster.configuration) as client, client.stream(request) as response:
            content = b"".join([piece async for piece in response])
        return [json.loads(line) for line in content.splitlines()]

    return anyio.run(main)


def brief(found: list[dict[str, Any]]) -> list[str]:
    return [f"{each['type']} {each['object']['metadata'].get('name', '')}".strip() for each in found]


# Objects --------------------------------------------------------------------------------------------------------------


def test_an_object_is_created_replaced_patched_and_deleted(empty: EmbeddedCluster) -> None:
    path = f"{MAPS}/colours"
    created, again, replaced, patched, listed, gone, missing = ask(
        empty,
        send("POST", MAPS, {"metadata": {"name": "colours"}, "data": {"sky": "blue"}}),
        send("POST", MAPS, {"metadata": {"name": "colours"}}),
        send("PUT", path, {"metadata": {"name": "colours"}, "data": {"sky": "grey"}}),
        send("PATCH", path, {"data": {"sea": "green", "sky": None}}, "application/merge-patch+json"),
        get(MAPS),
        send("DELETE", path),
        get(path),
    )
    assert (created["kind"], created["metadata"]["namespace"], created["data"]) == (
        "ConfigMap",
        "default",
        {"sky": "blue"},
    )
    assert (again.status_code, again.status.reason) == (409, "AlreadyExists")
    assert replaced["data"] == {"sky": "grey"}
    assert patched["data"] == {"sea": "green"}
    assert patched["metadata"]["uid"] == created["metadata"]["uid"]
    versions = [int(each["metadata"]["resourceVersion"]) for each in (created, replaced, patched)]
    assert versions == sorted(set(versions))
    assert [item["metadata"]["name"] for item in listed["items"]] == ["colours"]
    assert gone["status"] == "Success"
    assert missing.status_code == 404


def test_an_update_of_an_old_version_is_a_conflict(empty: EmbeddedCluster) -> None:
    put(empty, "a")
    (item,) = empty.objects("ConfigMap")
    put(empty, "a", "2")
    (refused,) = ask(empty, send("PUT", f"{MAPS}/a", item))
    assert (refused.status_code, refused.status.reason) == (409, "Conflict")


def test_what_changes_nothing_is_not_told(empty: EmbeddedCluster) -> None:
    put(empty, "a")
    version = empty.resource_version
    put(empty, "a")
    assert empty.resource_version == version


def test_what_is_refused(empty: EmbeddedCluster) -> None:
    refusals = ask(
        empty,
        send("POST", MAPS, {"metadata": {}}),
        send("POST", MAPS, []),
        send("POST", "/api/v1/namespaces/nowhere/configmaps", {"metadata": {"name": "a"}}),
        send("PUT", f"{MAPS}/nothing", {"metadata": {"name": "nothing"}}),
        send("PATCH", f"{MAPS}/nothing", {}, "application/json"),
        send("DELETE", f"{MAPS}/nothing"),
        send("DELETE", "/api/v1/namespaces/default"),
        send("POST", "/api/v1/configmaps", {"metadata": {"name": "a"}}),
        send("PUT", "/api/v1/namespaces/default/pods/demo", {}),
    )
    assert [each.status_code for each in refusals] == [422, 400, 404, 404, 415, 404, 403, 405, 405]


def test_a_namespace_goes_with_everything_in_it(empty: EmbeddedCluster) -> None:
    version = empty.resource_version
    empty.put_object({"kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}})
    empty.put_object({"kind": "ConfigMap", "metadata": {"name": "a"}}, "shop")
    empty.add_pod(EmbeddedPod("web", namespace="shop", containers=[EmbeddedContainer()]))
    empty.delete_object("Namespace", "shop")
    told = events(empty, "/api/v1/namespaces", resourceVersion=str(version))
    assert brief(told) == ["ADDED shop", "MODIFIED shop", "DELETED shop"]
    assert told[0]["object"]["metadata"]["labels"] == {"a": "b", "kubernetes.io/metadata.name": "shop"}
    assert told[1]["object"]["status"]["phase"] == "Terminating"
    assert brief(events(empty, "/api/v1/configmaps", resourceVersion=str(version))) == ["ADDED a", "DELETED a"]
    assert brief(events(empty, "/api/v1/pods", resourceVersion=str(version))) == [
        "ADDED web",
        "MODIFIED web",
        "DELETED web",
    ]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"kind": "Secret", "metadata": {"name": "a"}}, "'Secret' is none of the kinds"),
        ({"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "nowhere"}}, "not found"),
    ],
)
def test_objects_that_are_none(empty: EmbeddedCluster, document: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        empty.put_object(document)
    with pytest.raises(ValueError, match="not found"):
        empty.delete_object("ConfigMap", "nothing")


def test_a_list_in_pages_is_of_one_version(empty: EmbeddedCluster) -> None:
    for name in ("a", "b", "c"):
        put(empty, name)
    (first,) = ask(empty, get(MAPS, limit="2"))
    put(empty, "d")
    (second,) = ask(empty, get(MAPS, limit="2", **{"continue": first["metadata"]["continue"]}))
    assert [item["metadata"]["name"] for page in (first, second) for item in page["items"]] == ["a", "b", "c"]
    assert first["metadata"]["remainingItemCount"] == 1
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    empty.compact()
    (expired,) = ask(empty, get(MAPS, limit="2", **{"continue": first["metadata"]["continue"]}))
    assert expired.status_code == 410


# Watches --------------------------------------------------------------------------------------------------------------


def test_bookmarks(empty: EmbeddedCluster) -> None:
    empty.behaviour = Behaviour(watch_bookmark_interval=0.1)
    put(empty, "a")
    first, end, *rest = events(empty, allowWatchBookmarks="true")
    assert brief([first]) == ["ADDED a"]
    assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert rest
    assert {(each["type"], each["object"]["kind"], each["object"]["metadata"]["resourceVersion"]) for each in rest} == {
        ("BOOKMARK", "ConfigMap", str(empty.resource_version))
    }
    assert brief(events(empty)) == ["ADDED a"], "only for those who ask"


@pytest.mark.parametrize(
    ("behaviour", "query", "text"),
    [
        (Behaviour(), {"sendInitialEvents": "true"}, "requires setting resourceVersionMatch"),
        (Behaviour(), {"resourceVersionMatch": "NotOlderThan"}, "forbidden for watch unless sendInitialEvents"),
        (
            Behaviour(watch_list=False),
            {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"},
            "WatchList",
        ),
    ],
)
def test_combinations_that_are_refused(
    empty: EmbeddedCluster, behaviour: Behaviour, query: dict[str, str], text: str
) -> None:
    empty.behaviour = behaviour
    (refused,) = ask(empty, get(MAPS, watch="1", **query))
    assert refused.status_code == 422
    assert text in str(refused)


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({"limit": "abc"}, 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ({"continue": "abc"}, 400, "invalid continue token"),
        ({"continue": "abc/def", "limit": "1"}, 400, "invalid continue token"),
        ({"continue": "99/0"}, 410, "continue parameter is too old"),
        ({"resourceVersion": "abc"}, 400, "invalid resource version"),
        ({"resourceVersion": "9999999"}, 504, "Timeout: Too large resource version: 9999999, current: "),
        ({"resourceVersion": "1", "resourceVersionMatch": "Exact"}, 410, "provided list is too old"),
        ({"resourceVersionMatch": "Exact"}, 422, "forbidden unless resourceVersion is provided"),
        ({"watch": "1", "timeoutSeconds": "abc"}, 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ({"watch": "1", "resourceVersion": "abc"}, 500, 'resourceVersion: Invalid value: "abc"'),
        ({"watch": "1", "labelSelector": "a in b"}, 400, "unable to parse requirement"),
    ],
)
def test_queries_that_make_no_sense(empty: EmbeddedCluster, query: dict[str, str], status: int, text: str) -> None:
    (refused,) = ask(empty, get(MAPS, **query))
    assert refused.status_code == status
    assert text in str(refused)


def test_a_watch_that_wants_no_initial_state(empty: EmbeddedCluster) -> None:
    put(empty, "a")
    assert events(empty, sendInitialEvents="false", resourceVersionMatch="NotOlderThan") == []


def test_a_negative_limit_is_none(empty: EmbeddedCluster) -> None:
    put(empty, "a")
    (found,) = ask(empty, get(MAPS, limit="-1"))
    assert [item["metadata"]["name"] for item in found["items"]] == ["a"]


def test_compaction_is_for_those_who_begin(empty: EmbeddedCluster) -> None:
    put(empty, "a")
    version = str(empty.resource_version)
    put(empty, "b")
    assert brief(events(empty, resourceVersion=version)) == ["ADDED b"]
    empty.compact()
    (expired,) = events(empty, resourceVersion=version)
    assert (expired["type"], expired["object"]["code"], expired["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert events(empty, resourceVersion=str(empty.resource_version)) == []
    empty.behaviour = Behaviour(watch_expired="status")
    (refused,) = ask(empty, get(MAPS, watch="1", resourceVersion=version))
    assert (refused.status_code, refused.status.reason) == (410, "Expired")


def test_changes_of_selection(empty: EmbeddedCluster) -> None:
    version = str(empty.resource_version)
    put(empty, "a", app="web")
    put(empty, "a", "2")
    put(empty, "a", "3", app="web")
    put(empty, "a", "4", app="web")
    found = brief(events(empty, resourceVersion=version, labelSelector="app=web"))
    assert found == ["ADDED a", "DELETED a", "ADDED a", "MODIFIED a"]


# Other clients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["kubernetes", "kubernetes_asyncio", "kr8s"])
def test_watches_of_other_clients(empty: EmbeddedCluster, client: str) -> None:
    if importlib.util.find_spec(client) is None:
        pytest.skip(f"the {client} package is not installed")
    put(empty, "first")
    command = [sys.executable, "-W", "ignore", str(PROGRAM), client, str(empty.kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ADDED first\n"
        put(empty, "first", "2")
        empty.delete_object("ConfigMap", "first")
        if client != "kr8s":  # whose watch is over when its connection is
            assert [process.stdout.readline() for _ in range(2)] == ["MODIFIED first\n", "DELETED first\n"]
            empty.fail_watches("end")
        put(empty, "last")
        rest, said = process.communicate(timeout=60)
        assert rest.splitlines()[-1] == "ADDED last"
        assert process.returncode == 0, said


@pytest.mark.parametrize("which", ["path", "named"])
def test_kubectl_get_w(empty: EmbeddedCluster, tmp_path: Path, which: str) -> None:
    put(empty, "first")
    where = ["--kubeconfig", str(empty.kubeconfig), "--cache-dir", str(tmp_path / "cache")]
    command = [*kubectl_words(which), *where, "get", "configmaps", "-w", "--output-watch-events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().split() == ["EVENT", "NAME", "DATA", "AGE"]
        assert process.stdout.readline().split()[:3] == ["ADDED", "first", "1"]
        empty.wait_for(lambda: empty.open_watches == 1)
        put(empty, "first", "2")
        empty.delete_object("ConfigMap", "first")
        assert process.stdout.readline().split()[:2] == ["MODIFIED", "first"]
        assert process.stdout.readline().split()[:2] == ["DELETED", "first"]
        process.terminate()
        process.wait(60)


@pytest.mark.parametrize("which", ["path", "named"])
@pytest.mark.parametrize("condition", ["create", "condition=Ready=false", "jsonpath={.status.phase}=Succeeded"])
def test_kubectl_wait(empty: EmbeddedCluster, tmp_path: Path, which: str, condition: str) -> None:
    waits = EmbeddedContainer(command=["sh", "-c", "until [ -e go ]; do sleep 0.05; done"])
    pod = EmbeddedPod("brief", restart_policy="Never", containers=[waits])
    if condition != "create":
        empty.add_pod(pod)
    where = ["--kubeconfig", str(empty.kubeconfig), "--cache-dir", str(tmp_path / "cache")]
    command = [*kubectl_words(which), *where, "wait", "pod/brief", f"--for={condition}", "--timeout=30s"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        if condition == "create":
            empty.wait_for(lambda: any("brief" in request.path for request in empty.requests))
            empty.add_pod(pod)
        else:
            empty.wait_for(lambda: empty.open_watches == 1)
            let_end(empty, "brief")
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "pod/brief condition met\n")


def let_end(cluster: EmbeddedCluster, name: str) -> None:
    """Give a pod's process what it waits for."""

    async def main() -> None:
        async with create_client(cluster.configuration) as client:
            await Pods(client).exec.run(name, ["touch", "go"], check=True)

    anyio.run(main)
