"""Pods.wait: from the pod as it is, through its changes, to the condition, or to the reason why it cannot come."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio
import pytest

from kubex_stream import (
    ApiError,
    ClientConfiguration,
    ClientOptions,
    ConnectionFailed,
    ConnectionLost,
    Forbidden,
    NotFound,
    Pods,
    StreamTimeout,
)
from kubex_stream.client import Response
from tests.client.memory import Body, HangingBody, MemoryClient, refusal, scripted

pytestmark = pytest.mark.anyio

CLUSTER = ClientConfiguration(url="http://cluster.test")


def pod(phase: str = "Pending", version: int = 1, **conditions: bool) -> dict[str, Any]:
    listed = [{"type": kind, "status": str(given)} for kind, given in conditions.items()]
    metadata = {"name": "web-0", "resourceVersion": str(version)}
    return {"metadata": metadata, "status": {"phase": phase, "conditions": listed}}


def got(value: dict[str, Any]) -> Response:
    return Response(200, [], json.dumps(value).encode())


def event(kind: str, value: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"


READY = pod("Running", 7, Ready=True)
EXPIRED = event("ERROR", {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410})


def cluster(*answers: Any) -> MemoryClient:
    return scripted(*answers, configuration=CLUSTER)


async def test_a_pod_that_is_ready_needs_no_watch() -> None:
    async with cluster(got(READY)) as client:
        assert await Pods(client).wait("web-0") == READY
    assert len(client.sent) == 1


async def test_it_becomes_ready() -> None:
    watch = HangingBody(event("MODIFIED", pod("Running", 2, Ready=False)), event("MODIFIED", READY))
    async with cluster(got(pod(version=5)), watch.response()) as client:
        assert await Pods(client).wait("web-0", namespace="other") == READY
    parts = urlsplit(client.sent[1].url)
    assert parts.path == "/api/v1/namespaces/other/pods"
    assert parse_qsl(parts.query) == [
        ("watch", "1"),
        ("allowWatchBookmarks", "true"),
        ("resourceVersion", "5"),
        ("fieldSelector", "metadata.name=web-0"),
    ]
    assert watch.closed


@pytest.mark.parametrize("size", [1, 2, 7, 100])
async def test_events_come_in_any_pieces(size: int) -> None:
    content = event("MODIFIED", pod("Running", 2, Initialized=True)) + event("MODIFIED", READY)
    watch = HangingBody(*[content[at : at + size] for at in range(0, len(content), size)])
    async with cluster(got(pod()), watch.response()) as client:
        assert await Pods(client).wait("web-0") == READY


async def test_several_events_may_come_in_one_piece() -> None:
    content = event("ADDED", pod()) + event("MODIFIED", READY) + event("DELETED", READY) + b'{"type":'
    async with cluster(got(pod()), Body(content).response()) as client:
        assert await Pods(client).wait("web-0") == READY


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("Ready", pod("Running", Ready=True)),
        ("ready", pod("Running", Ready=True)),
        ("Initialized", pod("Pending", Initialized=True, Ready=False)),
        ("Running", pod("Running", Ready=False)),
        ("running", pod("Running")),
        ("Succeeded", pod("Succeeded")),
        ("Failed", pod("Failed")),
        ("Initialized", pod("Succeeded", Initialized=True)),
    ],
)
async def test_a_condition_or_a_phase(condition: str, found: dict[str, Any]) -> None:
    async with cluster(got(found)) as client:
        assert await Pods(client).wait("web-0", condition) == found


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("condition", ["Ready", "Running"])
async def test_a_pod_that_has_ended_will_not_come_back(phase: str, condition: str) -> None:
    ended = pod(phase, 3, Ready=False)
    text = rf"pod 'web-0' has ended \({phase}\) and will not be {condition}"
    async with cluster(got(ended)) as client:
        with pytest.raises(ApiError, match=text):
            await Pods(client).wait("web-0", condition)
    watch = HangingBody(event("MODIFIED", ended))
    async with cluster(got(pod()), watch.response()) as client:
        with pytest.raises(ApiError, match=text):
            await Pods(client).wait("web-0", condition)
    assert watch.closed


async def test_a_pod_that_is_deleted_is_not_found() -> None:
    watch = HangingBody(event("DELETED", pod("Running", 9)))
    async with cluster(got(pod()), watch.response()) as client:
        with pytest.raises(NotFound, match="pod 'web-0' was deleted"):
            await Pods(client).wait("web-0")
    assert watch.closed


async def test_a_pod_that_is_not_there_is_not_found() -> None:
    async with cluster(refusal(404, message='pods "web-0" not found')) as client:
        with pytest.raises(NotFound, match="not found"):
            await Pods(client).wait("web-0")


async def test_a_watch_that_is_not_allowed_is_forbidden() -> None:
    async with cluster(got(pod()), refusal(403, message="cannot watch")) as client:
        with pytest.raises(Forbidden, match="cannot watch"):
            await Pods(client).wait("web-0")


@pytest.mark.parametrize("end", [(), (ConnectionLost("reset"),), (b'{"type": "MODI',)], ids=repr)
async def test_a_watch_that_ends_goes_on_from_the_last_change(end: tuple[Any, ...]) -> None:
    first = Body(event("MODIFIED", pod("Pending", 2, PodScheduled=True)), *end)
    second = HangingBody(event("MODIFIED", READY))
    async with cluster(got(pod()), first.response(), second.response()) as client:
        assert await Pods(client).wait("web-0") == READY
    assert ("resourceVersion", "2") in parse_qsl(urlsplit(client.sent[2].url).query)
    assert first.closed
    assert second.closed


async def test_a_version_that_is_too_old_is_renewed_from_where_the_pod_is() -> None:
    first = Body(event("MODIFIED", pod("Pending", 2, PodScheduled=True)), EXPIRED)
    second = HangingBody(event("MODIFIED", READY))
    async with cluster(got(pod()), first.response(), got(pod("Running", 4)), second.response()) as client:
        assert await Pods(client).wait("web-0") == READY
    assert ("resourceVersion", "4") in parse_qsl(urlsplit(client.sent[3].url).query)


async def test_a_version_that_is_always_too_old_is_no_hot_loop() -> None:
    answers = [answer for _ in range(50) for answer in (got(pod()), Body(EXPIRED).response())]
    async with cluster(*answers) as client:
        with pytest.raises(StreamTimeout):
            await Pods(client).wait("web-0", timeout=0.2)
    assert len(client.sent) == 4, "the second pause is longer than this"


async def test_a_version_that_is_too_old_at_once_is_asked_for_again() -> None:
    async with cluster(got(pod()), Body(EXPIRED).response(), got(READY)) as client:
        assert await Pods(client).wait("web-0") == READY


@pytest.mark.parametrize(
    "line", [b"<html>", b"[]", b"{}", b'{"type": "MODIFIED"}', b'{"type": "MODIFIED", "object": 5}']
)
async def test_what_is_no_event_is_an_error(line: bytes) -> None:
    watch = Body(line + b"\n")
    async with cluster(got(pod()), watch.response()) as client:
        with pytest.raises(ApiError, match=r"/pods: 200, but the answer is no watch event"):
            await Pods(client).wait("web-0")
    assert watch.closed


async def test_too_late_says_how_the_pod_was_seen_last() -> None:
    watch = HangingBody(event("MODIFIED", pod("Running", 2, Ready=False)))
    async with cluster(got(pod()), watch.response()) as client:
        with pytest.raises(
            StreamTimeout, match=r"pod 'web-0' was not Ready within 0.05 s; its phase is Running"
        ) as caught:
            await Pods(client).wait("web-0", timeout=0.05)
    assert isinstance(caught.value, TimeoutError)
    assert watch.closed


async def test_too_late_for_the_first_look() -> None:
    async def hang(_: object) -> None:
        await anyio.sleep_forever()

    async with cluster(hang) as client:
        with pytest.raises(StreamTimeout, match="its phase is unknown"):
            await Pods(client).wait("web-0", timeout=0.02)


async def test_cancellation_closes_the_watch() -> None:
    watch = HangingBody()
    async with cluster(got(pod()), watch.response()) as client:
        with anyio.move_on_after(0.02) as scope:
            await Pods(client).wait("web-0", timeout=None)
    assert scope.cancelled_caught
    assert watch.closed


@pytest.mark.parametrize("timeout", [0, -1, True, "5", float("nan")], ids=repr)
async def test_a_timeout_is_a_positive_number_or_none(timeout: Any) -> None:
    async with cluster() as client:
        with pytest.raises(ValueError, match="timeout must be a positive number"):
            await Pods(client).wait("web-0", timeout=timeout)


async def test_a_condition_has_a_name() -> None:
    async with cluster() as client:
        with pytest.raises(ValueError, match="condition is empty"):
            await Pods(client).wait("web-0", "")


@pytest.mark.parametrize("status", [None, {}, {"conditions": None}, "odd"], ids=repr)
async def test_a_pod_without_a_status_yet_is_waited_for(status: object) -> None:
    new = {"metadata": {"name": "web-0", "resourceVersion": "1"}, "status": status}
    async with cluster(got(new), HangingBody(event("MODIFIED", READY)).response()) as client:
        assert await Pods(client).wait("web-0") == READY


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("condition=Ready", pod("Running", Ready=True)),
        ("condition=ready=false", pod("Running", Ready=False)),
        ("phase=Running", pod("Running")),
        ("jsonpath={.status.phase}=Running", pod("Running")),
        ("jsonpath=.status.phase=Running", pod("Running")),
        ('jsonpath=.status.conditions[?(@.type=="Ready")].status=True', pod("Running", Ready=True)),
        ('jsonpath=.status.conditions[?(@.type!="Other")].status="True"', pod("Running", Ready=True)),
        ('jsonpath={.status.conditions[?(@.type=="Ready")].status}=True', pod("Running", Ready=True)),
        ("jsonpath={.status.podIP}", pod("Running") | {"status": {"podIP": "10.0.0.7"}}),
    ],
)
async def test_kubectls_words(condition: str, found: dict[str, Any]) -> None:
    before = {"metadata": found["metadata"], "status": {"phase": "Pending", "podIP": ""}}
    async with cluster(got(before), HangingBody(event("MODIFIED", found)).response()) as client:
        assert await Pods(client).wait("web-0", condition) == found


async def test_a_condition_that_was_observed_before_the_last_change_of_the_spec_does_not_count() -> None:
    stale, fresh = pod("Running", 2, Ready=True), pod("Running", 3, Ready=True)
    for each, observed in ((stale, 1), (fresh, 2)):
        each["metadata"]["generation"] = 2
        each["status"]["conditions"][0]["observedGeneration"] = observed
    async with cluster(got(stale), HangingBody(event("MODIFIED", fresh)).response()) as client:
        assert await Pods(client).wait("web-0", "condition=Ready") == fresh


async def test_deletion() -> None:
    gone = pod("Running", 9)
    async with cluster(got(pod()), HangingBody(event("DELETED", gone)).response()) as client:
        assert await Pods(client).wait("web-0", "delete") == gone
    async with cluster(refusal(404)) as client:
        assert await Pods(client).wait("web-0", "delete") == {}


async def test_a_pod_of_the_same_name_is_another_one() -> None:
    first, second = pod("Running", 1), pod("Running", 9)
    first["metadata"]["uid"], second["metadata"]["uid"] = "one", "two"
    async with cluster(got(first), Body(EXPIRED).response(), got(second)) as client:
        assert await Pods(client).wait("web-0", "delete") == first


async def test_a_pod_that_has_ended_may_still_be_deleted_or_get_another_field() -> None:
    ended, changed = pod("Succeeded", 3), pod("Succeeded", 4)
    changed["metadata"]["labels"] = {"done": "yes"}
    async with cluster(got(ended), HangingBody(event("MODIFIED", changed)).response()) as client:
        assert await Pods(client).wait("web-0", "jsonpath={.metadata.labels.done}=yes") == changed


@pytest.mark.parametrize(
    "condition",
    [
        "state=Running",
        "jsonpath=",
        "jsonpath={.a[1:2]}",
        "jsonpath={..a}=b",
        "jsonpath={.status.phase} Running",
        "jsonpath={.status.phase}=",
        "jsonpath=.status.phase=",
        "phase=",
        "phase=Running=True",
        "condition=",
        "condition=Ready=",
        "delete=now",
        "create=now",
    ],
)
async def test_what_cannot_be_waited_for(condition: str) -> None:
    async with cluster() as client:
        with pytest.raises(ValueError, match=r"cannot be waited for|is no JSONPath"):
            await Pods(client).wait("web-0", condition)


async def test_a_pod_that_is_not_there_yet() -> None:
    here = pod(version=6)
    watch = HangingBody(event("ADDED", here))
    async with cluster(refusal(404), watch.response()) as client:
        assert await Pods(client).wait("web-0", "create") == here
    assert ("sendInitialEvents", "true") in parse_qsl(urlsplit(client.sent[1].url).query)
    async with cluster(got(here)) as client:
        assert await Pods(client).wait("web-0", "Create") == here


AWAY = [ConnectionFailed("refused"), ConnectionLost("reset"), StreamTimeout("late"), refusal(503), refusal(500)]


@pytest.mark.parametrize("away", AWAY, ids=repr)
async def test_a_server_that_goes_away_behind_the_first_look_is_waited_for(away: Any) -> None:
    options = ClientOptions(retries=0)
    async with scripted(got(pod()), away, got(READY), configuration=CLUSTER, options=options) as client:
        assert await Pods(client).wait("web-0") == READY
    async with scripted(
        got(pod()), Body(EXPIRED).response(), away, got(READY), configuration=CLUSTER, options=options
    ) as client:
        assert await Pods(client).wait("web-0") == READY


@pytest.mark.parametrize("away", [ConnectionFailed("refused"), refusal(500)], ids=repr)
async def test_a_server_that_is_not_there_at_all_is_said_to_be(away: Any) -> None:
    async with cluster(away) as client:
        with pytest.raises((ConnectionFailed, ApiError)):
            await Pods(client).wait("web-0")
