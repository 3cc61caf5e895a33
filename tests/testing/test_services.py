"""Services and workloads of the embedded cluster, and the ports that pods declare."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kubex_stream.testing import (
    Behaviour,
    EmbeddedCluster,
    EmbeddedContainer,
    EmbeddedPod,
    EmbeddedPort,
    EmbeddedService,
    EmbeddedServicePort,
    EmbeddedWorkload,
)
from kubex_stream.testing.__main__ import pods_from_json
from tests.testing.raw_client import Answer, RawClient
from tests.testing.raw_tunnel import RawTunnel, data_frame

CORE, APPS = "/api/v1/namespaces/default", "/apis/apps/v1/namespaces/default"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
TABLE = [("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")]


def _get(
    cluster: EmbeddedCluster, path: str, headers: list[tuple[str, str]] | None = None, *, method: str = "GET"
) -> Answer:
    with RawClient(cluster) as client:
        client.request(path, headers, method=method)
        return client.answer()


def _document(cluster: EmbeddedCluster, path: str, headers: list[tuple[str, str]] | None = None) -> Any:
    return json.loads(_get(cluster, path, headers).body)


@pytest.fixture(scope="module")
def web() -> Iterator[EmbeddedCluster]:
    pods = [
        EmbeddedPod("web-0", labels={"app": "web"}, ports=[EmbeddedPort(8080, target="http", name="http")]),
        EmbeddedPod("web-1", labels={"app": "web"}, phase="Pending", scheduled=False),
    ]
    services = [
        EmbeddedService("web", ports=[EmbeddedServicePort(80, "http")], selector={"app": "web"}, labels={"tier": "x"}),
        EmbeddedService("bare", ports=[EmbeddedServicePort(53, protocol="UDP")], cluster_ip="None"),
        EmbeddedService("far", "elsewhere"),
    ]
    kinds = ("Deployment", "ReplicaSet", "StatefulSet")
    workloads = [EmbeddedWorkload(kind, "web", selector={"app": "web"}) for kind in kinds]  # type: ignore[arg-type]
    with EmbeddedCluster(pods, services=services, workloads=workloads, quiet=True) as cluster:
        yield cluster


def test_a_service(web: EmbeddedCluster) -> None:
    service = _document(web, f"{CORE}/services/web")
    assert (service["kind"], service["metadata"]["name"]) == ("Service", "web")
    assert service["spec"]["selector"] == {"app": "web"}
    assert service["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": "http"}]
    socket.inet_aton(service["spec"]["clusterIP"])
    headless = _document(web, f"{CORE}/services/bare")["spec"]
    assert headless["clusterIP"] == "None"
    assert "selector" not in headless
    assert headless["ports"] == [{"port": 53, "protocol": "UDP", "targetPort": 53}]


@pytest.mark.parametrize("resource", ["deployments", "replicasets", "statefulsets"])
def test_a_workload(web: EmbeddedCluster, resource: str) -> None:
    found = _document(web, f"{APPS}/{resource}/web")
    assert found["apiVersion"] == "apps/v1"
    assert found["spec"]["selector"] == {"matchLabels": {"app": "web"}}
    assert found["status"]["readyReplicas"] == 1
    assert [item["metadata"]["name"] for item in _document(web, f"/apis/apps/v1/{resource}")["items"]] == ["web"]


def test_lists_and_tables(web: EmbeddedCluster) -> None:
    def names(path: str) -> list[str]:
        return [item["metadata"]["name"] for item in _document(web, path)["items"]]

    assert names(f"{CORE}/services") == ["bare", "web"]
    assert names("/api/v1/services") == ["bare", "web", "far"]
    assert names(f"{CORE}/services?labelSelector=tier") == ["web"]
    assert names(f"{CORE}/services?fieldSelector=metadata.name%3Dbare") == ["bare"]
    assert _document(web, f"{APPS}/deployments")["kind"] == "DeploymentList"
    rows = {row["cells"][0]: row["cells"] for row in _document(web, f"{CORE}/services", TABLE)["rows"]}
    assert rows["web"][4] == "80/TCP"
    assert rows["bare"][2] == "None"
    (row,) = _document(web, f"{APPS}/statefulsets/web", TABLE)["rows"]
    assert row["cells"][:2] == ["web", "1/1"]


def test_what_is_not_there(web: EmbeddedCluster) -> None:
    missing = _document(web, f"{APPS}/deployments/nope")
    assert missing["message"] == 'deployments.apps "nope" not found'
    assert missing["details"] == {"name": "nope", "group": "apps", "kind": "deployments"}
    assert _document(web, f"{CORE}/services/nope")["message"] == 'services "nope" not found'
    assert _get(web, f"{APPS}/daemonsets").status == 404
    assert _get(web, f"{CORE}/deployments").status == 404
    assert _get(web, f"{CORE}/services/web", method="DELETE").status == 405
    assert _get(web, f"{CORE}/services?watch=true").status == 405
    assert _get(web, f"{CORE}/services?fieldSelector=nonsense").status == 400


def test_who_may(web: EmbeddedCluster) -> None:
    web.behaviour = Behaviour(rbac="nobody")
    try:
        message = _document(web, f"{APPS}/deployments/web")["message"]
    finally:
        web.behaviour = Behaviour()
    assert message == (
        'deployments.apps "web" is forbidden: User "nobody" cannot get resource "deployments" in API group "apps" '
        'in the namespace "default"'
    )


def test_adding_and_removing(web: EmbeddedCluster) -> None:
    service, workload = EmbeddedService("more", "more"), EmbeddedWorkload("ReplicaSet", "more", "more", {"a": "b"})
    web.add_service(service)
    web.add_workload(workload)
    assert _get(web, "/api/v1/namespaces/more").status == 200
    assert _get(web, "/api/v1/namespaces/more/services/more").status == 200
    with pytest.raises(ValueError, match="exists"):
        web.add_service(service)
    with pytest.raises(ValueError, match="exists"):
        web.add_workload(workload)
    web.remove_service("more", "more")
    web.remove_workload("ReplicaSet", "more", "more")
    assert _get(web, "/api/v1/namespaces/more/services/more").status == 404
    with pytest.raises(LookupError, match="no Service"):
        web.remove_service("more", "more")
    with pytest.raises(LookupError, match="no ReplicaSet"):
        web.remove_workload("ReplicaSet", "more", "more")


def test_ports_stand_in_the_pod(web: EmbeddedCluster) -> None:
    containers = _document(web, f"{CORE}/pods/web-0")["spec"]["containers"]
    assert containers[0]["ports"] == [{"containerPort": 8080, "name": "http", "protocol": "TCP"}]
    two = EmbeddedPod(
        "two",
        containers=[EmbeddedContainer("a"), EmbeddedContainer("b")],
        ports=[EmbeddedPort(53, protocol="UDP", container="b"), EmbeddedPort(53, target="banner")],
    )
    web.add_pod(two)
    try:
        containers = _document(web, f"{CORE}/pods/two")["spec"]["containers"]
        assert [container["ports"] for container in containers] == [
            [{"containerPort": 53, "protocol": "TCP"}],
            [{"containerPort": 53, "protocol": "UDP"}],
        ]
    finally:
        web.delete_pod("two")


def test_discovery_in_both_forms(web: EmbeddedCluster) -> None:
    assert _document(web, "/api")["versions"] == ["v1"]
    (apps,) = _document(web, "/apis")["groups"]
    assert apps == {key: value for key, value in _document(web, "/apis/apps").items() if key in apps}
    kinds = {each["name"]: each["kind"] for each in _document(web, "/apis/apps/v1")["resources"]}
    assert kinds == {"deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet"}
    assert _get(web, "/apis/v1").status == _get(web, "/api/apps/v1").status == 404
    assert {each["name"] for each in _document(web, "/api/v1")["resources"]} >= {
        "pods",
        "pods/exec",
        "pods/portforward",
        "namespaces",
        "services",
    }
    aggregated = _document(web, "/api", [("Accept", AGGREGATED)])
    assert aggregated["kind"] == "APIGroupDiscoveryList"
    pods = next(each for each in aggregated["items"][0]["versions"][0]["resources"] if each["resource"] == "pods")
    assert {each["subresource"] for each in pods["subresources"]} == {"exec", "attach", "portforward"}
    (group,) = _document(web, "/apis", [("Accept", AGGREGATED)])["items"]
    assert group["metadata"] == {"name": "apps"}
    assert {each["resource"] for each in group["versions"][0]["resources"]} == kinds.keys()
    assert _document(web, "/version")["gitVersion"].startswith("v1.")


def test_the_container_runtime_shows(web: EmbeddedCluster) -> None:
    def ids() -> set[str]:
        statuses = _document(web, f"{CORE}/pods/web-0")["status"]["containerStatuses"]
        return {status["containerID"].partition("://")[0] for status in statuses}

    assert ids() == {"containerd"}
    web.behaviour = Behaviour(half_close=True)
    assert ids() == {"cri-o"}
    web.behaviour = Behaviour()
    assert ids() == {"containerd"}


def test_the_default_cluster_is_ready_for_a_port_forward() -> None:
    with EmbeddedCluster(quiet=True) as cluster:
        service = _document(cluster, f"{CORE}/services/demo")
        assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(80, "http"), (7, "echo")]
        assert _document(cluster, f"{APPS}/deployments/demo")["status"]["readyReplicas"] == 1
        with RawTunnel(cluster) as tunnel:
            _, data = tunnel.connect(7)
            tunnel.send(data_frame(data, b"hello"))
            tunnel.until(lambda: tunnel.streams[data].data == b"hello")


def test_http_of_the_default_pod() -> None:
    requests = (
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"demo\n"),
        (b"GET /bytes/100000?x HTTP/1.1\r\nHost: x\r\n\r\n", b"x" * 100_000),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n", b"404 page not found\n"),
        (b"GET /bytes/0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b""),
    )
    with EmbeddedCluster(quiet=True) as cluster, RawTunnel(cluster) as tunnel:
        error, data = tunnel.connect(80)
        said = tunnel.streams[data].data
        for request, body in requests:
            said.clear()
            tunnel.send(data_frame(data, request))
            tunnel.until(lambda: b"\r\n\r\n" in said)
            head, _, _ = said.partition(b"\r\n\r\n")
            assert b"Content-Length: %d" % len(body) in head
            size = len(head) + 4 + len(body)
            tunnel.until(lambda size=size: len(said) == size)
            assert said.endswith(body)
        tunnel.until(lambda: tunnel.streams[data].ended and tunnel.streams[error].ended)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EmbeddedPort(0), "from 1 to 65535, not 0"),
        (lambda: EmbeddedPort(True), "not True"),
        (lambda: EmbeddedPort(80, target="nope"), "no built-in service 'nope'; there are echo"),
        (lambda: EmbeddedPort(80, target=("127.0.0.1", 0)), "a target's port"),
        (lambda: EmbeddedPort(80, target=("127.0.0.1",)), "a pair"),  # type: ignore[arg-type]
        (lambda: EmbeddedPort(80, target=70_000), "a target's port"),
        (lambda: EmbeddedPort(80, name="HTTP"), "lower-case"),
        (lambda: EmbeddedPort(80, protocol="tcp"), "TCP, UDP or SCTP"),  # type: ignore[arg-type]
        (lambda: EmbeddedPod("x", ports=[EmbeddedPort(80), EmbeddedPort(80)]), "numbers and names that differ"),
        (
            lambda: EmbeddedPod("x", ports=[EmbeddedPort(80, name="a"), EmbeddedPort(81, name="a")]),
            "numbers and names that differ",
        ),
        (lambda: EmbeddedPod("x", ports=[EmbeddedPort(80, container="nope")]), "no 'nope'"),
        (lambda: EmbeddedService("X"), "a Service's name"),
        (lambda: EmbeddedServicePort(0), "a Service's port"),
        (lambda: EmbeddedServicePort(80, protocol="tcp"), "TCP, UDP or SCTP"),  # type: ignore[arg-type]
        (lambda: EmbeddedService("x", ports=[EmbeddedServicePort(1), EmbeddedServicePort(2)]), "names that differ"),
        (lambda: EmbeddedWorkload("DaemonSet", "x", selector={"a": "b"}), "not a 'DaemonSet'"),  # type: ignore[arg-type]
        (lambda: EmbeddedWorkload("Deployment", "x"), "needs a selector"),
    ],
)
def test_declarations_that_cannot_be(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_ports_from_json() -> None:
    ports = [{"number": 80, "target": "http", "name": "http"}, {"number": 6379, "target": ["127.0.0.1", 6379]}]
    (pod,) = pods_from_json(json.dumps([{"name": "web", "ports": ports}]))
    assert pod.ports == (EmbeddedPort(80, target="http", name="http"), EmbeddedPort(6379, target=("127.0.0.1", 6379)))
