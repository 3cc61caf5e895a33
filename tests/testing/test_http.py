"""The REST part of the embedded cluster: objects, lists, tables, watches, and who may see them."""

from __future__ import annotations

import base64
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.testing.raw_client import V5, Answer, RawClient, exec_target, upgrade_headers

PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def get(cluster: EmbeddedCluster, target: str, headers: list[tuple[str, str]] | None = None, **more: Any) -> Answer:
    with RawClient(cluster) as client:
        client.request(target, headers, **more)
        return client.answer()


def document(cluster: EmbeddedCluster, target: str, accept: str = "*/*") -> dict[str, Any]:
    answer = get(cluster, target, [("Accept", accept)])
    assert (
        answer.header(
            "Content-Type",
        )
        is not None
    )
    found: dict[str, Any] = json.loads(answer.body)
    return found


def names(cluster: EmbeddedCluster, query: str) -> list[str]:
    found = document(cluster, query)
    return [item["metadata"]["name"] for item in found["items"]]


@pytest.fixture
def populated(embedded: EmbeddedCluster) -> Any:
    pods = [
        EmbeddedPod("web-0", labels={"app": "web", "tier": "front"}),
        EmbeddedPod("web-1", labels={"app": "web"}, phase="Pending", scheduled=False),
        EmbeddedPod("job", "batch", labels={"app": "job"}, phase="Succeeded"),
    ]
    for pod in pods:
        embedded.add_pod(pod)
    yield embedded
    for pod in pods:
        embedded.delete_pod(pod.name, pod.namespace)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (PODS, ["demo", "web-0", "web-1"]),
        ("/api/v1/pods", ["job", "demo", "web-0", "web-1"]),
        ("/api/v1/namespaces/none/pods", []),
        (f"{PODS}?labelSelector=app%3Dweb", ["web-0", "web-1"]),
        (f"{PODS}?labelSelector=app%3D%3Dweb%2Ctier", ["web-0"]),
        (f"{PODS}?labelSelector=app%21%3Dweb", ["demo"]),
        (f"{PODS}?labelSelector=%21tier", ["demo", "web-1"]),
        (f"{PODS}?labelSelector=app+in+%28web%2Cjob%29%2C%21tier", ["web-1"]),
        ("/api/v1/pods?labelSelector=app+notin+%28web%29", ["job", "demo"]),
        (f"{PODS}?fieldSelector=metadata.name%3Dweb-1", ["web-1"]),
        ("/api/v1/pods?fieldSelector=status.phase%3DSucceeded", ["job"]),
        ("/api/v1/pods?fieldSelector=status.phase%21%3DRunning%2Cmetadata.namespace%3Ddefault", ["web-1"]),
    ],
)
def test_selectors(populated: EmbeddedCluster, query: str, expected: list[str]) -> None:
    assert names(populated, query) == expected


@pytest.mark.parametrize("query", ["fieldSelector=foo%3Dbar", "labelSelector=a%3D%3D%3Db", "fieldSelector=nonsense"])
def test_selectors_that_are_none_are_a_400(embedded: EmbeddedCluster, query: str) -> None:
    for watch in ("", "&watch=1"):
        answer = get(embedded, f"{PODS}?{query}{watch}")
        assert answer.status == 400
        assert json.loads(answer.body)["reason"] == "BadRequest"


def test_pods_as_a_table(populated: EmbeddedCluster) -> None:
    found = document(populated, "/api/v1/pods", TABLE)
    assert found["kind"] == "Table"
    columns = [column["name"] for column in found["columnDefinitions"] if not column["priority"]]
    assert columns == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert [row["cells"][:4] for row in found["rows"]] == [
        ["job", "0/1", "Completed", "0"],
        ["demo", "1/1", "Running", "0"],
        ["web-0", "1/1", "Running", "0"],
        ["web-1", "0/1", "Pending", "0"],
    ]


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        (f"{PODS}/nope", 404, 'pods "nope" not found'),
        ("/api/v1/namespaces/nope", 404, 'namespaces "nope" not found'),
        ("/api/v1/secrets", 404, "the server could not find the requested resource"),
        (f"{PODS}/demo/nope", 404, "the server could not find the requested resource"),
    ],
)
def test_what_is_not_there(embedded: EmbeddedCluster, target: str, status: int, message: str) -> None:
    answer = get(embedded, target)
    assert answer.status == status
    found = json.loads(answer.body)
    assert (found["kind"], found["status"], found["code"], found["message"]) == ("Status", "Failure", status, message)


