"""Logs of the embedded cluster, asked for by clients that nobody here wrote: kubectl, ``kubernetes``, ``kubernetes_asyncio`` and kr8s."""

from __future__ import annotations

import http.client
import importlib.util
import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.testing.test_kubectl import kubectl_words

PATIENCE: Final = 60.0
SECOND: Final = 1_000_000_000
START: Final = 1_700_000_000 * SECOND
Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
PODS: Final = (
    EmbeddedPod("idle", restart_policy="Always", labels={"app": "x"}),
    EmbeddedPod(
        "talker",
        containers=[
            EmbeddedContainer(command=["sh", "-c", "echo out; sleep 0.2; echo err >&2; sleep 0.2; printf end"])
        ],
        labels={"app": "x"},
    ),
    EmbeddedPod(
        "failing", containers=[EmbeddedContainer(command=["false"])], restart_policy="Always", restart_delay=30
    ),
    EmbeddedPod("several", containers=[EmbeddedContainer("a"), EmbeddedContainer("b")]),
    EmbeddedPod("pending", phase="Pending"),
    EmbeddedPod("homeless", phase="Pending", scheduled=False),
)


@pytest.fixture
def cluster() -> Iterator[EmbeddedCluster]:
    """A cluster with pods that write."""
    with EmbeddedCluster(PODS, quiet=True) as cluster:
        yield cluster


@pytest.fixture(params=["path", "named"])
def kubectl(request: pytest.FixtureRequest, cluster: EmbeddedCluster, tmp_path: Path) -> Kubectl:
    """kubectl, of one version and of another."""
    words = [*kubectl_words(request.param), "--kubeconfig", str(cluster.kubeconfig), "--cache-dir", str(tmp_path)]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)

    return run


