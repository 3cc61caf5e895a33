"""``Watch``: events and the lines of logs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from kubex_stream.compat.kubernetes import StreamConnectionException, Watch, WatchedEvent
from kubex_stream.compat.kubernetes.feed import AHEAD
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.compat.kubernetes.conftest import Connect, official

FAILURES: tuple[Literal["end", "cut", "silence"], ...] = ("end", "cut", "silence")
POD = EmbeddedPod("demo", containers=(EmbeddedContainer(log=b"one\n\ntw\xffo\n"),))


@pytest.fixture
def maps() -> Iterator[EmbeddedCluster]:
    """A cluster with one ConfigMap, whose behaviour may be changed."""
    with EmbeddedCluster([POD], quiet=True, behaviour=Behaviour(watch_bookmark_interval=0.05)) as cluster:
        put(cluster, "first", "1")
        yield cluster


@pytest.fixture
def api(connect: Connect, maps: EmbeddedCluster) -> Any:
    """Its API."""
    return connect(maps)


def put(cluster: EmbeddedCluster, name: str, value: str, **labels: str) -> None:
    cluster.put_object({"kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"value": value}})


def brief(event: WatchedEvent) -> str:
    return f"{event['type']} {event['raw_object']['metadata'].get('name', '')}".strip()


def test_the_documented_example(v1: Any) -> None:
    """The official documentation's own, with nothing but its import and an end."""
    seen = []
    watch = Watch()
    for e in watch.stream(v1.list_namespace, timeout_seconds=30):
        type_ = e["type"]
        object_ = e["object"]  # object is one of type return_type
        raw_object = e["raw_object"]  # raw_object is a dict
        assert object_.metadata.name == raw_object["metadata"]["name"]
        seen.append((type_, type(object_).__name__, raw_object["kind"]))
        should_stop = len(seen) == 2
        if should_stop:
            watch.stop()
    assert seen == [("ADDED", "V1Namespace", "Namespace")] * 2


def test_a_version_as_a_number_and_what_came_after_it(api: Any, maps: EmbeddedCluster) -> None:
    version = int(api.list_namespaced_config_map("default").metadata.resource_version)
    put(maps, "second", "1")
    maps.delete_object("ConfigMap", "first")
    watch = Watch()
    events = watch.stream(api.list_namespaced_config_map, "default", resource_version=version)
    assert watch.resource_version == str(version)
    found = [next(events), next(events)]
    assert [brief(event) for event in found] == ["ADDED second", "DELETED first"]
    assert watch.resource_version == found[1]["raw_object"]["metadata"]["resourceVersion"]
    events.close()


def test_the_version_is_that_of_what_was_handed_out(api: Any, maps: EmbeddedCluster) -> None:
    watch = Watch()
    events = watch.stream(api.list_namespaced_config_map, "default")
    assert brief(next(events)) == "ADDED first"
    assert watch.resource_version is None  # the state may not be complete: to go on from here could lose objects
    for number in range(20):
        put(maps, f"map-{number}", "1")
    for _ in range(20):
        event = next(events)
        assert watch.resource_version == event["object"].metadata.resource_version
    events.close()


def test_a_version_that_is_too_old_is_the_callers_when_he_gave_it(api: Any, maps: EmbeddedCluster) -> None:
    for number in range(3):
        put(maps, "first", str(number))
    maps.compact()
    events = Watch().stream(api.list_namespaced_config_map, "default", resource_version=1)
    with pytest.raises(official.ApiException) as caught:
        next(events)
    assert caught.value.status == 410
    assert caught.value.reason.startswith("Expired: too old resource version")


