"""``ClientConfiguration.from_kr8s``: its Api on both sides, its credentials, its kubeconfigs."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from kubex_stream import Unauthorized
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError
from kubex_stream.testing import EmbeddedCluster
from tests.configuration.from_others import header, kubeconfig_of, module, said

if TYPE_CHECKING:
    from tests.configuration.conftest import Plugin

pytest.importorskip("kr8s")
# It warns of every Kubernetes that is newer than itself.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def _api(**settings: object) -> AsyncIterator[Any]:
    api = await module("kr8s.asyncio").api(**settings)
    try:
        yield api
    finally:
        if api._session is not None:
            await api._session.aclose()


@contextmanager
def _sync_api(**settings: object) -> Iterator[Any]:
    api = module("kr8s").api(**settings)
    try:
        yield api
    finally:
        if api._session is not None:
            module("kr8s._async_utils").Portal().call(api._session.aclose)


@pytest.fixture
def own_cluster() -> Iterator[EmbeddedCluster]:
    """One whose token may be changed."""
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """kr8s does not ask plugins as they want to be asked: without this, the one of these tests would fail there."""
    monkeypatch.setenv("KUBERNETES_EXEC_INFO", "{}")


# ---- what it says


async def test_its_kubeconfig(cluster: EmbeddedCluster) -> None:
    async with _api(kubeconfig=str(cluster.kubeconfig)) as api:
        made = ClientConfiguration.from_kr8s(api)
        assert (made.url, made.namespace, made.server_ca_data) == (cluster.url, "default", cluster.ca_pem)
        assert cluster.token not in f"{made!r}{made.token!r}"
        assert await said(made) == "hello\n"


async def test_its_namespace(cluster: EmbeddedCluster) -> None:
    async with _api(kubeconfig=str(cluster.kubeconfig), namespace="shop") as api:
        assert ClientConfiguration.from_kr8s(api).namespace == "shop"
        assert ClientConfiguration.from_kr8s(api, namespace="inn").namespace == "inn"


async def test_an_object_that_has_an_api(cluster: EmbeddedCluster) -> None:
    async with _api(kubeconfig=str(cluster.kubeconfig)) as api:
        pod = await module("kr8s.asyncio.objects").Pod.get("demo", api=api)
        assert ClientConfiguration.from_kr8s(pod).url == cluster.url


async def test_tls_settings(cluster: EmbeddedCluster) -> None:
    kubeconfig = kubeconfig_of(cluster)
    kubeconfig["clusters"][0]["cluster"]["tls-server-name"] = "localhost"
    async with _api(kubeconfig=kubeconfig) as api:
        assert ClientConfiguration.from_kr8s(api).tls_server_name == "localhost"
    kubeconfig["clusters"][0]["cluster"] |= {"insecure-skip-tls-verify": True}
    async with _api(kubeconfig=kubeconfig, namespace="other") as api:
        made = ClientConfiguration.from_kr8s(api)
        assert made.insecure_skip_tls_verify
        assert made.server_ca_data is None


async def test_files_beside_a_kubeconfig(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    certificate = cluster.client_certificate("jane")
    for name, content in {
        "ca.crt": cluster.ca_pem,
        "jane.crt": certificate.certificate,
        "jane.key": certificate.key,
    }.items():
        (tmp_path / name).write_bytes(content)
    kubeconfig = kubeconfig_of(cluster, {"client-certificate": "jane.crt", "client-key": "jane.key"})
    kubeconfig["clusters"][0]["cluster"] = {"server": cluster.url, "certificate-authority": "ca.crt"}
    (tmp_path / "config").write_text(json.dumps(kubeconfig))
    async with _api(kubeconfig=str(tmp_path / "config")) as api:
        made = ClientConfiguration.from_kr8s(api)
        assert made.server_ca_file == tmp_path / "ca.crt"
        assert (made.client_cert_file, made.client_key_file) == (tmp_path / "jane.crt", tmp_path / "jane.key")
        assert made.token is None
        assert await said(made) == "hello\n"


async def test_client_certificate_data(cluster: EmbeddedCluster) -> None:
    certificate = cluster.client_certificate("jane")
    user = {
        "client-certificate-data": b64encode(certificate.certificate).decode(),
        "client-key-data": b64encode(certificate.key).decode(),
    }
    async with _api(kubeconfig=kubeconfig_of(cluster, user)) as api:
        made = ClientConfiguration.from_kr8s(api)
        assert (made.client_cert_data, made.client_key_data) == (certificate.certificate, certificate.key)
        assert await said(made) == "hello\n"


# ---- credentials that change


async def test_it_authenticates_again_after_a_401(own_cluster: EmbeddedCluster) -> None:
    async with _api(kubeconfig=str(own_cluster.kubeconfig)) as api:
        made = ClientConfiguration.from_kr8s(api)
        before = await header(made)
        own_cluster.rotate_token()  # and the kubeconfig has the new one
        assert await header(made) == before, "kr8s does not know yet"
        assert await said(made) == "hello\n"
        assert await header(made) == f"Bearer {own_cluster.token}"


async def test_a_sync_api_authenticates_again_after_a_401(own_cluster: EmbeddedCluster) -> None:
    with _sync_api(kubeconfig=str(own_cluster.kubeconfig)) as api:
        made = ClientConfiguration.from_kr8s(api)
        own_cluster.rotate_token()
        assert await said(made) == "hello\n"


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_sync_api_serves_trio_too(own_cluster: EmbeddedCluster) -> None:
    with _sync_api(kubeconfig=str(own_cluster.kubeconfig)) as api:
        made = ClientConfiguration.from_kr8s(api)
        own_cluster.rotate_token()
        assert await said(made) == "hello\n"


@pytest.mark.parametrize("rotated", [True, False])
async def test_tasks_that_are_refused_together_authenticate_once(own_cluster: EmbeddedCluster, rotated: bool) -> None:
    async with _api(kubeconfig=str(own_cluster.kubeconfig)) as api:
        credentials = ClientConfiguration.from_kr8s(api).credentials()
        renew, calls = api.reauthenticate, 0
        renewed: list[bool] = []

        async def counted() -> None:
            nonlocal calls
            calls += 1
            await renew()

        api.reauthenticate = counted

        async def refused() -> None:
            await credentials.headers()
            await everybody_has_asked.wait()
            renewed.append(await credentials.refresh())

        everybody_has_asked = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(refused)
            await anyio.wait_all_tasks_blocked()
            if rotated:
                own_cluster.rotate_token()
            everybody_has_asked.set()
        assert (renewed, calls) == ([rotated] * 10, 1)
        assert await credentials.headers() == [("Authorization", f"Bearer {own_cluster.token}")]


async def test_a_token_that_stays_wrong(own_cluster: EmbeddedCluster) -> None:
    async with _api(kubeconfig=kubeconfig_of(own_cluster)) as api:
        own_cluster.rotate_token()
        with pytest.raises(Unauthorized):
            await said(ClientConfiguration.from_kr8s(api))


async def test_authenticating_again_may_fail(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(json.dumps(kubeconfig_of(cluster)))
    async with _api(kubeconfig=str(file)) as api:
        credentials = ClientConfiguration.from_kr8s(api).credentials()
        await credentials.headers()
        file.write_text("{")
        with pytest.raises(ConfigurationError, match=r"kr8s\.Api: renewing the credentials failed"):
            await credentials.refresh()


async def test_a_plugin_is_run_again_before_its_token_ends(cluster: EmbeddedCluster, plugin: Plugin) -> None:
    plugin.says(
        token=cluster.token, expirationTimestamp=f"{datetime.now(UTC) + timedelta(seconds=5):%Y-%m-%dT%H:%M:%SZ}"
    )
    entry = plugin.entry()
    del entry["interactiveMode"]  # kr8s does not want it, where kubectl does
    async with _api(kubeconfig=kubeconfig_of(cluster, {"exec": entry})) as api:
        made = ClientConfiguration.from_kr8s(api)
        assert (made.token, made.exec_plugin is not None) == (None, True)
        before = len(plugin.runs)
        credentials = made.credentials()
        assert (
            await credentials.headers() == await credentials.headers() == [("Authorization", f"Bearer {cluster.token}")]
        )
        assert len(plugin.runs) == before + 2, "kr8s would have kept it"
        assert await said(made) == "hello\n"


async def test_a_plugin_that_gives_a_certificate(cluster: EmbeddedCluster, plugin: Plugin) -> None:
    certificate = cluster.client_certificate("jane")
    plugin.says(clientCertificateData=certificate.certificate.decode(), clientKeyData=certificate.key.decode())
    async with _api(kubeconfig=kubeconfig_of(cluster, {"exec": plugin.entry()})) as api:
        assert await said(ClientConfiguration.from_kr8s(api)) == "hello\n"


async def test_a_plugin_beside_a_certificate_is_refused(cluster: EmbeddedCluster, plugin: Plugin) -> None:
    certificate = cluster.client_certificate("jane")
    plugin.says(token=cluster.token)
    user = {
        "exec": plugin.entry(),
        "client-certificate-data": b64encode(certificate.certificate).decode(),
        "client-key-data": b64encode(certificate.key).decode(),
    }
    async with _api(kubeconfig=kubeconfig_of(cluster, user)) as api:
        with pytest.raises(ConfigurationError, match="a client certificate and a credential plugin"):
            ClientConfiguration.from_kr8s(api)


# ---- what is none


def test_an_api_that_is_not_ready() -> None:
    api = module("kr8s._api").Api(kubeconfig={}, bypass_factory=True)
    with pytest.raises(ConfigurationError, match=r"await it first: api = await kr8s\.asyncio\.api\(\)"):
        ClientConfiguration.from_kr8s(api)


async def test_a_forgotten_await() -> None:
    coroutine = module("kr8s.asyncio").api()
    with pytest.raises(ConfigurationError, match=r"write from_kr8s\(await kr8s\.asyncio\.api\(\)\)"):
        ClientConfiguration.from_kr8s(coroutine)
    coroutine.close()


def test_other_objects_are_refused() -> None:
    for wrong in (None, 7, "kr8s", object(), module("kr8s").api, module("kr8s").Api, module("kr8s")):
        with pytest.raises(ConfigurationError, match="from_kr8s takes a kr8s Api"):
            ClientConfiguration.from_kr8s(wrong)
