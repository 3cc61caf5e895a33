"""``ClientConfiguration.from_kubernetes``: the official client, its refresh hook, its kubeconfigs, its ApiClient."""

from __future__ import annotations

import logging
import threading
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kubex_stream import Pods, Unauthorized, create_client
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError
from kubex_stream.testing import EmbeddedCluster
from tests.configuration.from_others import URL, Generated, header, kubeconfig_of, module, said

if TYPE_CHECKING:
    from tests.configuration.conftest import Plugin

pytest.importorskip("kubernetes")
pytestmark = pytest.mark.anyio

OFFICIAL = Generated("kubernetes", ClientConfiguration.from_kubernetes)


def _with_hook(hook: Callable[[Any], object], host: str = URL, **settings: object) -> Any:
    made = OFFICIAL.made(host, **settings)
    made.api_key = {"BearerToken": "Bearer first"}
    made.refresh_api_key_hook = hook
    return made


# ---- the hook


async def test_the_hook_is_asked_for_every_request() -> None:
    tokens = iter(["one", "two", "three"])

    def refresh(settings: Any) -> None:
        settings.api_key["BearerToken"] = f"Bearer {next(tokens)}"

    made = OFFICIAL.derive(_with_hook(refresh))
    credentials = made.credentials()
    assert [(await credentials.headers())[0][1] for _ in range(2)] == ["Bearer one", "Bearer two"]
    assert await header(made) == "Bearer three"


@pytest.mark.parametrize("name", ["BearerToken", "authorization"])
async def test_the_hook_may_give_the_first_token(name: str) -> None:
    settings = OFFICIAL.made()
    settings.refresh_api_key_hook = lambda made: made.api_key.update({name: "abc"})
    assert await header(OFFICIAL.derive(settings)) == "Bearer abc"


async def test_a_slow_hook_holds_up_nobody_and_runs_once_for_all() -> None:
    started, go_on, calls = threading.Event(), threading.Event(), 0

    def refresh(settings: Any) -> None:
        nonlocal calls
        calls += 1
        settings.api_key["BearerToken"] = f"Bearer {calls}"
        started.set()
        assert go_on.wait(30)

    credentials = OFFICIAL.derive(_with_hook(refresh)).credentials()
    found = []

    async def ask() -> None:
        found.append(await credentials.headers())

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(ask)
        while not started.is_set():
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()  # the other nine wait by now
        go_on.set()
    assert found == [[("Authorization", "Bearer 1")]] * 10
    assert calls == 1


async def test_a_hook_that_hangs_can_be_cancelled() -> None:
    started, go_on = threading.Event(), threading.Event()

    def refresh(_: Any) -> None:
        started.set()
        go_on.wait(30)

    credentials = OFFICIAL.derive(_with_hook(refresh)).credentials()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(credentials.headers)
        while not started.is_set():
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    assert not go_on.is_set()
    go_on.set()
    assert await credentials.headers() == [("Authorization", "Bearer first")]


async def test_a_hook_that_fails() -> None:
    def refresh(_: Any) -> None:
        raise LookupError("hunter2")

    credentials = OFFICIAL.derive(_with_hook(refresh)).credentials()
    for ask in (credentials.headers, credentials.refresh):
        with pytest.raises(ConfigurationError, match=r"refreshing the credentials failed \(LookupError\)") as caught:
            await ask()
        assert "hunter2" not in str(caught.value)
        assert isinstance(caught.value.__cause__, LookupError)


async def test_a_failure_is_shared_by_those_who_waited_for_it() -> None:
    started, go_on, calls, failures = threading.Event(), threading.Event(), 0, []

    def refresh(_: Any) -> None:
        nonlocal calls
        calls += 1
        started.set()
        assert go_on.wait(30)
        raise LookupError

    credentials = OFFICIAL.derive(_with_hook(refresh)).credentials()

    async def ask() -> None:
        with pytest.raises(ConfigurationError) as caught:
            await credentials.headers()
        failures.append(str(caught.value))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(ask)
        while not started.is_set():
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        go_on.set()
    assert (len(failures), len(set(failures)), calls) == (5, 1, 1)


def test_an_async_hook_is_refused() -> None:
    async def refresh(settings: Any) -> None: ...

    with pytest.raises(ConfigurationError, match="refresh_api_key_hook is async"):
        OFFICIAL.derive(_with_hook(refresh))


async def test_a_class_of_ones_own_may_block() -> None:
    threads = []

    def vault(*_: object, **__: object) -> str:
        threads.append(threading.current_thread())
        return "Bearer own"

    own = type("Own", (OFFICIAL.configuration,), {"get_api_key_with_prefix": vault, "__module__": __name__})
    settings = own(host=URL, api_key={"BearerToken": "x"})
    assert await header(OFFICIAL.derive(settings)) == "Bearer own"
    assert threads != [threading.current_thread()]


async def test_a_hook_is_asked_again_after_a_401(cluster: EmbeddedCluster) -> None:
    given: list[str] = []

    def refresh(settings: Any) -> None:
        given.append(cluster.token if given else "expired")
        settings.api_key["BearerToken"] = f"Bearer {given[-1]}"

    settings = _with_hook(refresh, host=cluster.url, ca_cert_data=cluster.ca_pem.decode())
    assert await said(OFFICIAL.derive(settings)) == "hello\n"
    assert given == ["expired", cluster.token, cluster.token], "refused, renewed, and asked for the second try"


