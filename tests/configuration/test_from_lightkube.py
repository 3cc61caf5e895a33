"""``ClientConfiguration.from_lightkube``: its clients, and the configurations that they are made of."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError
from kubex_stream.testing import EmbeddedCluster
from tests.configuration.from_others import URL, header, kubeconfig_of, module, said

if TYPE_CHECKING:
    from tests.configuration.conftest import Pki, Plugin

pytest.importorskip("lightkube")
pytestmark = pytest.mark.anyio

V1BETA1 = "client.authentication.k8s.io/v1beta1"
derive = ClientConfiguration.from_lightkube


def _config(
    user: dict[str, object] | None = None,
    cluster: dict[str, object] | None = None,
    *,
    namespace: str | None = None,
    fname: Path | None = None,
) -> Any:
    """A KubeConfig of lightkube's own classes."""
    models = module("lightkube.config.models")
    return module("lightkube").KubeConfig.from_one(
        cluster=models.Cluster(server=URL, **(cluster or {})),
        user=models.User(**(user or {})),
        namespace=namespace,
        fname=fname,
    )


def _data(content: bytes) -> str:
    return b64encode(content).decode()


# ---- what may be given


async def test_its_clients(cluster: EmbeddedCluster) -> None:
    lightkube = module("lightkube")
    config = lightkube.KubeConfig.from_file(cluster.kubeconfig)
    with lightkube.Client(config) as client:
        assert await said(derive(client)) == "hello\n"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_its_async_client(cluster: EmbeddedCluster) -> None:
    lightkube = module("lightkube")
    client = lightkube.AsyncClient(lightkube.KubeConfig.from_file(cluster.kubeconfig))
    try:
        made = derive(client)
        assert (made.url, made.namespace, made.server_ca_data) == (cluster.url, "default", cluster.ca_pem)
        assert cluster.token not in repr(made)
        assert await said(made) == "hello\n"
    finally:
        await client.close()


async def test_its_configurations(cluster: EmbeddedCluster) -> None:
    config = module("lightkube").KubeConfig.from_file(cluster.kubeconfig)
    for given in (config, config.get()):
        assert await said(derive(given)) == "hello\n"


def test_a_kubeconfig_without_a_current_context() -> None:
    config = _config()
    config.current_context = None
    with pytest.raises(ConfigurationError, match=r"no current context \(ConfigError\); pass config\.get\(context\)"):
        derive(config)


def test_the_namespace() -> None:
    assert derive(_config()).namespace == "default"
    assert derive(_config(namespace="shop")).namespace == "shop"
    with module("lightkube").Client(_config(namespace="shop"), namespace="inn") as client:
        assert derive(client).namespace == "inn"
        assert derive(client, namespace="bar").namespace == "bar"


@pytest.mark.parametrize("wrong", [None, 7, "lightkube", object(), {}])
def test_other_objects_are_refused(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="takes a lightkube Client, AsyncClient, KubeConfig or SingleConfig"):
        derive(wrong)


def test_its_classes_are_refused() -> None:
    lightkube = module("lightkube")
    for wrong in (lightkube, lightkube.Client, lightkube.KubeConfig):
        with pytest.raises(ConfigurationError, match="takes a lightkube Client"):
            derive(wrong)


# ---- TLS