@pytest.mark.parametrize("timeout", [{}, {"timeout_seconds": 60}])
def test_a_watch_goes_on_through_everything(api: Any, maps: EmbeddedCluster, timeout: dict[str, int]) -> None:
    watch = Watch()
    events = watch.stream(api.list_namespaced_config_map, "default", _request_timeout=(10, 0.5), **timeout)
    assert brief(next(events)) == "ADDED first"
    for number, failure in enumerate(FAILURES):
        maps.wait_for(lambda: maps.open_watches > 0)
        maps.fail_watches(failure)
        put(maps, f"map-{number}", "1")
        assert brief(next(events)) == f"ADDED map-{number}"
    maps.wait_for(lambda: maps.open_watches > 0)
    maps.fail_watches()
    maps.delete_object("ConfigMap", "first")
    put(maps, "last", "1")
    maps.compact()
    assert sorted((brief(next(events)), brief(next(events)))) == ["ADDED last", "DELETED first"]
    events.close()
    maps.wait_for(lambda: maps.open_watches == 0)


def test_selectors_and_bookmarks(api: Any, maps: EmbeddedCluster) -> None:
    put(maps, "red", "1", colour="red")
    watch = Watch()
    events = watch.stream(
        api.list_namespaced_config_map, "default", label_selector="colour=red", allow_watch_bookmarks=True
    )
    assert brief(next(events)) == "ADDED red"
    marked = next(events)
    assert (marked["type"], marked["object"]) == ("BOOKMARK", marked["raw_object"])
    assert watch.resource_version == marked["raw_object"]["metadata"]["resourceVersion"]
    events.close()


def test_a_streamed_state_ends_with_a_bookmark(api: Any) -> None:
    events = Watch().stream(
        api.list_namespaced_config_map,
        "default",
        send_initial_events=True,
        resource_version_match="NotOlderThan",
        allow_watch_bookmarks=True,
    )
    assert brief(next(events)) == "ADDED first"
    marked = next(events)["raw_object"]
    assert (marked["kind"], marked["metadata"]["annotations"]) == ("ConfigMap", {"k8s.io/initial-events-end": "true"})
    events.close()


@pytest.mark.parametrize(
    ("return_type", "arguments", "expected"),
    [
        (None, {}, "V1ConfigMap"),
        ("V1ConfigMap", {}, "V1ConfigMap"),
        ("object", {}, "dict"),
        (None, {"deserialize": False}, "dict"),
    ],
)
def test_models(api: Any, return_type: str | None, arguments: dict[str, Any], expected: str) -> None:
    (event,) = Watch(return_type).stream(api.list_namespaced_config_map, "default", timeout_seconds=1, **arguments)
    assert type(event["object"]).__name__ == expected
    assert event["raw_object"]["kind"] == "ConfigMap"


def test_custom_objects(api: Any) -> None:
    custom = official.CustomObjectsApi(api.api_client)
    events = Watch().stream(custom.list_namespaced_custom_object, "example.com", "v1", "default", "crontabs")
    with pytest.raises(official.ApiException, match=r"/apis/example\.com/v1/namespaces/default/crontabs") as caught:
        next(events)
    assert caught.value.status == 404


@pytest.mark.usefixtures("each_backend")
def test_every_backend(api: Any) -> None:
    (event,) = Watch().stream(api.list_namespaced_config_map, "default", timeout_seconds=1)
    assert brief(event) == "ADDED first"
    lines = Watch().stream(api.read_namespaced_pod_log, "demo", "default")
    assert next(lines) == "one"
    lines.close()


# Stopping -------------------------------------------------------------------------------------------------------------


def test_stopping_from_another_thread(api: Any, maps: EmbeddedCluster) -> None:
    watch, begun, found = Watch(), threading.Event(), list[str]()

    def read() -> None:
        for event in watch.stream(api.list_namespaced_config_map, "default"):
            found.append(brief(event))
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(30)
    watch.stop()
    reader.join(30)
    assert not reader.is_alive()
    assert found == ["ADDED first"]
    maps.wait_for(lambda: maps.open_watches == 0)


def test_stopping_drops_what_was_read_ahead(api: Any, maps: EmbeddedCluster) -> None:
    for number in range(20):
        put(maps, f"map-{number}", "1")
    watch, found = Watch(), []
    for event in watch.stream(api.list_namespaced_config_map, "default"):
        found.append(event)
        watch.stop()
    assert len(found) == 1