def test_paths_that_are_no_api(embedded: EmbeddedCluster) -> None:
    assert (get(embedded, "/nope").status, get(embedded, "/nope").body) == (404, b"404 page not found\n")
    assert get(embedded, "/readyz").body == b"ok"
    assert get(embedded, "/api", method="PATCH").status == 405


# -- who is it ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "wrong", ""])
def test_without_the_token_everything_is_a_401(embedded: EmbeddedCluster, token: str | None) -> None:
    headers = [] if token else [("Authorization", "Bearer")]
    answer = get(embedded, PODS, headers, token=token or None)
    assert answer.status == 401
    assert json.loads(answer.body) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }


def test_a_rotated_token_is_the_only_one(embedded: EmbeddedCluster) -> None:
    old = embedded.token
    new = embedded.rotate_token()
    assert get(embedded, PODS, token=old).status == 401
    assert get(embedded, PODS, token=new).status == 200
    assert new in embedded.kubeconfig.read_text()
    assert embedded.kubeconfig.stat().st_mode & 0o777 == 0o600
    embedded.behaviour = Behaviour(unauthorized_tokens=frozenset({new}))
    assert get(embedded, PODS).status == 401
    assert new not in repr(embedded.behaviour)


@pytest.mark.parametrize("suffix", [f", {V5}", ""])
def test_a_token_in_a_subprotocol(embedded: EmbeddedCluster, suffix: str) -> None:
    token = base64.urlsafe_b64encode(embedded.token.encode()).decode().rstrip("=")
    offered = f"base64url.bearer.authorization.k8s.io.{token}{suffix}"
    with RawClient(embedded) as client:
        client.request(exec_target(["true"]), upgrade_headers(offered), token=None)
        answer = client.head()
    assert answer.status == (101 if suffix else 401)
    if suffix:
        assert answer.header("Sec-WebSocket-Protocol") == V5


def test_a_client_certificate_is_as_good_as_a_token(embedded: EmbeddedCluster, tmp_path: Path) -> None:
    issued = embedded.client_certificate("admin")
    file = tmp_path / "client.pem"
    file.write_bytes(issued.certificate + issued.key)
    context = ssl.create_default_context(cadata=embedded.ca_pem.decode())
    context.load_cert_chain(file)
    with RawClient(embedded, context=context) as client:
        client.request(PODS, token=None)
        assert client.answer().status == 200
        client.request(PODS, token="wrong")
        assert client.answer().status == 401
    assert b"PRIVATE" not in repr(issued).encode()


def test_requests_are_recorded_without_showing_secrets(embedded: EmbeddedCluster) -> None:
    get(embedded, f"{PODS}?a=1&b=&a=2", [("X-Test", "yes")])
    request = embedded.requests[-1]
    assert (request.method, request.path) == ("GET", PODS)
    assert request.query == (("a", "1"), ("b", ""), ("a", "2"))
    assert (request.header("x-test"), request.header("Authorization")) == ("yes", f"Bearer {embedded.token}")
    assert embedded.token not in repr(request)


@pytest.mark.parametrize(
    ("text", "value"), [("", False), ("x=", True), ("x=0", False), ("x=FALSE", False), ("x=1", True), ("x=no", True)]
)
def test_flags_are_parsed_as_go_does(embedded: EmbeddedCluster, text: str, value: bool) -> None:
    get(embedded, f"{PODS}?{text}")
    assert embedded.requests[-1].flag("x") is value


def test_a_prefix_stands_before_every_path() -> None:
    with EmbeddedCluster(prefix="/k8s/clusters/c-abc", quiet=True) as cluster:
        assert cluster.url.endswith("/k8s/clusters/c-abc")
        assert get(cluster, PODS).status == 200
        with RawClient(cluster) as client:
            client.prefix = ""
            client.request(PODS)
            assert client.answer().status == 404


def test_many_requests_use_one_connection(embedded: EmbeddedCluster) -> None:
    with RawClient(embedded) as client:
        for _ in range(20):
            client.request(PODS)
            assert client.answer().status == 200


