"""What a port-forward goes to: which pod of several, and which of its ports; as kubectl finds them."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from kubex_stream import ApiError, ClientConfiguration, Forbidden, NotFound
from kubex_stream.api.targets import ForwardedPod, Target, find_pod
from kubex_stream.client import Response
from tests.client.memory import MemoryClient, refusal, scripted

pytestmark = pytest.mark.anyio

CLUSTER = ClientConfiguration(url="http://cluster.test", namespace="mine")
Object = dict[str, Any]


def answer(value: object) -> Response:
    return Response(200, [], json.dumps(value).encode())


def pods(*items: Object) -> Response:
    return answer({"kind": "PodList", "metadata": {}, "items": list(items)})


def pod(
    name: str = "web-0",
    *,
    phase: str | None = "Running",
    ready: str | None = "2026-01-01T00:00:00Z",
    created: str = "2026-01-01T00:00:00Z",
    deleted: bool = False,
    restarts: int = 0,
    ports: list[Object] | None = None,
    runtime: str | None = "containerd://abc",
) -> Object:
    metadata = {"name": name, "uid": f"uid of {name}", "creationTimestamp": created}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-02T00:00:00Z"
    conditions = [{"type": "Initialized", "status": "True"}]
    if ready is not None:
        conditions.append({"type": "Ready", "status": "True", "lastTransitionTime": ready})
    status: Object = {"conditions": conditions, "containerStatuses": [{"restartCount": restarts}]}
    if runtime is not None:
        status["containerStatuses"][0]["containerID"] = runtime
    if phase is not None:
        status["phase"] = phase
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "ports": ports or []}]}, "status": status}


def service(*ports: Object, cluster_ip: str = "10.0.0.1", selector: Object | None = None) -> Object:
    spec = {"clusterIP": cluster_ip, "ports": list(ports), "selector": {"app": "web"} if selector is None else selector}
    return {"metadata": {"name": "web"}, "spec": spec}


def forwarded(item: Object | None = None, of: Object | None = None) -> ForwardedPod:
    item = item or pod()
    return ForwardedPod(item["metadata"]["name"], "mine", "", "", item, of)


def asked(client: MemoryClient, number: int = -1) -> tuple[str, list[tuple[str, str]]]:
    parts = urlsplit(client.sent[number].url)
    return parts.path, parse_qsl(parts.query)


# Names of targets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("web", "pod"), ("pod/web", "pod"), ("pods/web", "pod"), ("po/web", "pod"), ("Pod/web", "pod"),
        ("svc/web", "service"), ("service/web", "service"), ("services/web", "service"),
        ("deploy/web", "deployment"), ("deployment/web", "deployment"), ("deployments.apps/web", "deployment"), ("rs/web", "replicaset"),
        ("sts/web", "statefulset"), ("ds/web", "daemonset"), ("rc/web", "replicationcontroller"), ("job/web", "job"), ("jobs.batch/web", "job"),
    ],
)  # fmt: skip
def test_targets_as_users_write_them(text: str, kind: str) -> None:
    target = Target.parse(text, "mine")
    assert (target.kind, target.name, target.namespace) == (kind, "web", "mine")
    assert str(target) == f"{kind}/web"


@pytest.mark.parametrize(
    "text", ["", "/", "svc/", "/web", "node/web", "svc/web/0", "Web", "..", "svc/..", "svc/a b", "a:80"]
)
def test_what_is_no_target(text: str) -> None:
    with pytest.raises(ValueError, match=r"name|nothing that has ports"):
        Target.parse(text, "mine")


@pytest.mark.parametrize("value", [None, 5, b"web", ["web"]], ids=repr)
def test_a_target_is_a_string(value: Any) -> None:
    with pytest.raises(TypeError, match="must be a string"):
        Target.parse(value, "mine")


def test_a_namespace_is_checked_too() -> None:
    with pytest.raises(ValueError, match="namespace"):
        Target.parse("web", "../kube-system")


# A pod itself -------------------------------------------------------------------------------------------------------------


async def test_a_pod_is_asked_for_and_described() -> None:
    async with scripted(answer(pod(runtime="cri-o://abc")), configuration=CLUSTER) as client:
        found = await find_pod(client, Target.parse("web-0", "mine"), headers={"X-Given": "1"})
    assert (found.name, found.uid, found.runtime, found.service) == ("web-0", "uid of web-0", "cri-o", None)
    assert asked(client) == ("/api/v1/namespaces/mine/pods/web-0", [])
    assert ("X-Given", "1") in client.sent[0].headers


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed", None])
async def test_a_pod_that_does_not_run_is_refused(phase: str | None) -> None:
    async with scripted(answer(pod(phase=phase)), configuration=CLUSTER) as client:
        with pytest.raises(ApiError, match=f"it is {phase or 'unknown'}, not Running") as caught:
            await find_pod(client, Target.parse("web-0", "mine"))
    assert caught.value.status_code == 409


async def test_a_pod_that_may_not_be_read_may_still_be_forwarded_to() -> None:
    async with scripted(refusal(403, message="no"), configuration=CLUSTER) as client:
        found = await find_pod(client, Target.parse("web-0", "mine"))
    assert (found.name, found.uid, found.runtime) == ("web-0", "", "")
    assert found.number(80) == 80
    with pytest.raises(NotFound, match="names none at all"):
        found.number("http")


async def test_no_such_pod() -> None:
    async with scripted(refusal(404, message="gone"), configuration=CLUSTER) as client:
        with pytest.raises(NotFound):
            await find_pod(client, Target.parse("web-0", "mine"))


@pytest.mark.parametrize("content", [b"", b"hello", b"[]", b"{}", b'{"metadata": 1}'])
async def test_an_answer_that_is_no_object(content: bytes) -> None:
    async with scripted(Response(200, [], content), configuration=CLUSTER) as client:
        with pytest.raises(ApiError, match="no Kubernetes object"):
            await find_pod(client, Target.parse("web-0", "mine"))


@pytest.mark.parametrize(
    ("container_id", "scheme"),
    [("containerd://abc", "containerd"), ("docker://abc", "docker"), ("odd", ""), (None, "")],
)
async def test_the_runtime_is_read_from_the_containers_ids(container_id: str | None, scheme: str) -> None:
    async with scripted(answer(pod(runtime=container_id)), configuration=CLUSTER) as client:
        assert (await find_pod(client, Target.parse("web-0", "mine"))).runtime == scheme


# A pod of a Service or a workload -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("svc/web", "/api/v1/namespaces/mine/services/web"),
        ("rc/web", "/api/v1/namespaces/mine/replicationcontrollers/web"),
        ("deploy/web", "/apis/apps/v1/namespaces/mine/deployments/web"),
        ("rs/web", "/apis/apps/v1/namespaces/mine/replicasets/web"),
        ("sts/web", "/apis/apps/v1/namespaces/mine/statefulsets/web"),
        ("ds/web", "/apis/apps/v1/namespaces/mine/daemonsets/web"),
        ("job/web", "/apis/batch/v1/namespaces/mine/jobs/web"),
    ],
)
async def test_an_owner_is_asked_for_and_its_selector_used(target: str, path: str) -> None:
    labels = {"app": "web", "tier": "front"}
    selector = labels if target.startswith(("svc", "rc")) else {"matchLabels": labels}
    owner = {"metadata": {"name": "web"}, "spec": {"selector": selector}}
    async with scripted(answer(owner), pods(pod()), configuration=CLUSTER) as client:
        found = await find_pod(client, Target.parse(target, "mine"))
    assert found.name == "web-0"
    assert (found.service is not None) is target.startswith("svc")
    assert asked(client, 0) == (path, [])
    assert asked(client, 1) == ("/api/v1/namespaces/mine/pods", [("labelSelector", "app=web,tier=front")])


async def test_expressions_of_a_selector() -> None:
    expressions = [
        {"key": "tier", "operator": "In", "values": ["front", "back"]},
        {"key": "track", "operator": "NotIn", "values": ["canary"]},
        {"key": "app", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    owner = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": expressions}},
    }
    async with scripted(answer(owner), pods(pod()), configuration=CLUSTER) as client:
        await find_pod(client, Target.parse("deploy/web", "mine"))
    assert asked(client)[1] == [("labelSelector", "a=b,tier in (front,back),track notin (canary),app,!old")]


@pytest.mark.parametrize("spec", [{}, {"selector": None}, {"selector": {}}, {"selector": {"matchLabels": {}}}])
async def test_an_owner_without_a_selector(spec: Object) -> None:
    target = "svc/web" if spec.get("selector") is None else "deploy/web"
    async with scripted(answer({"metadata": {"name": "web"}, "spec": spec}), configuration=CLUSTER) as client:
        with pytest.raises(ApiError, match="has no selector"):
            await find_pod(client, Target.parse(target, "mine"))


@pytest.mark.parametrize("items", [[], [pod(phase="Succeeded")], [pod(phase="Failed"), pod(phase=None)]])
async def test_an_owner_without_pods(items: list[Object]) -> None:
    async with scripted(answer(service()), pods(*items), configuration=CLUSTER) as client:
        with pytest.raises(NotFound, match="service/web has no running pod"):
            await find_pod(client, Target.parse("svc/web", "mine"))


async def test_an_owner_whose_pods_are_only_starting() -> None:
    async with scripted(answer(service()), pods(pod(phase="Pending", ready=None)), configuration=CLUSTER) as client:
        with pytest.raises(ApiError, match="it is Pending"):
            await find_pod(client, Target.parse("svc/web", "mine"))


async def test_no_such_owner() -> None:
    async with scripted(refusal(403, message="no"), refusal(404, message="none"), configuration=CLUSTER) as client:
        with pytest.raises(Forbidden):
            await find_pod(client, Target.parse("svc/web", "mine"))
        with pytest.raises(NotFound):
            await find_pod(client, Target.parse("deploy/web", "mine"))


@pytest.mark.parametrize(
    ("best", "other"),
    [
        (pod("a"), pod("b", phase="Pending", ready=None)),
        (pod("a"), pod("b", ready=None)),
        (pod("a", ready="2026-01-01T00:00:00Z"), pod("b", ready="2026-01-02T00:00:00Z")),
        (pod("a", ready="2026-01-02T00:00:00Z"), pod("b", ready="")),
        (pod("a", restarts=1), pod("b", restarts=2)),
        (pod("a", created="2026-01-01T00:00:00Z"), pod("b", created="2026-01-02T00:00:00Z")),
        (pod("a", ready=None, created="2026-01-01T00:00:00Z"), pod("b", ready=None, created="2026-01-02T00:00:00Z")),
        (pod("a", ready=None), pod("b", deleted=True)),
        (pod("a", ready="2026-01-09T00:00:00Z"), pod("b", deleted=True)),
    ],
    ids=[
        "running",
        "ready",
        "ready longer",
        "ready since",
        "restarts",
        "older",
        "older unready",
        "stays unready",
        "stays",
    ],
)
async def test_which_pod_of_two_is_taken(best: Object, other: Object) -> None:
    for items in ([best, other], [other, best]):
        async with scripted(answer(service()), pods(*items), configuration=CLUSTER) as client:
            assert (await find_pod(client, Target.parse("svc/web", "mine"))).name == "a"


async def test_a_pod_that_is_being_deleted_is_taken_where_there_is_no_other() -> None:
    async with scripted(answer(service()), pods(pod("a", deleted=True)), configuration=CLUSTER) as client:
        assert (await find_pod(client, Target.parse("svc/web", "mine"))).name == "a"


# Ports --------------------------------------------------------------------------------------------------------------------

TCP = {"containerPort": 8080, "name": "http"}
UDP = {"containerPort": 53, "name": "dns", "protocol": "UDP"}
BOTH = [{"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"}, UDP]


def test_ports_of_a_pod_by_number_and_name() -> None:
    target = forwarded(pod(ports=[TCP, *BOTH]))
    assert target.number("http") == target.service_number("http") == 8080
    assert target.number(8080) == 8080
    assert target.number(9999) == target.service_number(9999) == 9999  # what is not declared may still listen
    assert target.number(53) == target.number("dns-tcp") == 53


def test_a_name_that_the_pod_does_not_give() -> None:
    with pytest.raises(NotFound, match=r"'web-0' has no port named 'https'; it names dns, http"):
        forwarded(pod(ports=[TCP, UDP])).number("https")


def test_ports_of_other_containers_count() -> None:
    item = pod(ports=[TCP])
    item["spec"]["containers"].append({"name": "second", "ports": [{"containerPort": 9000, "name": "metrics"}]})
    item["spec"]["initContainers"] = [{"name": "sidecar", "ports": [{"containerPort": 9001, "name": "proxy"}]}]
    target = forwarded(item)
    assert [target.number(name) for name in ("http", "metrics", "proxy")] == [8080, 9000, 9001]


@pytest.mark.parametrize("port", [53, "dns"])
def test_a_port_for_udp_only_is_refused(port: int | str) -> None:
    with pytest.raises(ApiError, match="only TCP can be forwarded"):
        forwarded(pod(ports=[UDP])).number(port)
    with pytest.raises(ApiError, match="service 'web' is a port of UDP"):
        forwarded(of=service({"port": 53, "name": "dns", "protocol": "UDP"})).number(port)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_numbers_that_are_no_ports(port: int) -> None:
    for target in (forwarded(), forwarded(of=service({"port": 80}))):
        with pytest.raises(ValueError, match="from 1 to 65535"):
            target.number(port)


@pytest.mark.parametrize("port", [True, None, 80.0, b"80"], ids=repr)
def test_what_is_neither_number_nor_name(port: Any) -> None:
    with pytest.raises(TypeError):
        forwarded().number(port)


@pytest.mark.parametrize(
    ("entry", "cluster_ip", "expected"),
    [
        ({"port": 80, "targetPort": 8080}, "10.0.0.1", 8080),
        ({"port": 80, "targetPort": "http"}, "10.0.0.1", 8080),
        ({"port": 80}, "10.0.0.1", 80),
        ({"port": 80, "targetPort": 0}, "10.0.0.1", 80),
        ({"port": 80, "targetPort": ""}, "10.0.0.1", 80),
        ({"port": 80, "targetPort": 8080}, "None", 80),
        ({"port": 80, "targetPort": "http"}, "None", 80),
    ],
)
def test_a_services_port_is_translated(entry: Object, cluster_ip: str, expected: int) -> None:
    target = forwarded(pod(ports=[TCP]), of=service({**entry, "name": "web", "protocol": "TCP"}, cluster_ip=cluster_ip))
    assert target.number(80) == target.number("web") == expected
    assert target.service_number(80) == target.service_number("web") == 80


def test_a_service_has_its_own_ports_only() -> None:
    target = forwarded(pod(ports=[TCP]), of=service({"port": 80, "name": "web", "targetPort": 8080}))
    for port in (8080, "http"):
        with pytest.raises(NotFound, match=f"service 'web' has no port {port!r}"):
            target.number(port)
    with pytest.raises(NotFound, match="no port named 'nope'"):
        forwarded(pod(ports=[TCP]), of=service({"port": 80, "targetPort": "nope"})).number(80)


def test_of_a_number_that_a_service_has_twice_the_one_of_tcp_is_meant() -> None:
    both = service({"port": 53, "protocol": "UDP", "targetPort": 1}, {"port": 53, "protocol": "TCP", "targetPort": 2})
    assert forwarded(of=both).number(53) == 2
