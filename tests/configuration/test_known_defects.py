"""What went wrong with configuration and credentials in other clients, one test for each, so that it does not here."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from kubex_stream.configuration import ClientConfiguration, Impersonation

if TYPE_CHECKING:
    from tests.configuration.conftest import Encode, MakeKubeconfig, Pki, Plugin

pytestmark = pytest.mark.anyio


async def test_only_server_and_certificates_were_read_from_a_kubeconfig(kubeconfig: MakeKubeconfig) -> None:
    user = {"token": "t", "as": "jane"}
    given = kubeconfig(
        user, namespace="team", insecure_skip_tls_verify=True, proxy_url="http://proxy:1", tls_server_name="name"
    )
    found = await ClientConfiguration.from_mapping(given)
    assert (found.token, found.namespace, found.impersonate) == ("t", "team", Impersonation(user="jane"))
    assert (found.insecure_skip_tls_verify, found.proxy_url, found.tls_server_name) == (True, "http://proxy:1", "name")


async def test_a_token_file_of_a_kubeconfig_was_ignored(kubeconfig: MakeKubeconfig, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc\n")
    found = await ClientConfiguration.from_mapping(kubeconfig({"tokenFile": "token"}), base=tmp_path)
    assert await found.credentials().headers() == [("Authorization", "Bearer abc")]


async def test_env_cluster_info_certificate_and_expiry_of_plugins_were_ignored(
    kubeconfig: MakeKubeconfig, plugin: Plugin, pki: Pki
) -> None:
    certificate, key = (part.decode() for part in pki.client())
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    plugin.says(token="t", clientCertificateData=certificate, clientKeyData=key, expirationTimestamp=soon)
    given = kubeconfig({"exec": plugin.entry(provideClusterInfo=True)})
    credentials = (await ClientConfiguration.from_mapping(given)).credentials()

    assert await credentials.headers() == [("Authorization", "Bearer t")]
    assert await credentials.ssl_context() is not None
    first, second = plugin.runs  # two, because the first answer was about to end
    environment = first["env"]
    assert isinstance(environment, dict)
    assert environment["PLUGIN_SECRET"] == "hunter2-environment"
    assert json.loads(str(second["question"]))["spec"]["cluster"]["server"] == "https://api.example:6443"


async def test_two_tasks_asking_at_once_broke_a_lock(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    given = kubeconfig({"exec": plugin.entry()})
    credentials = (await ClientConfiguration.from_mapping(given)).credentials()
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(credentials.headers)
            group.start_soon(credentials.ssl_context)
    assert len(plugin.runs) == 1


def test_the_configuration_imported_an_http_library() -> None:
    code = "import sys, kubex_stream.configuration; print({'httpx', 'aiohttp', 'requests'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "set()\n"


async def test_the_ca_file_won_over_the_data(kubeconfig: MakeKubeconfig, base64: Encode, pki: Pki) -> None:
    given = kubeconfig(certificate_authority="/nowhere", certificate_authority_data=base64(pki.ca))
    found = await ClientConfiguration.from_mapping(given)
    assert await found.credentials().ssl_context() is not None


async def test_relative_paths_started_at_the_working_directory(
    kubeconfig: MakeKubeconfig, pki: Pki, as_file: Callable[..., Path]
) -> None:
    file = as_file(kubeconfig(certificate_authority="ca.pem"), "kube/config")
    (file.parent / "ca.pem").write_bytes(pki.ca)
    assert (await ClientConfiguration.from_kubeconfig(file)).server_ca_file == file.parent / "ca.pem"


async def test_a_list_of_kubeconfigs_was_not_merged(
    kubeconfig: MakeKubeconfig, as_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = [
        as_file(kubeconfig(name="one"), "1"),
        tmp_path / "missing",
        as_file(kubeconfig({"token": "t"}, name="two"), "2"),
    ]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, names)))
    assert (await ClientConfiguration.load(context="two")).token == "t"


async def test_an_ipv6_service_host_was_not_bracketed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pki: Pki
) -> None:
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_bytes(pki.ca)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00:10:96::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert (await ClientConfiguration.from_cluster(directory=tmp_path)).url == "https://[fd00:10:96::1]:443"


async def test_try_refresh_token_was_never_looked_at(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    for wanted in (True, False):
        configuration = ClientConfiguration(url="https://host", token_file=tmp_path / "token", try_refresh_token=wanted)
        assert await configuration.credentials().refresh() is wanted


async def test_private_keys_were_left_in_temporary_files(
    kubeconfig: MakeKubeconfig, base64: Encode, pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    certificate, key = pki.client()
    user = {"client-certificate-data": base64(certificate), "client-key-data": base64(key)}
    configuration = await ClientConfiguration.from_mapping(kubeconfig(user))
    context = await configuration.credentials().ssl_context()
    assert context is not None
    assert list(folder.iterdir()) == []


async def test_a_service_account_token_did_not_reach_the_handshake(tmp_path: Path) -> None:
    """There is one list of headers, for requests and handshakes, and the scheme stands in front of the token once."""
    (tmp_path / "token").write_text("ey.a.b\n")
    configuration = ClientConfiguration(url="https://host", token_file=tmp_path / "token")
    assert await configuration.credentials().headers() == [("Authorization", "Bearer ey.a.b")]


async def test_headers_with_names_of_their_own_broke_the_handshake() -> None:
    impersonate = Impersonation(user="jane", groups=["a", "b"], extra={"acme.com/team": ["x"]})
    configuration = ClientConfiguration(url="https://host", impersonate=impersonate)
    assert await configuration.credentials().headers() == [
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-acme.com%2Fteam", "x"),
    ]


async def test_plugin_credentials_were_never_refreshed(kubeconfig: MakeKubeconfig, plugin: Plugin) -> None:
    credentials = (await ClientConfiguration.from_mapping(kubeconfig({"exec": plugin.entry()}))).credentials()
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    plugin.says(token="expired", expirationTimestamp=past)
    assert await credentials.headers() == [("Authorization", "Bearer expired")]
    plugin.says(token="fresh")
    assert await credentials.headers() == [("Authorization", "Bearer fresh")]
    plugin.says(token="after-a-401")
    assert await credentials.refresh() is True
    assert await credentials.headers() == [("Authorization", "Bearer after-a-401")]


async def test_tls_server_name_was_ignored(kubeconfig: MakeKubeconfig, base64: Encode, pki: Pki) -> None:
    """The name is what SNI sends and what the certificate must have, whatever the host of the URL is."""
    given = kubeconfig(
        tls_server_name="kubernetes", certificate_authority_data=base64(pki.ca), server="https://10.0.0.1"
    )
    configuration = await ClientConfiguration.from_mapping(given)
    context = await configuration.credentials().ssl_context()
    assert context is not None
    names: list[str | None] = []
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.sni_callback = lambda _object, name, _context: names.append(name)
    pki.server("kubernetes").configure_cert(server)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up, server_hostname=configuration.tls_server_name)
    other = server.wrap_bio(up, down, server_side=True)
    for side in (client, other, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert names == ["kubernetes"]
    assert client.version() is not None
