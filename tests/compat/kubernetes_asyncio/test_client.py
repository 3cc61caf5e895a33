"""WsApiClient as a client: credentials, refusals, preloading, port-forward, what is underneath."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import anyio
import pytest
from kubernetes_asyncio import client
from kubernetes_asyncio.stream import WsApiClient as TheirClient

from kubex_stream import (
    ClientConfiguration,
    ClientOptions,
    ConfigurationError,
    ConnectionFailed,
    ConnectionLost,
    Observer,
    StreamTimeout,
    create_client,
)
from kubex_stream.compat.kubernetes_asyncio import (
    CLOSE_CHANNEL,
    ERROR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    HandshakeRefused,
    WsApiClient,
    WsResponse,
    parse_error_data,
)
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod, EmbeddedPort, HttpFailure
from tests.compat.kubernetes_asyncio.conftest import Connect, configured
from tests.compat.kubernetes_asyncio.test_streams import OUTPUT, SCRIPT, channels, execute

pytestmark = pytest.mark.anyio


# Whole output ---------------------------------------------------------------------------------------------------------


async def test_preloaded_it_is_the_text_that_the_package_gives(
    connect: Connect, configuration: client.Configuration
) -> None:
    async with TheirClient(configuration) as theirs:
        expected = await execute(client.CoreV1Api(theirs), ["sh", "-c", "echo out; exit 7"])
    async with connect(preload=True) as api_client:
        v1: Any = client.CoreV1Api(api_client)
        assert await execute(v1, ["sh", "-c", "echo out; exit 7"]) == expected == "out\n"
        assert sorted((await execute(v1, SCRIPT)).split()) == ["err", "out"]
        text, status, _ = await v1.connect_get_namespaced_pod_exec_with_http_info(
            "demo", "default", command=["echo", "x"], **OUTPUT
        )
        assert (text, status) == ("x\n", 200)
        async with await execute(v1, ["cat"], stdin=True, _preload_content=False) as response:
            assert isinstance(response, WsResponse)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("""echo '{"a": null}\\c'""", '{"a": null}'),  # which that package gives as a repr of Python's
        (r"printf '\342\202'; sleep 0.1; printf '\254'", "€"),  # a character in two messages
        (r"printf 'a\377b'", "a\ufffdb"),
        ("printf 007", "007"),
        ("true", ""),
    ],
)
async def test_preloaded_text_is_exact(connect: Connect, script: str, text: str) -> None:
    async with connect(preload=True) as api_client:
        assert await execute(client.CoreV1Api(api_client), ["sh", "-c", script]) == text


async def test_preloaded_it_ends_in_time(connect: Connect) -> None:
    async with connect(preload=True) as api_client:
        v1 = client.CoreV1Api(api_client)
        with pytest.raises(StreamTimeout, match="within 1 s") as caught:
            await execute(v1, ["sh", "-c", "echo begun; exec sleep 60"], _request_timeout=1)
        assert caught.value.stdout == b"begun\n"
        assert isinstance(caught.value, asyncio.TimeoutError)
        with pytest.raises(client.ApiException) as refused:
            await execute(v1, ["/no/such/program"])
        assert json.loads(str(refused.value.body))["reason"] == "InternalError"
        direct: Any = await api_client.request(
            "GET",
            f"{api_client.configuration.host}/api/v1/namespaces/default/pods/demo/exec",
            query_params={"command": ["echo", "out"], "stdout": True},
        )
        assert direct.data == b"out\n"


# Refusals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [client.ApiException, aiohttp.WSServerHandshakeError, HandshakeRefused])
async def test_a_refused_handshake_is_an_exception_of_both_packages(v1: Any, old: type[Exception]) -> None:
    with pytest.raises(old) as caught:
        await v1.connect_get_namespaced_pod_exec("nobody", "default", command=["true"], **OUTPUT)
    error: Any = caught.value
    assert (error.status, error.reason) == (404, "Not Found")
    assert json.loads(error.body)["message"] == 'pods "nobody" not found'
    assert "nobody" in str(error)
    assert repr(error) == "<HandshakeRefused 404 Not Found>"


async def test_a_role_that_may_not(backend: str) -> None:
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(rbac="reader")) as cluster:
        async with WsApiClient(configured(cluster), backend=backend) as api_client:
            with pytest.raises(client.ApiException) as caught:
                await execute(client.CoreV1Api(api_client), ["true"])
    assert caught.value.status == 403
    assert "`create`" in str(caught.value.__cause__)


async def test_a_body_that_is_no_status(backend: str) -> None:
    failure = HttpFailure(502, b"bad gateway\n", {"Content-Type": "text/plain"})
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(failures=(failure,))) as cluster:
        async with WsApiClient(configured(cluster), backend=backend) as api_client:
            v1: Any = client.CoreV1Api(api_client)
            for call in (execute(v1, ["true"]), v1.list_namespaced_pod("default")):
                with pytest.raises(client.ApiException) as caught:
                    await call
                assert (caught.value.status, caught.value.reason) == (502, "Bad Gateway")
                assert str(caught.value.body) == "bad gateway"


async def test_nobody_is_there(backend: str) -> None:
    async with WsApiClient(client.Configuration(host="http://127.0.0.1:9"), backend=backend) as api_client:
        with pytest.raises(ConnectionError) as caught:
            await execute(client.CoreV1Api(api_client), ["true"])
    assert isinstance(caught.value, ConnectionFailed)


async def test_the_opening_has_a_time(backend: str) -> None:
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(hang_handshake=True)) as cluster:
        async with WsApiClient(configured(cluster), backend=backend) as api_client:
            with pytest.raises(asyncio.TimeoutError):
                await execute(client.CoreV1Api(api_client), ["true"], _request_timeout=0.2)


async def test_a_dead_connection_is_noticed(backend: str) -> None:
    options = ClientOptions(heartbeat_timeout=0.5)
    with EmbeddedCluster(quiet=True, behaviour=Behaviour(no_pong=True)) as cluster:
        async with WsApiClient(configured(cluster), backend=backend, heartbeat=0.1, options=options) as api_client:
            response = await execute(client.CoreV1Api(api_client), ["sleep", "60"])
            with pytest.raises(ConnectionLost, match="no sign of life"):
                await response.read_channel(timeout=20)


# Who we are -----------------------------------------------------------------------------------------------------------


async def test_headers_reach_the_handshake(connect: Connect, cluster: EmbeddedCluster) -> None:
    async with connect(header_name="X-Team", header_value="blue", cookie="a=b") as api_client:
        api_client.set_default_header("X-More", "1")
        async with await execute(client.CoreV1Api(api_client), ["true"], _headers={"X-Call": "2"}):
            pass
    request = next(each for each in reversed(cluster.requests) if each.path.endswith("/exec"))
    assert [request.header(name) for name in ("X-Team", "X-More", "X-Call", "Cookie")] == ["blue", "1", "2", "a=b"]
    assert "kubex-stream/" in request.header("User-Agent")


async def test_the_refresh_hook_is_asked_again_after_a_401(
    connect: Connect, configuration: client.Configuration, cluster: EmbeddedCluster
) -> None:
    asked: list[str] = []

    async def hook(settings: client.Configuration) -> None:
        settings.api_key["BearerToken"] = f"Bearer {cluster.token if asked else 'expired'}"
        asked.append(settings.api_key["BearerToken"])

    configuration.refresh_api_key_hook = hook
    async with connect() as api_client:
        async with await execute(client.CoreV1Api(api_client), ["echo", "out"]) as response:
            assert await response.read_channel(timeout=10) == (STDOUT_CHANNEL, b"out\n")
    assert len(asked) >= 2
    assert asked[0] == "Bearer expired"


async def test_a_token_that_is_replaced_in_the_configuration_counts(
    connect: Connect, configuration: client.Configuration, cluster: EmbeddedCluster
) -> None:
    async with connect() as api_client:
        v1: Any = client.CoreV1Api(api_client)
        api_client.configuration.api_key["BearerToken"] = "Bearer wrong"
        for call in (v1.list_namespaced_pod("default"), execute(v1, ["true"])):
            with pytest.raises(client.ApiException) as caught:
                await call
            assert caught.value.status == 401
        configuration.api_key["BearerToken"] = f"Bearer {cluster.token}"
        assert (await v1.list_namespaced_pod("default")).items
        async with await execute(v1, ["true"]):
            pass


async def test_credentials_of_a_single_call(
    connect: Connect, configuration: client.Configuration, cluster: EmbeddedCluster
) -> None:
    configuration.api_key["BearerToken"] = "Bearer wrong"
    given = {"in": "header", "type": "api_key", "key": "authorization", "value": f"Bearer {cluster.token}"}
    async with connect() as api_client:
        v1: Any = client.CoreV1Api(api_client)
        assert (await v1.list_namespaced_pod("default", _request_auth=given)).items
        async with await execute(v1, ["true"], _request_auth=given):
            pass


async def test_the_tls_server_name_counts_for_streams(connect: Connect, configuration: client.Configuration) -> None:
    configuration.tls_server_name = "localhost"
    async with connect() as api_client, await execute(client.CoreV1Api(api_client), ["true"]):
        pass
    configuration.tls_server_name = "elsewhere.example"
    async with connect() as api_client:
        with pytest.raises(ConnectionFailed):
            await execute(client.CoreV1Api(api_client), ["true"])


async def test_the_proxy_counts_for_streams(connect: Connect, configuration: client.Configuration) -> None:
    configuration.proxy = "http://127.0.0.1:9"
    async with connect() as api_client:
        with pytest.raises(ConnectionFailed, match=r"proxy|127\.0\.0\.1:9"):
            await execute(client.CoreV1Api(api_client), ["true"])


async def test_the_default_configuration(
    configuration: client.Configuration, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.Configuration, "_default", None)
    async with WsApiClient(backend=backend) as api_client:
        with pytest.raises(ConfigurationError, match="load_kube_config"):
            await execute(client.CoreV1Api(api_client), ["true"])
    client.Configuration.set_default(configuration)
    async with WsApiClient(backend=backend) as api_client, await execute(client.CoreV1Api(api_client), ["true"]):
        pass


# What is underneath ---------------------------------------------------------------------------------------------------


class Frames(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[bool, int, int]] = []
        self.ended = 0

    def frame(self, path: str, *, sent: bool, channel: int, size: int) -> None:  # noqa: ARG002
        if size:
            self.seen.append((sent, channel, size))

    def closed(self, path: str, error: BaseException | None) -> None:  # noqa: ARG002
        self.ended += 1


async def test_a_client_of_ours(cluster: EmbeddedCluster, backend: str) -> None:
    observer = Frames()
    async with create_client(cluster.configuration, backend=backend, observer=observer) as ours:
        async with WsApiClient(client=ours) as api_client:
            v1: Any = client.CoreV1Api(api_client)
            assert (await v1.read_namespaced_pod("demo", "default")).metadata.name == "demo"
            async with await execute(v1, ["sh", "-c", "head -c 3; echo err >&2"], stdin=True) as response:
                await response.write_channel(STDIN_CHANNEL, b"abc")
                await channels(response)
        assert observer.ended == 1
        async with WsApiClient(client=ours) as again:
            assert (await client.CoreV1Api(again).list_namespaced_pod("default")).items  # it is still open
    assert observer.seen[0] == (True, STDIN_CHANNEL, 3)
    assert [each[:2] for each in observer.seen[1:]].count((False, ERROR_CHANNEL)) == 1
    assert {(False, 1, 3), (False, 2, 4)} < set(observer.seen)


async def test_a_configuration_of_ours(cluster: EmbeddedCluster, connect: Connect) -> None:
    assert isinstance(cluster.configuration, ClientConfiguration)
    async with connect(cluster.configuration) as api_client:
        v1: Any = client.CoreV1Api(api_client)
        assert (await v1.list_namespaced_pod("default")).items
        async with await execute(v1, ["echo", "out"]) as response:
            assert await response.read_channel() == (STDOUT_CHANNEL, b"out\n")


async def test_a_websocket_of_ours(cluster: EmbeddedCluster, backend: str) -> None:
    from kubex_stream.client import Request

    query = [("command", "cat"), ("stdin", "true"), ("stdout", "true")]
    request = Request(path="/api/v1/namespaces/default/pods/demo/exec", query=query)
    async with create_client(cluster.configuration, backend=backend) as ours:
        websocket = await ours.connect_websocket(request, ["v5.channel.k8s.io"])
        async with WsResponse(websocket) as response:
            await response.write_channel(STDIN_CHANNEL, b"x")
            assert await response.read_channel(timeout=10) == (STDOUT_CHANNEL, b"x")


async def test_closing_is_for_good(connect: Connect) -> None:
    api_client = connect()
    await api_client.close()
    await api_client.close()
    with pytest.raises(RuntimeError, match="is closed"):
        await client.CoreV1Api(api_client).list_namespaced_pod("default")


# Port-forward ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def forwarded(cluster: EmbeddedCluster, backend: str) -> Any:
    name = f"forwarded-{backend}"
    ports = (EmbeddedPort(7, target="echo"), EmbeddedPort(8080, target="banner"))
    cluster.add_pod(EmbeddedPod(name, ports=ports))
    yield name
    cluster.delete_pod(name)


async def test_a_port_as_channels(v1: Any, forwarded: str) -> None:
    response = await v1.connect_get_namespaced_pod_portforward(forwarded, "default", ports="8080")
    seen = await channels(response)
    await response.close()
    assert seen[STDOUT_CHANNEL] == b"banner\n"
    assert parse_error_data(seen[ERROR_CHANNEL])["status"] == "Success"


async def test_both_directions_of_a_port(v1: Any, forwarded: str) -> None:
    async with await v1.connect_get_namespaced_pod_portforward(forwarded, "default", ports=7) as response:
        await response.write_channel(STDIN_CHANNEL, b"ping")
        assert await response.read_channel(timeout=10) == (STDOUT_CHANNEL, b"ping")
        with pytest.raises(asyncio.TimeoutError):
            await response.read_channel(timeout=0.01)
        await response.send_bytes(b"\0pong")
        assert (await response.receive(timeout=10)).data == b"\1pong"
        with pytest.raises(ValueError, match="STDIN_CHANNEL"):
            await response.write_channel(STDOUT_CHANNEL, b"x")
        await response.write_channel(CLOSE_CHANNEL, b"\0")  # the echo ends with it
        with anyio.fail_after(20):
            channel, status = await response.read_channel()
        assert (channel, parse_error_data(status)["status"]) == (ERROR_CHANNEL, "Success")


async def test_a_port_that_nobody_serves(v1: Any, forwarded: str) -> None:
    async with await v1.connect_get_namespaced_pod_portforward(forwarded, "default", ports=9999) as response:
        channel, data = await response.read_channel(timeout=10)
        info = parse_error_data(data)
        assert (channel, info["status"], info["details"]["causes"][0]["message"]) == (3, "Failure", "refused")
        with pytest.raises(EOFError):
            await response.read_channel()
    with pytest.raises(client.ApiException) as caught:
        await v1.connect_get_namespaced_pod_portforward("nobody", "default", ports=80)
    assert caught.value.status == 404
