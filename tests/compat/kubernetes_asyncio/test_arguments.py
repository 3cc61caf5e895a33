"""What needs no server: wrong arguments, the error channel, URLs, and what is not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubernetes_asyncio import client
from kubernetes_asyncio.client.exceptions import ApiValueError
from kubernetes_asyncio.stream import ws_client as theirs

from kubex_stream import BackendNotAvailable, ClientOptions, ConfigurationError, __version__, create_client
from kubex_stream.compat import kubernetes_asyncio as ours
from kubex_stream.compat.kubernetes_asyncio import ErrorInfo, WsApiClient, WsResponse, parse_error_data
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.testing import EmbeddedCluster
from tests.compat.kubernetes_asyncio.conftest import Connect
from tests.compat.kubernetes_asyncio.test_streams import execute

SUCCESS = b'{"metadata":{},"status":"Success"}'
FAILURE = (
    b'{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code","reason":"NonZeroExitCode",'
    b'"details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
)
#: Untyped, for calls that no type checker lets pass.
MAKE: Any = WsApiClient
ANSWER: Any = WsResponse

NOT_STARTED = b'{"status":"Failure","reason":"InternalError","message":"no such program","code":500}'


# The error channel ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "code"), [(SUCCESS, 0), (FAILURE, 3)])
def test_error_data_is_a_dict_and_the_number_that_the_package_gives(data: bytes, code: int) -> None:
    info = WsApiClient.parse_error_data(data)
    assert info == theirs.WsApiClient.parse_error_data(data) == code
    assert (int(info), bool(info), info.exit_code) == (code, bool(code), code)
    assert info != code + 1
    assert info["status"] == info.get("status")
    assert info == dict(info)
    assert parse_error_data(data.decode()) == parse_error_data(memoryview(data)) == info


def test_error_data_without_an_exit_code() -> None:
    info = parse_error_data(NOT_STARTED)
    assert (info.exit_code, bool(info)) == (None, True)
    assert info not in (0, 1)
    with pytest.raises(ValueError, match="InternalError"):
        int(info)
    with pytest.raises(TypeError):
        hash(info)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"3", b"null", b"\xff", b"[" * 100_000])
def test_error_data_that_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match="no Status"):
        parse_error_data(data)


def test_error_data_of_a_wrong_type() -> None:
    with pytest.raises(TypeError, match="not int"):
        parse_error_data(3)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_any_object_is_a_dict_with_or_without_an_exit_code(value: dict[str, Any]) -> None:
    info = ErrorInfo(value)
    assert info == value
    assert info.exit_code is None or info == info.exit_code


# URLs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://localhost/api", "https://localhost:6443/api?a=b#c", "https://x", "http://[::1]:8001/k8s/c", "wss://x/"],
)
def test_urls_as_the_package_makes_them(url: str) -> None:
    assert ours.get_websocket_url(url) == theirs.get_websocket_url(url)


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://x/", "/api", "https:///api"])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        ours.get_websocket_url(url)
    with pytest.raises(TypeError):
        ours.get_websocket_url(url.encode())  # type: ignore[arg-type]


def test_constants_are_those_of_the_package() -> None:
    for name in ("STDIN", "STDOUT", "STDERR", "ERROR", "RESIZE"):
        assert getattr(ours, f"{name}_CHANNEL") == getattr(theirs, f"{name}_CHANNEL")
    assert not [name for name in ours.__all__ if not hasattr(ours, name)]
    assert issubclass(WsApiClient, client.ApiClient)
    assert not issubclass(WsApiClient, theirs.WsApiClient)


# Making a client ------------------------------------------------------------------------------------------------------


def test_it_can_be_made_without_an_event_loop() -> None:
    made = WsApiClient(client.Configuration(host="https://cluster.example"), heartbeat=30, pool_threads=2)
    assert (made.heartbeat, made.pool_threads) == (30, 2)
    assert str(made.user_agent).endswith(f"kubex-stream/{__version__}")


def test_a_client_of_our_configuration_is_not_taken_for_one_without_credentials() -> None:
    configuration = ClientConfiguration(url="https://cluster.example", token="secret")
    for made in (WsApiClient(configuration), WsApiClient(client=create_client(configuration))):
        for known in (made, made.configuration, client.CoreV1Api(made)):
            with pytest.raises(ConfigurationError, match="use that one"):
                ClientConfiguration.from_kubernetes_asyncio(known)


@pytest.mark.parametrize(
    ("wrong", "error", "text"),
    [
        (lambda: MAKE("https://x"), TypeError, "not str"),
        (lambda: MAKE(client.ApiClient), TypeError, "Configuration"),
        (lambda: MAKE(heartbeat=0), ValueError, "heartbeat"),
        (lambda: MAKE(backend="carrier-pigeon"), BackendNotAvailable, "carrier-pigeon"),
        (lambda: MAKE(client=client.CoreV1Api), TypeError, "create_client"),
        (lambda: MAKE(backend=create_client(ClientConfiguration(url="http://x"))), TypeError, "client="),
        (
            lambda: MAKE(client=create_client(ClientConfiguration(url="http://x")), heartbeat=3),
            TypeError,
            "already",
        ),
        (lambda: MAKE(options=ClientOptions(), client=create_client()), TypeError, "already"),
        (lambda: ANSWER("wss://x"), TypeError, "WebSocketConnection"),
    ],
)
def test_what_a_client_is_not_made_of(wrong: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        wrong()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_other_event_loops_are_told_what_to_use() -> None:
    api_client = WsApiClient(client.Configuration(host="https://cluster.example"))
    with pytest.raises(RuntimeError, match=r"asyncio only.*Pods"):
        await client.CoreV1Api(api_client).list_namespaced_pod("default")


@pytest.mark.parametrize("missing", ["kubernetes_asyncio", "aiohttp"])
def test_without_the_package_it_says_what_to_install(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None\nimport kubex_stream.compat.kubernetes_asyncio"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("pip install kubernetes_asyncio")
    assert "ImportError" in done.stderr.splitlines()[-1]


# Calling --------------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"command": []}, "command is missing"),
        ({"command": ["", "x"]}, "command is missing"),
        ({"command": ["ls", 3]}, "list of strings"),
        ({"command": ["a\udc80"]}, "surrogate"),
        ({"command": ["ls"], "stdout": False, "stderr": False}, "at least one"),
        ({"command": ["ls"], "stdout": "perhaps"}, "stdout is True or False"),
        ({"command": ["ls"], "container": "No_Such"}, "name of a container"),
        ({"command": ["ls"], "name": "No_Such"}, "name of a pod"),
        ({"command": ["ls"], "namespace": "../x"}, "name of a namespace"),
        ({"command": ["ls"], "_request_timeout": "soon"}, "_request_timeout"),
        ({"command": ["ls"], "_request_timeout": -1}, "_request_timeout"),
        ({"command": ["ls"], "_request_timeout": True}, "_request_timeout"),
        ({"command": ["ls"], "_headers": {"sec-websocket-protocol": "v9"}}, "v9"),
    ],
)
async def test_wrong_calls_of_exec(v1: Any, cluster: EmbeddedCluster, given: dict[str, Any], text: str) -> None:
    before = len(cluster.requests)
    with pytest.raises(ApiValueError, match=text):
        await v1.connect_get_namespaced_pod_exec(**{"name": "demo", "namespace": "default", "stdout": True, **given})
    assert len(cluster.requests) == before


@pytest.mark.anyio
@pytest.mark.parametrize("ports", ["", "http", "0", "65536", "-1", "80,81", [80, 81]])
async def test_wrong_ports(v1: Any, ports: object) -> None:
    with pytest.raises(ApiValueError, match="ports"):
        await v1.connect_get_namespaced_pod_portforward("demo", "default", ports=ports)


@pytest.mark.anyio
async def test_timeouts_as_that_package_takes_them(v1: Any) -> None:
    for timeout in (None, 0, 5, 0.5, (5, 5), (None, 5), aiohttp.ClientTimeout(total=5, sock_read=5)):
        assert (await v1.list_namespaced_pod("default", _request_timeout=timeout)).items
        async with await execute(v1, "true", _request_timeout=timeout):  # a single word, as it was always possible
            pass


@pytest.mark.anyio
async def test_wrong_use_of_a_response(v1: Any) -> None:
    async with await execute(v1, ["cat"]) as response:
        for timeout, error in (("1", TypeError), (True, TypeError), (-1, ValueError), (float("nan"), ValueError)):
            with pytest.raises(error):
                await response.read_channel(timeout=timeout)
        for data in ("text", 3, None, [1]):
            with pytest.raises(TypeError, match="bytes"):
                await response.write_channel(0, data)
        with pytest.raises(TypeError, match="channel"):
            await response.write_channel("0", b"")
        with pytest.raises(RuntimeError, match="stdin=True"):
            await response.write_channel(0, b"x")
        with pytest.raises(RuntimeError, match="tty=True"):
            await response.write_channel(4, b'{"Width":1,"Height":1}')
        for channel in (1, 2, 3, 9, -1, 256):
            with pytest.raises(ValueError, match="none that a client writes to"):
                await response.write_channel(channel, b"x")
        with pytest.raises(ValueError, match="CLOSE_CHANNEL"):
            await response.write_channel(255, b"\1")
        with pytest.raises(ValueError, match="empty"):
            await response.send_bytes(b"")
    async with await execute(v1, ["cat"], stdin=True, tty=True) as response:
        for size in (
            b"",
            b"80x24",
            b"[80, 24]",
            b'{"Width":80}',
            b'{"Width":80,"Height":65536}',
            b'{"Width":"8","Height":2}',
        ):
            with pytest.raises(ValueError, match=r"resize|width|height"):
                await response.write_channel(4, size)
        await response.write_channel(0, b"still here\n")
        assert await response.read_channel(timeout=10)


@pytest.mark.anyio
async def test_other_servers_get_no_credentials(connect: Connect) -> None:
    async with connect() as api_client:
        for url in (
            "https://elsewhere.example/api/v1/pods",
            f"{api_client.configuration.host}0/api/v1/pods",
            "/api/v1/pods",
        ):
            with pytest.raises(ApiValueError, match="goes to no other server"):
                await api_client.request("GET", url)
        for method in ("FETCH", "", "GET /x"):
            with pytest.raises(ApiValueError, match="method"):
                await api_client.request(method, f"{api_client.configuration.host}/api/v1/pods")


@pytest.mark.anyio
async def test_a_direct_request(connect: Connect) -> None:
    async with connect() as api_client:
        request: Any = api_client.request
        url = ours.get_websocket_url(f"{api_client.configuration.host}/api/v1/namespaces/default/pods/demo/exec")
        query = {"command": ["head", "-c", "5"], "stdin": "true", "stdout": True}
        async with await request("GET", url, query_params=query, body=b"hello world") as response:
            assert await response.read_channel(timeout=10) == (1, b"hello")
        with pytest.raises(ApiValueError, match="stdin"):
            await request("GET", url, query_params=query, body={"a": 1})
