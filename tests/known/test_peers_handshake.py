"""Handshakes, credentials, gateways: what users of other clients complain of.  Numbers are those of the table in README.md."""

from __future__ import annotations

import json

import anyio
import pytest

from kubex_stream import (
    ApiError,
    BaseClient,
    ClientConfiguration,
    ClientOptions,
    ConnectionFailed,
    Forbidden,
    Impersonation,
    NotFound,
    Observer,
    Pods,
    StartError,
    StreamTimeout,
    TooManyRequests,
    Unauthorized,
)
from kubex_stream.client import Request
from kubex_stream.testing import (
    OLD_PROTOCOLS,
    Behaviour,
    EmbeddedCluster,
    EmbeddedContainer,
    EmbeddedPod,
    HttpFailure,
)
from kubex_stream.testing.conformance.raw import Head, RawServer, proxy_handler, response
from tests.known.conftest import OpenPods
from tests.known.wire import V4, V5

pytestmark = pytest.mark.anyio

STATUS = {
    "kind": "Status",
    "status": "Failure",
    "message": "etcd has no leader",
    "reason": "InternalError",
    "code": 500,
}


async def test_one_client_for_several_tasks_broke(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """47: kubernetes-client/python #928 "flask app multithread...: ApiException(0) Handshake status 200 OK": a stream changed the client
    for as long as it was open, so requests of others became handshakes and the other way round."""
    async with open_pods(cluster.configuration) as pods, anyio.create_task_group() as tasks:

        async def command(number: int) -> None:
            assert (await pods.exec.run("demo", ["echo", str(number)])).stdout == b"%d\n" % number

        async def request() -> None:
            assert (await pods.get("demo"))["metadata"]["name"] == "demo"

        for number in range(20):
            tasks.start_soon(command, number)
            tasks.start_soon(request)


async def test_a_refused_handshake_was_a_text_with_status_0(open_pods: OpenPods) -> None:
    """48, 49, 50, 51: kubernetes-client/python #1981 "Forbidden 403 for connect_get_namespaced_pod_exec()", #690, #144, #2297 "`Handshake
    status 401 Unauthorized`", #739 "Handshake status 500", aio-libs/aiohttp #2279 "Response not passed to WSServerHandshakeError"."""
    failing = HttpFailure(500, json.dumps(STATUS).encode(), path="/namespaces/broken/")
    pods_of_cluster = [EmbeddedPod("demo"), EmbeddedPod("demo", namespace="broken")]
    async with EmbeddedCluster(pods_of_cluster, quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        cluster.behaviour = Behaviour(failures=(failing,))
        refused: list[tuple[type[ApiError], int, str]] = []
        for name, namespace in (("nope", "default"), ("demo", "broken")):
            with pytest.raises(ApiError) as raised:
                await pods.exec.run(name, ["true"], namespace=namespace)
            assert raised.value.status is not None
            refused.append((type(raised.value), raised.value.status_code, raised.value.status.message))
        cluster.behaviour = Behaviour(rbac="nobody")
        with pytest.raises(Forbidden) as forbidden:
            await pods.exec.run("demo", ["true"])
        assert forbidden.value.status is not None
        assert (forbidden.value.status_code, forbidden.value.status.reason) == (403, "Forbidden")
        cluster.rotate_token()
        with pytest.raises(Unauthorized) as unauthorized:
            await pods.exec.run("demo", ["true"])
        assert unauthorized.value.status is not None
        assert (unauthorized.value.status_code, unauthorized.value.status.reason) == (401, "Unauthorized")
    assert refused == [(NotFound, 404, 'pods "nope" not found'), (StartError, 500, "etcd has no leader")]


async def test_a_container_that_is_gone_was_a_handshake_status_500(open_pods: OpenPods) -> None:
    """50: inspect_k8s_sandbox #39 "...container not found"."""
    done = EmbeddedPod("done", phase="Succeeded")
    for way in ("kubelet", "apiserver"):
        behaviour = Behaviour(way="apiserver" if way == "apiserver" else "kubelet")
        async with EmbeddedCluster([done], behaviour=behaviour, quiet=True) as cluster:
            async with open_pods(cluster.configuration) as pods:
                for protocol in (V4, V5):
                    with pytest.raises(StartError, match="container not found"):
                        await pods.exec.run("done", ["true"], protocols=[protocol])


async def test_a_handshake_had_other_credentials_than_a_request(open_pods: OpenPods) -> None:
    """52: kubernetes-client/python #2595 "v36.0.0 regression: exec WebSocket returns 401 on AKS"."""
    async with EmbeddedCluster(quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        await pods.get("demo")
        await pods.exec.run("demo", ["true"])
        plain, handshake = cluster.requests
        assert plain.header("Authorization") == handshake.header("Authorization") == f"Bearer {cluster.token}"
        assert plain.header("User-Agent") == handshake.header("User-Agent")


async def test_headers_of_ones_own_did_not_reach_the_handshake(open_pods: OpenPods) -> None:
    """53: kubernetes-client/python #2510 "Broken websocket client on custom authorization header names", #362 (impersonation)."""
    async with EmbeddedCluster(quiet=True) as cluster:
        configuration = cluster.configuration.model_copy(
            update={"impersonate": Impersonation(user="jane", groups=["a", "b"])}
        )
        async with open_pods(configuration, headers={"X-Gateway-Token": "g"}) as pods:
            await pods.exec.run("demo", ["true"], headers={"X-Audit": "42"})
        request = cluster.requests[-1]
        assert [request.header(name) for name in ("X-Gateway-Token", "X-Audit")] == ["g", "42"]
        identity = [(name.lower(), value) for name, value in request.headers if name.lower().startswith("impersonate-")]
        assert identity == [("impersonate-user", "jane"), ("impersonate-group", "a"), ("impersonate-group", "b")]


async def test_credentials_that_had_expired_were_not_renewed_for_a_handshake(open_pods: OpenPods) -> None:
    """54: kubernetes_asyncio #257 "Refresh exec-based API credentials when they expire", godaddy/kubernetes-client #373."""
    async with EmbeddedCluster(quiet=True) as cluster:
        asked: list[str] = []

        async def token() -> str:
            asked.append(cluster.token if asked else "expired")
            return asked[-1]

        configuration = cluster.configuration.model_copy(update={"token": token})
        async with open_pods(configuration) as pods:
            assert (await pods.exec.run("demo", ["echo", "hi"])).stdout == b"hi\n"
            await pods.exec.run("demo", ["true"])
        sent = [request.header("Authorization") for request in cluster.requests]
        assert sent == ["Bearer expired", f"Bearer {cluster.token}", f"Bearer {cluster.token}"]


async def test_a_proxy_was_for_requests_only(
    open_pods: OpenPods, cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """55: kubernetes-client/python #2321 "WebSocket connections make use of environment vars for PROXY", python-base #255 (a password
    for the proxy), #259 (no_proxy), #156 and #270 (SOCKS, which is refused in words)."""
    heads: list[Head] = []
    with RawServer(proxy_handler(heads)) as proxy:
        url = proxy.url.replace("://", "://user:word@")
        async with open_pods(cluster.configuration.model_copy(update={"proxy_url": url})) as pods:
            assert (await pods.exec.run("demo", ["echo", "hi"])).stdout == b"hi\n"
            assert (await pods.get("demo"))["metadata"]["name"] == "demo"
    assert [head.method for head in heads] == ["CONNECT"] * 2
    assert {head.one("Proxy-Authorization") for head in heads} == {"Basic dXNlcjp3b3Jk"}

    heads.clear()
    monkeypatch.setenv("NO_PROXY", "example.test")
    far = ClientConfiguration(
        url="https://cluster.test:6443"
    )  # addresses of this machine go through no proxy of the environment
    with RawServer(proxy_handler(heads, response("403 Forbidden", b"no"))) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with open_pods(far, trust_env=True) as pods:
            for attempt in (pods.get("demo"), pods.exec.run("demo", ["true"])):
                with pytest.raises(ConnectionFailed, match=r"403"):
                    await attempt
        async with open_pods(cluster.configuration, trust_env=True) as pods:
            assert (await pods.exec.run("demo", ["echo", "hi"])).stdout == b"hi\n"
    assert [head.target for head in heads] == ["cluster.test:6443"] * 2
    with pytest.raises(ValueError, match="SOCKS is not supported"):
        ClientOptions(proxy="socks5://127.0.0.1:1080")


async def test_tls_server_name_was_for_requests_only(open_pods: OpenPods, cluster: EmbeddedCluster) -> None:
    """56: kubernetes_asyncio #267 "Client doesn't honor `tls-server-name`", cyberark/conjur #2181: handshakes without it."""
    for name, right in (("localhost", True), ("other.test", False)):
        async with open_pods(cluster.configuration.model_copy(update={"tls_server_name": name})) as pods:
            for attempt in (pods.get("demo"), pods.exec.run("demo", ["true"])):
                if right:
                    await attempt
                    continue
                with pytest.raises(ConnectionFailed, match=r"certificate verify failed.*other\.test"):
                    await attempt


async def test_a_gateway_without_websockets_or_v5_was_a_riddle(open_pods: OpenPods) -> None:
    """57: gravitational/teleport #15474 and PR #55696, portainer #12880, rancher #14328."""
    async with EmbeddedCluster(quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        cluster.behaviour = Behaviour(failures=(HttpFailure(200, b"<html>log in</html>"),))
        with pytest.raises(ApiError, match="200 instead of 101: whatever answered does not speak WebSocket here"):
            await pods.exec.run("demo", ["true"])
        cluster.behaviour = Behaviour(failures=(HttpFailure(302, headers={"Location": "https://login.invalid/"}),))
        with pytest.raises(ApiError, match="redirects are not followed"):
            await pods.exec.run("demo", ["true"])
        cluster.behaviour = Behaviour(protocols=OLD_PROTOCOLS)
        with pytest.raises(Forbidden, match=r"none of the offered subprotocols: v5\.channel\.k8s\.io"):
            await pods.exec.run("demo", ["true"], protocols=[V5])
        assert (await pods.exec.run("demo", ["echo", "hi"], protocols=[V4])).stdout == b"hi\n"


async def test_a_403_did_not_say_which_verb_was_missing(open_pods: OpenPods) -> None:
    """58: kubernetes/kubernetes #78741 and PR #134577, paperclip-operator PR #17: `get` for some versions, `create` for others."""
    async with EmbeddedCluster(behaviour=Behaviour(rbac="reader"), quiet=True) as cluster:
        async with open_pods(cluster.configuration) as pods:
            for attempt in (lambda: pods.exec.run("demo", ["true"]), lambda: attached(pods)):
                with pytest.raises(
                    Forbidden, match=r"`get` and, since Kubernetes 1\.35, `create` on `pods/(exec|attach)`"
                ):
                    await attempt()


async def attached(pods: Pods) -> None:
    """Attach, which is refused."""
    async with pods.attach.stream("demo"):
        raise AssertionError("it was allowed")


async def test_which_container_was_a_riddle(open_pods: OpenPods) -> None:
    """59: kubernetes-client/python #409 "Upgrade request required", #2092, #585, #417, kubernetes.core #358."""
    box = EmbeddedPod("box", containers=[EmbeddedContainer("main"), EmbeddedContainer("side")])
    async with EmbeddedCluster([box], quiet=True) as cluster, open_pods(cluster.configuration) as pods:
        with pytest.raises(
            ApiError, match=r"a container name must be specified for pod box, choose one of: \[main side\]"
        ):
            await pods.exec.run("box", ["true"])
        with pytest.raises(ApiError, match="container other is not valid for pod box"):
            await pods.exec.run("box", ["true"], container="other")
        assert (await pods.exec.run("box", ["true"], container="side")).exit_code == 0
        query = [("command", "true"), ("container", "main"), ("stdout", "1")]
        plain = Request(path="/api/v1/namespaces/default/pods/box/exec", query=query)
        with pytest.raises(ApiError, match="Upgrade request required"):
            await pods.client.request(plain)


async def test_a_handshake_could_hang_for_ever(open_pods: OpenPods) -> None:
    """60: harbor PR #3134 "bound the DinD exec websocket connect time", kubernetes-client/python #602, #603."""
    async with EmbeddedCluster(behaviour=Behaviour(hang_handshake=True), quiet=True) as cluster:
        async with open_pods(cluster.configuration, open_timeout=0.2) as pods:
            with anyio.fail_after(20), pytest.raises(StreamTimeout, match=r"^opening /api"):
                await pods.exec.run("demo", ["true"])
            with anyio.fail_after(20), pytest.raises(StreamTimeout):
                await pods.exec.run("demo", ["true"], request_timeout=0.1)
            assert (await pods.get("demo"))["metadata"]["name"] == "demo"


async def test_a_busy_server_failed_a_burst(open_pods: OpenPods) -> None:
    """60: daytona PR #4527 (many handshakes at once), langsmith-sdk PR #3493 (429 with Retry-After)."""
    retried: list[tuple[int, float]] = []

    class Noting(Observer):
        def retried(self, path: str, error: Exception, delay: float) -> None:
            assert path.endswith("/exec")
            assert isinstance(error, ApiError)
            retried.append((error.status_code, delay))

    busy = Behaviour(failures=(HttpFailure(429, b"slow down", headers={"Retry-After": "0"}, times=5),))
    async with (
        EmbeddedCluster(behaviour=busy, quiet=True) as cluster,
        open_pods(cluster.configuration, observer=Noting(), retries=5) as pods,
    ):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(pods.exec.run, "demo", ["true"])
        assert retried == [(429, 0.0)] * 5
        cluster.behaviour = Behaviour(failures=(HttpFailure(429, headers={"Retry-After": "1000"}),))
        with pytest.raises(TooManyRequests) as raised:
            await pods.exec.run("demo", ["true"])
        assert raised.value.retry_after == 1000


async def test_errors_and_reprs_showed_the_token(open_pods: OpenPods, backend: str) -> None:
    """49: kubernetes-client/python #2297 and its like ask for what was sent to be shown; never with the credentials in it."""
    async with EmbeddedCluster(quiet=True) as cluster:
        configuration: ClientConfiguration = cluster.configuration.model_copy(update={"token": "hunter2-token"})
        async with open_pods(configuration) as pods:
            client: BaseClient = pods.client
            with pytest.raises(Unauthorized) as raised:
                await pods.exec.run("demo", ["true"])
        shown = f"{raised.value!r} {raised.value} {client!r} {configuration!r}"
        assert "hunter2" not in shown
        assert backend.capitalize()[:1] in repr(client)
