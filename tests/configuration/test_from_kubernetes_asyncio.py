"""``ClientConfiguration.from_kubernetes_asyncio``: its hook, sync and async, its kubeconfigs, its clients, and the copy in ``kubernetes``."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError
from kubex_stream.testing import EmbeddedCluster
from tests.configuration.from_others import Generated, header, kubeconfig_of, module, said, their_descriptors_closed

if TYPE_CHECKING:
    from tests.configuration.conftest import Plugin

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["kubernetes_asyncio", "kubernetes.aio"])
def package(request: pytest.FixtureRequest) -> Generated:
    pytest.importorskip(request.param)
    return Generated(request.param, ClientConfiguration.from_kubernetes_asyncio)


@pytest.fixture(autouse=True)
def _their_descriptors() -> Iterator[None]:
    with their_descriptors_closed():
        yield


async def _loaded(package: Generated, kubeconfig: dict[str, Any]) -> Any:
    settings = package.made()
    await module(f"{package.name}.config").load_kube_config_from_dict(kubeconfig, client_configuration=settings)
    return settings


async def test_an_async_hook_is_awaited_for_every_request(package: Generated) -> None:
    calls, threads = 0, set()

    async def refresh(settings: Any) -> None:
        nonlocal calls
        await anyio.lowlevel.checkpoint()
        calls += 1
        threads.add(threading.current_thread())
        settings.api_key["BearerToken"] = f"Bearer {calls}"

    made = package.derive(package.made(refresh_api_key_hook=refresh))
    credentials = made.credentials()
    assert [(await credentials.headers())[0][1] for _ in range(2)] == ["Bearer 1", "Bearer 2"]
    assert await header(made) == "Bearer 3"
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("name", ["BearerToken", "authorization"])
async def test_the_hook_may_give_the_first_token(package: Generated, name: str) -> None:
    settings = package.made(refresh_api_key_hook=lambda made: made.api_key.update({name: "abc"}))
    assert await header(package.derive(settings)) == "Bearer abc"


async def test_a_plain_hook_is_called_on_the_event_loop(package: Generated) -> None:
    threads = []

    def refresh(settings: Any) -> None:
        threads.append(threading.current_thread())
        settings.api_key["BearerToken"] = "Bearer plain"

    assert await header(package.derive(package.made(refresh_api_key_hook=refresh))) == "Bearer plain"
    assert threads == [threading.current_thread()]


async def test_tasks_at_the_same_time_share_one_call(package: Generated) -> None:
    calls, go_on, found = 0, anyio.Event(), []

    async def refresh(settings: Any) -> None:
        nonlocal calls
        calls += 1
        settings.api_key["BearerToken"] = f"Bearer {calls}"
        await go_on.wait()

    credentials = package.derive(package.made(refresh_api_key_hook=refresh)).credentials()

    async def ask() -> None:
        found.append(await credentials.headers())

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert found == [[("Authorization", "Bearer 1")]] * 10
    assert calls == 1


async def test_a_cancelled_task_leaves_the_call_to_the_next(package: Generated) -> None:
    calls, go_on, found = 0, anyio.Event(), []

    async def refresh(settings: Any) -> None:
        nonlocal calls
        calls += 1
        await go_on.wait()
        settings.api_key["BearerToken"] = f"Bearer {calls}"

    credentials = package.derive(package.made(refresh_api_key_hook=refresh)).credentials()
    first = anyio.CancelScope()

    async def cancelled() -> None:
        with first:
            await credentials.headers()

    async def ask() -> None:
        found.append(await credentials.headers())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert found == [[("Authorization", "Bearer 2")]]


async def test_a_hook_that_fails(package: Generated) -> None:
    async def refresh(_: Any) -> None:
        raise LookupError("hunter2")

    with pytest.raises(ConfigurationError, match=r"refreshing the credentials failed \(LookupError\)") as caught:
        await header(package.derive(package.made(refresh_api_key_hook=refresh)))
    assert "hunter2" not in str(caught.value)


async def test_a_hook_is_asked_again_after_a_401(package: Generated, cluster: EmbeddedCluster, tmp_path: Path) -> None:
    given: list[str] = []

    async def refresh(settings: Any) -> None:
        given.append(cluster.token if given else "expired")
        settings.api_key["BearerToken"] = f"Bearer {given[-1]}"

    (tmp_path / "ca.crt").write_bytes(cluster.ca_pem)
    settings = package.made(cluster.url, ssl_ca_cert=str(tmp_path / "ca.crt"), refresh_api_key_hook=refresh)
    assert await said(package.derive(settings)) == "hello\n"
    assert given == ["expired", cluster.token, cluster.token]


async def test_a_task_that_keeps_the_token_fresh_is_enough(package: Generated, cluster: EmbeddedCluster) -> None:
    settings = await _loaded(package, kubeconfig_of(cluster, {"token": "expired"}))
    made = package.derive(settings)
    settings.api_key["BearerToken"] = f"Bearer {cluster.token}"
    assert await said(made) == "hello\n"


# ---- its own loaders


async def test_its_kubeconfig_with_a_token(
    package: Generated, cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube_config = module(f"{package.name}.config.kube_config")
    monkeypatch.setattr(kube_config, "_temp_files", {})  # files of other tests stay
    settings = await _loaded(package, kubeconfig_of(cluster))
    made = package.derive(settings)
    kube_config._cleanup_temp_files()  # what it does when a process ends
    assert not Path(settings.ssl_ca_cert).exists()
    assert await said(made) == "hello\n"


async def test_its_kubeconfig_with_a_client_certificate(package: Generated, cluster: EmbeddedCluster) -> None:
    certificate = cluster.client_certificate("jane")
    user = {
        "client-certificate-data": b64encode(certificate.certificate).decode(),
        "client-key-data": b64encode(certificate.key).decode(),
    }
    made = package.derive(await _loaded(package, kubeconfig_of(cluster, user)))
    assert (made.token, made.client_cert_data) == (None, certificate.certificate)
    assert await said(made) == "hello\n"


async def test_its_kubeconfig_with_a_plugin(package: Generated, cluster: EmbeddedCluster, plugin: Plugin) -> None:
    plugin.says(token=cluster.token)
    made = package.derive(await _loaded(package, kubeconfig_of(cluster, {"exec": plugin.entry()})))
    assert await said(made) == "hello\n"


async def test_its_service_account(package: Generated, cluster: EmbeddedCluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(cluster.token)
    (tmp_path / "ca.crt").write_bytes(cluster.ca_pem)
    host, _, port = cluster.url.removeprefix("https://").partition(":")
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    settings = package.made()
    loader = module(f"{package.name}.config.incluster_config").InClusterConfigLoader
    loader(str(tmp_path / "token"), str(tmp_path / "ca.crt"), environ=environment).load_and_set(settings)
    assert await said(package.derive(settings, namespace="default")) == "hello\n"


# ---- its clients


async def test_an_api_client_and_an_api_object(package: Generated, cluster: EmbeddedCluster) -> None:
    client = module(f"{package.name}.client")
    async with client.ApiClient(
        await _loaded(package, kubeconfig_of(cluster)), "Impersonate-User", "jane"
    ) as api_client:
        for given in (api_client, client.CoreV1Api(api_client)):
            made = package.derive(given)
            assert made.url == cluster.url
            assert made.impersonate is not None
            assert made.impersonate.user == "jane"
            assert await header(made) == f"Bearer {cluster.token}"


async def test_its_websocket_client(package: Generated, cluster: EmbeddedCluster) -> None:
    settings = await _loaded(package, kubeconfig_of(cluster))
    async with module(f"{package.name}.stream").WsApiClient(settings) as client:
        assert await said(package.derive(client)) == "hello\n"


def test_a_server_that_is_no_url(package: Generated) -> None:
    made = package.made(host="https://[::1:6443")
    for proxy in (None, "http://proxy.example:3128"):
        made.proxy = proxy
        with pytest.raises(ConfigurationError, match=r"client\.Configuration: the server's address .* in \[brackets\]"):
            package.derive(made)
