"""Opening and closing a client, and what it says of itself meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from kubex_stream import BackendNotAvailable, BaseClient, ClientOptions, ConfigurationError, create_client
from kubex_stream.client import Request
from kubex_stream.client.aiohttp import AioHttpClient

from .memory import CLUSTER, V4, WAYS, MemoryClient, Way, go, scripted

pytestmark = pytest.mark.anyio

KUBECONFIG = """
current-context: here
contexts: [{name: here, context: {cluster: c, user: u, namespace: from-the-file}}]
clusters: [{name: c, cluster: {server: "https://from-the-file.test:6443"}}]
users: [{name: u, user: {token: secret-token}}]
"""


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(path))
    return path


async def test_async_with_opens_and_closes() -> None:
    client = create_client(CLUSTER, MemoryClient)
    assert isinstance(client, MemoryClient)
    async with client as entered:
        assert entered is client
        assert (client.starts, client.stops) == (1, 0)
    assert (client.starts, client.stops) == (1, 1)


async def test_await_gives_the_client_opened() -> None:
    client = await create_client(CLUSTER, MemoryClient)
    assert isinstance(client, MemoryClient)
    client.answers.append(None)
    await go(client, "request")
    await client.aclose()
    assert (client.starts, client.stops) == (1, 1)


async def test_closing_again_does_nothing() -> None:
    client = scripted()
    await client.aclose()
    async with client:
        await client.aclose()
    await client.aclose()
    assert client.stops == 1


async def test_a_client_is_opened_once() -> None:
    client = scripted()
    async with client:
        with pytest.raises(RuntimeError, match="opened already; create another one"):
            await client.open()
    with pytest.raises(RuntimeError, match="opened already"):
        await client
    assert client.starts == 1


@pytest.mark.parametrize("way", WAYS)
async def test_a_client_is_used_while_it_is_open(way: Way) -> None:
    client = scripted()
    with pytest.raises(RuntimeError, match="not open: use `async with` or `await`"):
        await go(client, way)
    async with client:
        pass
    with pytest.raises(RuntimeError, match="the client is closed"):
        await go(client, way)
    assert client.sent == []


async def test_it_says_what_it_is() -> None:
    client = scripted()
    assert repr(client) == "<MemoryClient http://cluster.test:8001 (not open)>"
    async with client:
        assert repr(client) == "<MemoryClient http://cluster.test:8001 (open)>"
    assert repr(client) == "<MemoryClient http://cluster.test:8001 (closed)>"
    assert repr(MemoryClient()) == "<MemoryClient (not open)>"


async def test_without_a_configuration_it_is_loaded_on_opening(kubeconfig: Path) -> None:
    client = create_client(backend=MemoryClient)
    with pytest.raises(RuntimeError, match="loaded when the client is opened"):
        _ = client.configuration
    kubeconfig.write_text(KUBECONFIG.replace("from-the-file", "changed-since"))
    async with client:
        assert client.configuration.url == "https://changed-since.test:6443"
        assert client.configuration.namespace == "changed-since"


async def test_a_configuration_that_cannot_be_loaded_leaves_a_closed_client(kubeconfig: Path) -> None:
    kubeconfig.write_text("contexts: [")
    client = MemoryClient()
    with pytest.raises(ConfigurationError, match=str(kubeconfig)):
        await client.open()
    assert repr(client) == "<MemoryClient (closed)>"
    await client.aclose()
    assert (client.starts, client.stops) == (0, 0)


async def test_a_backend_that_cannot_start_is_not_stopped() -> None:
    class Broken(MemoryClient):
        async def start(self) -> None:
            raise RuntimeError("no sockets today")

    client = Broken(CLUSTER)
    with pytest.raises(RuntimeError, match="no sockets today"):
        async with client:
            pytest.fail("it was opened")
    await client.aclose()
    assert client.stops == 0
    with pytest.raises(RuntimeError, match="closed"):
        await go(client, "request")


async def test_a_backend_stops_in_peace_when_its_task_is_cancelled() -> None:
    client = scripted()
    with anyio.CancelScope() as scope:
        async with client:
            scope.cancel()
            await anyio.sleep_forever()
    assert client.stops == 1


async def test_an_error_in_the_block_passes_through_and_closes() -> None:
    client = scripted()
    with pytest.raises(ZeroDivisionError):
        async with client:
            raise ZeroDivisionError
    assert client.stops == 1


def only(loop: str) -> type[BaseClient]:
    """A backend that runs on one event loop."""

    class Picky(MemoryClient):
        event_loops: ClassVar[frozenset[str]] = frozenset({loop})

    return Picky


async def test_the_wrong_event_loop_says_so(anyio_backend_name: str) -> None:
    other = "asyncio" if anyio_backend_name == "trio" else "trio"
    client = only(other)(CLUSTER)
    text = f"Picky runs on {other}, not on {anyio_backend_name}; .* pip install 'kubex-stream\\[httpx\\]'"
    with pytest.raises(BackendNotAvailable, match=text):
        async with client:
            pytest.fail("it was opened")
    assert repr(client).endswith("(not open)>")
    async with only(anyio_backend_name)(CLUSTER) as right:
        assert repr(right).endswith("(open)>")


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_aiohttp_says_that_it_does_not_run_on_trio() -> None:
    with pytest.raises(BackendNotAvailable, match="AioHttpClient runs on asyncio, not on trio"):
        await AioHttpClient(CLUSTER)


async def test_a_proxy_of_the_environment_that_is_none_is_told_on_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://user:hunter2@proxy")
    with pytest.raises(ConfigurationError, match="HTTP_PROXY") as caught:
        await MemoryClient(CLUSTER, ClientOptions(trust_env=True))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("subprotocols", [[], "v4.channel.k8s.io", ()], ids=repr)
async def test_a_websocket_offers_a_list_of_subprotocols(subprotocols: list[str]) -> None:
    async with scripted() as client:
        with pytest.raises(ValueError, match="a list of names"):
            await client.connect_websocket(Request(path="/"), subprotocols)
        assert client.sent == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Request(path="api/v1/pods"),
        lambda: Request(path="@elsewhere.test/api"),
        lambda: Request(path=""),
        lambda: Request(path="/api?watch=1"),
        lambda: Request(path="/api#x"),
        lambda: Request(path="/a b"),
        lambda: Request(path="/a\r\nb"),
        lambda: Request(path="/ä"),
        lambda: Request(path="/", headers={"X-Key": "a\r\nX-Other: b"}),
        lambda: Request(path="/", headers={"Upgrade": "websocket"}),
    ],
)
def test_a_request_that_could_mean_another_is_refused(make: Callable[[], Request]) -> None:
    with pytest.raises(ValueError, match=r"path begins with|header"):
        make()


async def test_requests_work_at_the_same_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "kubex_stream")
    async with scripted(*[None] * 30) as client, anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(go, client, WAYS[number % 3])
    assert len(client.sent) == 30
    assert not caplog.records


async def test_a_websocket_belongs_to_whoever_opened_it() -> None:
    async with scripted(None) as client:
        connection = await client.connect_websocket(Request(path="/"), [V4])
    assert not connection.closed
    await connection.close()