async def test_a_token_that_stays_wrong_is_unauthorized(cluster: EmbeddedCluster) -> None:
    calls = 0

    def refresh(_: Any) -> None:
        nonlocal calls
        calls += 1

    settings = _with_hook(refresh, host=cluster.url, ca_cert_data=cluster.ca_pem.decode())
    with pytest.raises(Unauthorized):
        await said(OFFICIAL.derive(settings))
    assert calls == 2, "one for the request, one after the 401, and no second request with the same token"


# ---- its own loaders


def _loaded(kubeconfig: dict[str, Any]) -> Any:
    settings = OFFICIAL.made()
    module("kubernetes.config").load_kube_config_from_dict(kubeconfig, client_configuration=settings)
    return settings


async def test_its_kubeconfig_with_a_token(cluster: EmbeddedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module("kubernetes.config.kube_config"), "_temp_files", {})  # files of other tests stay
    settings = _loaded(kubeconfig_of(cluster))
    made = OFFICIAL.derive(settings)
    module("kubernetes.config.kube_config")._cleanup_temp_files()  # what it does when a process ends
    assert not Path(settings.ssl_ca_cert).exists()
    assert await said(made) == "hello\n"


async def test_its_kubeconfig_with_a_client_certificate(cluster: EmbeddedCluster) -> None:
    certificate = cluster.client_certificate("jane")
    user: dict[str, object] = {
        "client-certificate-data": b64encode(certificate.certificate).decode(),
        "client-key-data": b64encode(certificate.key).decode(),
    }
    made = OFFICIAL.derive(_loaded(kubeconfig_of(cluster, user)))
    assert (made.token, made.client_cert_data) == (None, certificate.certificate)
    assert await said(made) == "hello\n"


async def test_its_kubeconfig_with_a_plugin_whose_token_ends(cluster: EmbeddedCluster, plugin: Plugin) -> None:
    plugin.says(token="expired", expirationTimestamp=f"{datetime.now(UTC) + timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}")
    settings = _loaded(kubeconfig_of(cluster, {"exec": plugin.entry()}))
    made = OFFICIAL.derive(settings)
    plugin.says(token=cluster.token)
    assert await said(made) == "hello\n"
    assert len(plugin.runs) == 2, (
        "at loading, and for the request: that package replaces a token in its last five minutes"
    )


async def test_its_service_account(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(cluster.token)
    (tmp_path / "ca.crt").write_bytes(cluster.ca_pem)
    host, _, port = cluster.url.removeprefix("https://").partition(":")
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    settings = OFFICIAL.made()
    loader = module("kubernetes.config.incluster_config").InClusterConfigLoader
    loader(str(tmp_path / "token"), str(tmp_path / "ca.crt"), environ=environment).load_and_set(settings)
    made = OFFICIAL.derive(settings, namespace="default")
    assert made.server_ca_file == tmp_path / "ca.crt"
    assert await said(made) == "hello\n"


# ---- its ApiClient


async def test_an_api_client_and_an_api_object(cluster: EmbeddedCluster) -> None:
    with module("kubernetes.client").ApiClient(_loaded(kubeconfig_of(cluster))) as client:
        for given in (client, module("kubernetes.client").CoreV1Api(client)):
            made = OFFICIAL.derive(given)
            assert made.url == cluster.url
            assert await header(made) == f"Bearer {cluster.token}"


async def test_the_headers_of_an_api_client(cluster: EmbeddedCluster) -> None:
    with module("kubernetes.client").ApiClient(_loaded(kubeconfig_of(cluster))) as client:
        client.set_default_header("Impersonate-User", "jane")
        client.set_default_header("Impersonate-Group", "developers")
        client.set_default_header("Impersonate-Extra-acme.com%2Fteam", "shop")
        made = OFFICIAL.derive(module("kubernetes.client").CoreV1Api(client))
    assert made.impersonate is not None
    assert (made.impersonate.user, made.impersonate.groups) == ("jane", ("developers",))
    assert made.impersonate.extra == {"acme.com/team": ("shop",)}
    async with create_client(made, backend="httpx") as ours:
        await Pods(ours).list()
    assert cluster.requests[-1].header("impersonate-user") == "jane"


async def test_an_authorization_header_of_an_api_client() -> None:
    with module("kubernetes.client").ApiClient(OFFICIAL.made(), "Authorization", "Bearer abc") as client:
        assert await header(OFFICIAL.derive(client)) == "Bearer abc"


def test_groups_without_a_user_are_refused() -> None:
    with (
        module("kubernetes.client").ApiClient(OFFICIAL.made(), "Impersonate-Group", "developers") as client,
        pytest.raises(ConfigurationError, match="no Impersonate-User"),
    ):
        OFFICIAL.derive(client)


def test_a_cookie_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "kubex_stream"),
        module("kubernetes.client").ApiClient(OFFICIAL.made(), cookie="session=hunter2") as client,
    ):
        OFFICIAL.derive(client)
    assert "cookie is not sent" in caplog.text
    assert "hunter2" not in caplog.text


def test_pools_that_are_stricter_are_refused() -> None:
    with module("kubernetes.client").ApiClient(OFFICIAL.made()) as client:
        client.rest_client.pool_manager.connection_pool_kw["assert_fingerprint"] = "ab:cd"
        with pytest.raises(ConfigurationError, match="assert_fingerprint is set"):
            OFFICIAL.derive(client)


def test_a_dynamic_client_is_its_api_client(cluster: EmbeddedCluster) -> None:
    class Dynamic:
        def __init__(self, client: Any) -> None:
            self.client = client
            self.configuration = client.configuration

    with module("kubernetes.client").ApiClient(_loaded(kubeconfig_of(cluster)), "Impersonate-User", "jane") as client:
        made = OFFICIAL.derive(Dynamic(client))
    assert made.impersonate is not None
    assert made.impersonate.user == "jane"