def test_authorities(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(pki.ca)
    file = {"certificate_auth": "ca.crt", "certificate_auth_data": "ignored", "insecure": True}
    made = derive(_config(cluster=file, fname=tmp_path / "config"))
    assert (made.server_ca_file, made.server_ca_data) == (tmp_path / "ca.crt", None)
    # lightkube verifies where there is an authority, whatever else is said.
    assert not made.insecure_skip_tls_verify
    assert derive(_config(cluster={"certificate_auth_data": _data(pki.ca)})).server_ca_data == pki.ca
    assert derive(_config(cluster={"insecure": True})).insecure_skip_tls_verify
    assert not derive(_config()).insecure_skip_tls_verify


def test_files_that_cannot_be_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not say which kubeconfig it comes from"):
        derive(_config(cluster={"certificate_auth": "ca.crt"}))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        derive(_config(cluster={"certificate_auth": str(tmp_path / "ca.crt")}))
    with pytest.raises(ConfigurationError, match="certificate-authority-data is not base64"):
        derive(_config(cluster={"certificate_auth_data": "x"}))


def test_client_certificates(pki: Pki, tmp_path: Path) -> None:
    certificate, key = pki.client()
    (tmp_path / "jane.crt").write_bytes(certificate)
    (tmp_path / "jane.key").write_bytes(key)
    files = derive(_config({"client_cert": "jane.crt", "client_key": "jane.key"}, fname=tmp_path / "config"))
    assert (files.client_cert_file, files.client_key_file) == (tmp_path / "jane.crt", tmp_path / "jane.key")
    data = derive(_config({"client_cert_data": _data(certificate), "client_key_data": _data(key)}))
    assert (data.client_cert_data, data.client_key_data) == (certificate, key)


# ---- credentials, in lightkube's own order


async def test_tokens(tmp_path: Path) -> None:
    assert await header(derive(_config())) is None
    assert await header(derive(_config({"token": "abc\n"}))) == "Bearer abc"
    (tmp_path / "token").write_text("one")
    made = derive(_config({"token": "abc", "token_file": str(tmp_path / "token")}))
    assert await header(made) == "Bearer one"
    (tmp_path / "token").write_text("two")
    assert await header(made) == "Bearer two"


async def test_a_user_name_and_password() -> None:
    made = derive(_config({"username": "me", "password": "hunter2"}))
    assert await header(made) == "Basic " + _data(b"me:hunter2")
    assert "hunter2" not in repr(made)
    assert await header(derive(_config({"username": "me", "password": "hunter2", "token": "abc"}))) == "Bearer abc"
    assert await header(derive(_config({"username": "me"}))) is None, "as lightkube"


def test_an_auth_provider_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="auth-provider is not supported"):
        derive(_config({"auth_provider": {"name": "gcp"}}))


async def test_a_plugin(cluster: EmbeddedCluster, plugin: Plugin) -> None:
    plugin.says(token=cluster.token, version=V1BETA1)
    entry = plugin.entry(apiVersion=V1BETA1)
    del entry["interactiveMode"]
    config = module("lightkube").KubeConfig.from_dict(kubeconfig_of(cluster, {"exec": entry}))
    made = derive(config)
    assert await said(made) == "hello\n"
    (run,) = plugin.runs
    assert run["args"] == [plugin.secret_argument]
    assert isinstance(run["env"], dict)
    assert run["env"]["PLUGIN_SECRET"] == "hunter2-environment"
    assert "hunter2" not in repr(made)


def test_a_plugin_of_an_old_version_is_refused() -> None:
    spec = module("lightkube.config.models").UserExec(apiVersion="client.authentication.k8s.io/v1alpha1", command="aws")
    with pytest.raises(ConfigurationError, match="v1alpha1 was removed from Kubernetes"):
        derive(_config({"exec": spec}))


def test_a_plugin_beside_a_certificate_is_refused(pki: Pki) -> None:
    certificate, key = pki.client()
    spec = module("lightkube.config.models").UserExec(apiVersion=V1BETA1, command="aws")
    user = {"exec": spec, "client_cert_data": _data(certificate), "client_key_data": _data(key)}
    with pytest.raises(ConfigurationError, match="a client certificate and a credential plugin"):
        derive(_config(user))


async def test_a_service_account_whose_token_rotates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with EmbeddedCluster(quiet=True) as cluster:
        for name, content in {
            "token": cluster.token.encode(),
            "ca.crt": cluster.ca_pem,
            "namespace": b"default",
        }.items():
            (tmp_path / name).write_bytes(content)
        host, _, port = cluster.url.removeprefix("https://").partition(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        made = derive(module("lightkube").KubeConfig.from_service_account(tmp_path))
        assert made.server_ca_file == tmp_path / "ca.crt"
        assert await said(made) == "hello\n"
        (tmp_path / "token").write_text(cluster.rotate_token())
        assert await said(made) == "hello\n"