def request_of(cluster: EmbeddedCluster, target: str) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    context = ssl.create_default_context(cadata=cluster.ca_pem.decode())
    connection = http.client.HTTPSConnection("127.0.0.1", urlsplit(cluster.url).port, context=context, timeout=PATIENCE)
    with closing(connection):
        connection.request("GET", target, headers={"Authorization": f"Bearer {cluster.token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_kubectl_follows_to_the_end(kubectl: Kubectl) -> None:
    assert kubectl("logs", "-f", "talker").stdout == "out\nerr\nend"
    assert kubectl("logs", "talker", "--tail=1").stdout == "end"


def test_kubectl_reads_parts(kubectl: Kubectl, cluster: EmbeddedCluster) -> None:
    for number in range(3):
        cluster.write_log(b"line %d\n" % number, pod="idle", time_ns=START + number * SECOND)
    assert kubectl("logs", "idle", "--timestamps", "--tail=1").stdout == "2023-11-14T22:13:22.000000000Z line 2\n"
    assert kubectl("logs", "idle", "--since-time=2023-11-14T22:13:21Z").stdout == "line 1\nline 2\n"
    assert kubectl("logs", "idle", "--since=1h").stdout == ""
    assert kubectl("logs", "idle", "--limit-bytes=8").stdout == "line 0\nl"
    assert "[pod/idle/main] line 2\n" in kubectl("logs", "-l", "app=x", "--prefix", "--tail=1").stdout


def test_kubectl_after_a_restart(kubectl: Kubectl, cluster: EmbeddedCluster) -> None:
    missing = kubectl("logs", "-p", "idle")
    assert missing.stderr.rstrip() == (
        'Error from server (BadRequest): previous terminated container "main" in pod "idle" not found'
    )
    cluster.write_log(b"before\n", pod="idle")
    cluster.restart_container("idle")
    cluster.write_log(b"after\n", pod="idle")
    assert kubectl("logs", "-p", "idle").stdout == "before\n"
    assert kubectl("logs", "idle").stdout == "after\n"
    assert kubectl("get", "pod", "idle", "--no-headers").stdout.split()[:4] == ["idle", "1/1", "Running", "1"]


def test_a_rotated_log_can_no_longer_be_asked_for(kubectl: Kubectl, cluster: EmbeddedCluster) -> None:
    cluster.write_log(b"old\n", pod="idle")
    cluster.rotate_log("idle")
    cluster.write_log(b"new\n", pod="idle")
    assert kubectl("logs", "idle").stdout == "new\n"


def test_refusals_are_those_of_a_real_server(kubectl: Kubectl) -> None:
    assert '(NotFound): pods "nobody" not found' in kubectl("logs", "nobody").stderr
    assert "container c is not valid for pod several" in kubectl("logs", "several", "-c", "c").stderr
    assert kubectl("logs", "pending").stderr.rstrip() == (
        'Error from server (BadRequest): container "main" in pod "pending" is waiting to start: ContainerCreating'
    )


def test_restarts_are_seen_as_a_crash_loop(kubectl: Kubectl, cluster: EmbeddedCluster) -> None:
    cluster.wait_for(lambda: cluster.restarts("failing") == 1)
    kubectl("wait", "pod/failing", "--for=jsonpath={.status.containerStatuses[0].state.waiting}", "--timeout=20s")
    assert kubectl("get", "pod", "failing", "--no-headers").stdout.split()[1:4] == ["0/1", "CrashLoopBackOff", "1"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("tailLines=-1", 422, 'The PodLogOptions "several" is invalid: tailLines: Invalid value: -1: must be greater'),
        ("limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        ("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, "at most one of `sinceTime` or `sinceSeconds`"),
        ("stream=All", 422, "stream: Forbidden: may not be specified"),
        ("tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("sinceTime=x", 400, "cannot parse"),
        ("", 400, "a container name must be specified for pod several, choose one of: [a b]"),
        ("container=c", 400, "container c is not valid for pod several"),
    ],
)
def test_options_that_a_server_refuses(cluster: EmbeddedCluster, query: str, status: int, words: str) -> None:
    code, body = request_of(cluster, f"/api/v1/namespaces/default/pods/several/log?{query}")
    assert code == status
    assert words in json.loads(body)["message"]


def test_a_pod_without_a_node_has_no_content(cluster: EmbeddedCluster) -> None:
    assert request_of(cluster, "/api/v1/namespaces/default/pods/homeless/log") == (204, b"")


def test_a_long_line_is_in_pieces_of_which_the_first_has_the_time(cluster: EmbeddedCluster) -> None:
    cluster.write_log(b"x" * 40_000 + b"\n", pod="idle", time_ns=START)
    path = "/api/v1/namespaces/default/pods/idle/log"
    assert (
        request_of(cluster, f"{path}?timestamps=true")[1] == b"2023-11-14T22:13:20.000000000Z " + b"x" * 40_000 + b"\n"
    )
    assert request_of(cluster, f"{path}?tailLines=1")[1] == b"x" * (40_000 - 2 * 16_384) + b"\n"


def test_what_cannot_be_done_to_a_log(cluster: EmbeddedCluster) -> None:
    with pytest.raises(LookupError, match="no container 'none' in pod 'idle'"):
        cluster.write_log(b"x", pod="idle", container="none")
    with pytest.raises(ValueError, match="restart_policy='Never'"):
        cluster.restart_container("talker")
    assert cluster.fail_logs() == 0


PROGRAM: Final = """
import asyncio, importlib, json, sys
client, kubeconfig = sys.argv[1:]
lines = []
if client == "kubernetes":
    from kubernetes import client, config, watch
    config.load_kube_config(kubeconfig)
    api = client.CoreV1Api()
    for line in watch.Watch().stream(api.read_namespaced_pod_log, "talker", "default"):
        lines.append(line)
    lines.append(api.read_namespaced_pod_log("idle", "default"))
elif client == "kr8s":
    import kr8s.asyncio
    from kr8s.asyncio.objects import Pod
    async def main():
        api = await kr8s.asyncio.api(kubeconfig=kubeconfig)
        talker = await Pod.get("talker", namespace="default", api=api)
        async for line in talker.logs(follow=True, timeout=30):
            lines.append(line)
        idle = await Pod.get("idle", namespace="default", api=api)
        lines.extend([line + "\\n" async for line in idle.logs()])
    asyncio.run(main())
else:
    from kubernetes_asyncio import client, config, watch
    async def main():
        await config.load_kube_config(kubeconfig)
        async with client.ApiClient() as made:
            api = client.CoreV1Api(made)
            async with watch.Watch().stream(api.read_namespaced_pod_log, "talker", "default") as stream:
                async for line in stream:
                    lines.append(line)
            lines.append(await api.read_namespaced_pod_log("idle", "default"))
    asyncio.run(main())
print(json.dumps(lines))
"""


@pytest.mark.parametrize("client", ["kubernetes", "kubernetes_asyncio", "kr8s"])
def test_other_clients(client: str, cluster: EmbeddedCluster) -> None:
    if importlib.util.find_spec(client) is None:
        pytest.skip(f"the {client} package is not installed")
    cluster.write_log(b"text\n", pod="idle")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, client, str(cluster.kubeconfig)],
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert [line.strip() for line in json.loads(done.stdout)[:2]] == ["out", "err"]  # one of them loses the end
    assert json.loads(done.stdout)[-1] == "text\n"


def test_an_answer_that_is_cut_after_some_bytes(cluster: EmbeddedCluster) -> None:
    cluster.behaviour = Behaviour(log_cut_after_bytes=5)
    cluster.write_log(b"0123456789\n", pod="idle")
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        request_of(cluster, "/api/v1/namespaces/default/pods/idle/log")