@pytest.mark.parametrize("noise", [b"GARBAGE\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
def test_noise_is_refused(embedded: EmbeddedCluster, noise: bytes) -> None:
    with RawClient(embedded) as client:
        client.sock.sendall(noise + b"\r\n" * 4)
        assert client.head().status == 400
        assert client.ended()


def test_spdy_is_refused_in_words(embedded: EmbeddedCluster) -> None:
    headers = [("Upgrade", "SPDY/3.1"), ("Connection", "Upgrade"), ("Content-Length", "0")]
    answer = get(embedded, exec_target(["true"]), headers, method="POST")
    assert answer.status == 400
    assert "SPDY/3.1" in json.loads(answer.body)["message"]


# -- watches -----------------------------------------------------------------------------------------------------


class Watch:
    """A watch's events, one after the other."""

    def __init__(self, client: RawClient, query: str, accept: str = "*/*") -> None:
        self.client = client
        client.request(f"/api/v1/pods?watch=1&{query}", [("Accept", accept)])
        assert client.head().status == 200
        self.text = b""

    def next(self) -> tuple[str, dict[str, Any]] | None:
        while b"\n" not in self.text:
            size = int(self._line(), 16)
            while len(self.client.buffer) < size + 2:
                assert self.client.more()
            if size == 0:
                assert self._line() == b""
                return None
            self.text += self.client.buffer[:size]
            self.client.buffer = self.client.buffer[size + 2 :]
        line, _, self.text = self.text.partition(b"\n")
        event = json.loads(line)
        return event["type"], event["object"]

    def _line(self) -> bytes:
        while b"\r\n" not in self.client.buffer:
            assert self.client.more()
        line, _, self.client.buffer = self.client.buffer.partition(b"\r\n")
        return line


def test_a_watch_tells_what_happens(embedded: EmbeddedCluster) -> None:
    version = document(embedded, PODS)["metadata"]["resourceVersion"]
    with RawClient(embedded) as client:
        watch = Watch(client, f"resourceVersion={version}")
        embedded.add_pod(EmbeddedPod("new", labels={"a": "b"}))
        embedded.delete_pod("new")
        events = [watch.next() for _ in range(3)]
    kinds, objects = zip(*[event for event in events if event], strict=True)
    assert kinds == ("ADDED", "MODIFIED", "DELETED")
    assert [each["metadata"]["name"] for each in objects] == ["new"] * 3
    assert "deletionTimestamp" in objects[1]["metadata"]
    versions = [int(each["metadata"]["resourceVersion"]) for each in objects]
    assert versions == sorted(set(versions))
    with RawClient(embedded) as client:  # the same again from the log, filtered
        watch = Watch(client, f"resourceVersion={versions[0]}&labelSelector=a%3Db")
        found = [watch.next(), watch.next()]
        assert [event[0] for event in found if event] == ["MODIFIED", "DELETED"]


@pytest.mark.parametrize("query", ["", "resourceVersion=0", "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"])
def test_a_watch_from_now_begins_with_what_there_is(embedded: EmbeddedCluster, query: str) -> None:
    with RawClient(embedded) as client:
        watch = Watch(client, f"{query}&allowWatchBookmarks=true")
        first, second = watch.next(), watch.next()
    assert first is not None
    assert second is not None
    assert (first[0], first[1]["metadata"]["name"]) == ("ADDED", "demo")
    assert second[0] == "BOOKMARK"
    assert second[1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


def test_a_watch_ends_in_order_at_its_timeout(embedded: EmbeddedCluster) -> None:
    with RawClient(embedded) as client:
        watch = Watch(client, "timeoutSeconds=0.1&resourceVersion=100000")
        assert watch.next() is None
        client.request(PODS)  # on the same connection
        assert client.answer().status == 200


def test_a_watch_can_be_a_table(embedded: EmbeddedCluster) -> None:
    with RawClient(embedded) as client:
        event = Watch(client, "", TABLE).next()
    assert event is not None
    assert event[1]["rows"][0]["cells"][0] == "demo"


def test_too_old_a_version_is_told_by_an_event(embedded: EmbeddedCluster) -> None:
    embedded.add_pod(EmbeddedPod("short", containers=[EmbeddedContainer()], phase="Pending"))
    embedded.delete_pod("short")
    embedded.compact()
    with RawClient(embedded) as client:
        watch = Watch(client, "resourceVersion=1")
        event = watch.next()
        assert event is not None
        assert (event[0], event[1]["code"], event[1]["reason"]) == ("ERROR", 410, "Expired")
        assert watch.next() is None


def test_watches_that_are_refused(embedded: EmbeddedCluster) -> None:
    assert get(embedded, f"{PODS}?watch=1&sendInitialEvents=true").status == 422
    answer = get(embedded, f"{PODS}?watch=1&resourceVersion=abc")
    assert (answer.status, "reason" in json.loads(answer.body)) == (500, False)


def test_a_watch_ends_with_its_client(embedded: EmbeddedCluster) -> None:
    with RawClient(embedded) as client:
        Watch(client, "resourceVersion=100000")
    embedded.wait_for(lambda: embedded.connections == 0)