def test_stopping_before_the_beginning(api: Any) -> None:
    watch = Watch()
    events = watch.stream(api.list_namespaced_config_map, "default")
    watch.stop()
    assert list(events) == []
    (again,) = watch.stream(api.list_namespaced_config_map, "default", timeout_seconds=1)
    assert brief(again) == "ADDED first"


def test_a_slow_reader_slows_the_server_down(api: Any, maps: EmbeddedCluster) -> None:
    watch = Watch()
    events = watch.stream(api.list_namespaced_config_map, "default")
    next(events)
    for number in range(3 * AHEAD):
        put(maps, "first", str(number))
    (feed,) = watch._feeds
    maps.wait_for(lambda: len(feed._items) >= AHEAD)
    assert len(feed._items) <= AHEAD
    assert [next(events)["object"].data["value"] for _ in range(3 * AHEAD)] == [str(n) for n in range(3 * AHEAD)]
    events.close()


# Logs -----------------------------------------------------------------------------------------------------------------


def test_the_lines_of_a_log(api: Any, maps: EmbeddedCluster) -> None:
    watch = Watch()
    lines = watch.stream(api.read_namespaced_pod_log, name="demo", namespace="default")
    assert [next(lines) for _ in range(3)] == ["one", "", "tw\ufffdo"]
    maps.write_log(b"x" * 5_000_000 + b"\nlast\n")
    assert (len(next(lines)), next(lines)) == (5_000_000, "last")
    watch.stop()
    assert list(lines) == []


def test_what_is_wanted_of_a_log(api: Any) -> None:
    lines = Watch().stream(
        api.read_namespaced_pod_log,
        "demo",
        "default",
        container="main",
        tail_lines=1,
        timestamps=True,
        since_seconds=3600,
    )
    stamped = next(lines)
    assert stamped.endswith("Z tw\ufffdo")
    assert stamped.startswith(str(time.gmtime().tm_year))
    lines.close()


# Errors ---------------------------------------------------------------------------------------------------------------


def test_refusals(api: Any, maps: EmbeddedCluster) -> None:
    with pytest.raises(official.ApiException) as caught:
        next(Watch().stream(api.read_namespaced_pod_log, "nobody", "default"))
    assert caught.value.status == 404
    with pytest.raises(official.ApiException) as caught:
        next(Watch().stream(api.read_namespaced_pod_log, "demo", "default", container="other"))
    assert caught.value.status == 400
    maps.behaviour = Behaviour(rbac="nobody")
    with pytest.raises(official.ApiException) as caught:
        next(Watch().stream(api.list_namespaced_config_map, "default"))
    assert caught.value.status == 403


def test_no_server(connect: Connect) -> None:
    with EmbeddedCluster(quiet=True) as cluster:
        api = connect(cluster)
    with pytest.raises(StreamConnectionException):
        next(Watch().stream(api.list_namespaced_config_map, "default"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"resource_version": "new"}, "resource_version is a number"),
        ({"resource_version": True}, "resource_version is a number"),
        ({"label_selector": "a=("}, "selector"),
        ({"field_selector": "a"}, "selector"),
        ({"timeout_seconds": -1}, "timeout"),
        ({"timeout_seconds": "soon"}, "timeout"),
        ({"_request_timeout": "long"}, "timeout"),
        ({"shard_selector": "x"}, "shard"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_arguments_are_told_at_once(api: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        Watch().stream(api.list_namespaced_config_map, "default", **arguments)


def test_bad_arguments_of_a_log_are_told_at_once(api: Any) -> None:
    with pytest.raises(ValueError, match="stream"):
        Watch().stream(api.read_namespaced_pod_log, "demo", "default", stream="Stdout")
    with pytest.raises(TypeError, match="method of a generated API"):
        Watch().stream(len)
