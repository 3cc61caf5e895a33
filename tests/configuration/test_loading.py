"""From kubeconfigs and pods to a ClientConfiguration."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from kubex_stream.configuration import ClientConfiguration, Impersonation
from kubex_stream.configuration.loading import load_default
from kubex_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.configuration.conftest import Encode, MakeKubeconfig, Pki

pytestmark = pytest.mark.anyio

AsFile = Callable[..., Path]


@pytest.fixture
def anyio_backend() -> str:
    """Loading is a thread's work; what differs between event loops is tested with the credentials."""
    return "asyncio"


async def test_everything_that_a_kubeconfig_can_say_arrives(
    kubeconfig: MakeKubeconfig, base64: Encode, pki: Pki, as_file: AsFile
) -> None:
    certificate, key = pki.client()
    user = {
        "token": "abc",
        "client-certificate-data": base64(certificate),
        "client-key-data": base64(key),
        "as": "jane",
        "as-uid": "1",
        "as-groups": ["g", "h"],
        "as-user-extra": {"scope": ["x", "y"]},
        "something-new": {"of": "tomorrow"},
    }
    cluster = {
        "server": "https://[::1]:6443/prefix/",
        "certificate_authority_data": base64(pki.ca),
        "tls_server_name": "kubernetes",
        "proxy_url": "http://proxy:3128",
        "something_new": 1,
    }
    file = as_file(kubeconfig(user, namespace="staging", **cluster) | {"preferences": {}, "extensions": None})

    configuration = await ClientConfiguration.from_kubeconfig(file)

    assert configuration == ClientConfiguration(
        url="https://[::1]:6443/prefix",
        namespace="staging",
        server_ca_data=pki.ca,
        tls_server_name="kubernetes",
        proxy_url="http://proxy:3128",
        token="abc",
        client_cert_data=certificate,
        client_key_data=key,
        impersonate=Impersonation(user="jane", uid="1", groups=["g", "h"], extra={"scope": ["x", "y"]}),
    )
    assert configuration.origin.cluster == f"cluster 'dev' in {file}"
    assert configuration.origin.user == f"user 'dev-user' in {file}"


async def test_insecure_and_basic_arrive(kubeconfig: MakeKubeconfig) -> None:
    given = kubeconfig({"username": "me", "password": "hunter2"}, insecure_skip_tls_verify=True)
    assert await ClientConfiguration.from_mapping(given) == ClientConfiguration(
        url="https://api.example:6443", insecure_skip_tls_verify=True, username="me", password="hunter2"
    )


async def test_empty_and_null_mean_not_given(kubeconfig: MakeKubeconfig) -> None:
    user = {"token": "", "username": None, "password": "", "exec": None, "auth-provider": None, "client-key-data": ""}
    given = kubeconfig(user, certificate_authority_data="", proxy_url=None, extensions=None)
    assert await ClientConfiguration.from_mapping(given) == ClientConfiguration(url="https://api.example:6443")


async def test_relative_files_start_at_the_kubeconfig_that_names_them(
    kubeconfig: MakeKubeconfig, pki: Pki, as_file: AsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = pki.client()
    (tmp_path / "first" / "keys").mkdir(parents=True)
    (tmp_path / "second").mkdir()
    (tmp_path / "first" / "keys" / "c.pem").write_bytes(certificate)
    (tmp_path / "first" / "k.pem").write_bytes(key)
    (tmp_path / "first" / "token").write_text("abc")
    (tmp_path / "second" / "ca.pem").write_bytes(pki.ca)
    user = {"client-certificate": "keys/c.pem", "client-key": "./k.pem", "tokenFile": "token"}
    first, second = kubeconfig(user), kubeconfig(certificate_authority="ca.pem")
    as_file(first | {"clusters": []}, "first/config")
    as_file(second | {"users": []}, "second/config")
    monkeypatch.chdir(tmp_path)

    found = await ClientConfiguration.from_kubeconfig(["first/config", "second/config"])

    assert found.client_cert_file == tmp_path / "first" / "keys" / "c.pem"
    assert found.client_key_file == tmp_path / "first" / "k.pem"
    assert found.token_file == tmp_path / "first" / "token"
    assert found.server_ca_file == tmp_path / "second" / "ca.pem"


async def test_relative_files_of_a_mapping_start_where_the_caller_says(
    kubeconfig: MakeKubeconfig, pki: Pki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_bytes(pki.ca)
    given = kubeconfig(certificate_authority="ca.pem")
    found = await ClientConfiguration.from_mapping(given, base=tmp_path)
    assert found.server_ca_file == tmp_path / "ca.pem"
    monkeypatch.chdir(tmp_path)
    assert (await ClientConfiguration.from_mapping(given)).server_ca_file == tmp_path / "ca.pem"


async def test_data_beats_the_file(kubeconfig: MakeKubeconfig, base64: Encode, pki: Pki) -> None:
    certificate, key = pki.client()
    user = {
        "client-certificate": "/nowhere/c",
        "client-key": "/nowhere/k",
        "client-certificate-data": base64(certificate),
        "client-key-data": base64(key),
    }
    given = kubeconfig(user, certificate_authority="/nowhere/ca", certificate_authority_data=base64(pki.ca))
    found = await ClientConfiguration.from_mapping(given)
    assert (found.server_ca_data, found.server_ca_file) == (pki.ca, None)
    assert (found.client_cert_data, found.client_cert_file) == (certificate, None)
    assert (found.client_key_data, found.client_key_file) == (key, None)


async def test_base64_may_be_folded(kubeconfig: MakeKubeconfig, base64: Encode, pki: Pki) -> None:
    folded = "\n  ".join(base64(pki.ca)[i : i + 64] for i in range(0, 2000, 64))
    found = await ClientConfiguration.from_mapping(kubeconfig(certificate_authority_data=folded))
    assert found.server_ca_data == pki.ca


async def test_credentials_do_not_travel_over_plain_http(
    kubeconfig: MakeKubeconfig, caplog: pytest.LogCaptureFixture
) -> None:
    given = kubeconfig({"token": "hunter2", "as": "jane"}, server="http://localhost:8080")
    with caplog.at_level(logging.WARNING, "kubex_stream"):
        found = await ClientConfiguration.from_mapping(given)
    assert (found.token, found.impersonate) == (None, Impersonation(user="jane"))
    assert "user 'dev-user'" in caplog.text
    assert "plain http" in caplog.text
    assert "hunter2" not in caplog.text


# ---- which kubeconfig


async def test_kubeconfig_lists_merge_first_wins(
    kubeconfig: MakeKubeconfig, as_file: AsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kubeconfig({"token": "first"}, server="https://first") | {"current-context": ""}
    second = kubeconfig({"token": "second", "as": "jane"}, server="https://second", tls_server_name="second")
    third = kubeconfig({"token": "third"}, name="prod", server="https://third")
    files = [as_file(first, "1"), tmp_path / "missing", as_file(second, "2"), as_file(third, "3")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["", *map(str, files), "", str(files[0])]))

    found = await ClientConfiguration.load()
    assert (found.url, found.token, found.tls_server_name, found.impersonate) == ("https://first", "first", None, None)
    assert (await ClientConfiguration.load(context="prod")).token == "third"
    assert await ClientConfiguration.from_kubeconfig() == found
    assert await ClientConfiguration.from_kubeconfig(files) == found


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed: nothing to compare with")
@pytest.mark.parametrize("context", ["dev", "prod"])
async def test_kubectl_merges_alike(
    context: str, kubeconfig: MakeKubeconfig, as_file: AsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pki: Pki
) -> None:
    files = [
        as_file(kubeconfig({"token": "1"}, name="dev") | {"current-context": None, "clusters": []}, "a/config"),
        tmp_path / "missing",
        as_file(
            kubeconfig({"token": "2", "as": "jane"}, name="dev", certificate_authority="ca", namespace="x"), "b/config"
        ),
        as_file(
            kubeconfig({"tokenFile": "t"}, name="prod", server="https://prod/", namespace="y"),
            "c/config",
        ),
        as_file(kubeconfig({"token": "4"}, name="prod", server="https://other"), "d/config"),
    ]
    (tmp_path / "b" / "ca").write_bytes(pki.ca)
    (tmp_path / "c" / "t").write_text("3")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, files)))
    view = ["kubectl", "config", "view", "--raw", "--minify", "-o", "json", "--context", context]
    theirs = json.loads((await anyio.run_process(view)).stdout)
    cluster, user = theirs["clusters"][0]["cluster"], theirs["users"][0]["user"]

    ours = await ClientConfiguration.load(context=context)

    assert ours.url == cluster["server"].rstrip("/")
    # It shows paths as they are written.
    assert (ours.server_ca_file and ours.server_ca_file.name) == cluster.get("certificate-authority")
    assert ours.token == user.get("token")
    assert (ours.token_file and ours.token_file.name) == user.get("tokenFile")
    assert (ours.impersonate.user if ours.impersonate else None) == user.get("as")
    assert ours.namespace == theirs["contexts"][0]["context"].get("namespace", "default")


async def test_home_is_looked_at_without_kubeconfig(
    kubeconfig: MakeKubeconfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path.home() / ".kube" / "config"
    path.parent.mkdir()
    path.write_text(json.dumps(kubeconfig({"token": "home"})))
    assert (await ClientConfiguration.load()).token == "home"
    monkeypatch.setenv("KUBECONFIG", "")
    assert (await ClientConfiguration.from_kubeconfig()).token == "home"


async def test_an_explicit_file_is_the_only_one(
    kubeconfig: MakeKubeconfig, as_file: AsFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(as_file(kubeconfig({"token": "environment"}), "environment")))
    given = as_file(kubeconfig({"token": "given"}), "given")
    assert (await ClientConfiguration.load(kubeconfig=str(given))).token == "given"
    with pytest.raises(ConfigurationError, match=r"missing cannot be read \(No such file"):
        await ClientConfiguration.load(kubeconfig=tmp_path / "missing")


async def test_a_tilde_is_no_home(kubeconfig: MakeKubeconfig, monkeypatch: pytest.MonkeyPatch) -> None:
    (Path.home() / "config").write_text(json.dumps(kubeconfig()))
    with pytest.raises(ConfigurationError, match="leading ~ is not expanded"):
        await ClientConfiguration.load(kubeconfig="~/config")
    monkeypatch.setenv("KUBECONFIG", "~/config")
    with pytest.raises(ConfigurationError, match="leading ~ is not expanded in KUBECONFIG"):
        await ClientConfiguration.load()


async def test_nothing_found_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await ClientConfiguration.load()
    assert str(Path.home() / ".kube" / "config") in str(caught.value)
    assert "does not run in a pod; set KUBECONFIG" in str(caught.value)

    with pytest.raises(ConfigurationError, match="context 'x' is asked for, but there is no kubeconfig"):
        await ClientConfiguration.load(context="x")

    names = [str(tmp_path / "a"), str(tmp_path / "b")]
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(names))
    for call in (ClientConfiguration.load(), ClientConfiguration.from_kubeconfig()):
        with pytest.raises(ConfigurationError) as caught:
            await call
        assert all(name in str(caught.value) for name in names)
        assert "nothing is there" in str(caught.value)
    with pytest.raises(ConfigurationError, match=r"none of .*a, .*b exists"):
        await ClientConfiguration.from_kubeconfig(names)


# ---- in a pod


@pytest.fixture
def account(tmp_path: Path, pki: Pki) -> Path:
    """What a pod finds mounted."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("pod-token\n")
    (folder / "ca.crt").write_bytes(pki.ca)
    (folder / "namespace").write_text("team\n")
    return folder


@pytest.mark.parametrize(("host", "url"), [("10.0.0.1", "https://10.0.0.1:443"), ("fd00::1", "https://[fd00::1]:443")])
async def test_a_pod_is_configured_by_its_service_account(
    host: str, url: str, account: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = await ClientConfiguration.from_cluster(directory=account)
    assert found == ClientConfiguration(
        url=url, namespace="team", token_file=account / "token", server_ca_file=account / "ca.crt"
    )
    assert await found.credentials().headers() == [("Authorization", "Bearer pod-token")]


async def test_a_pod_without_namespace_and_ca_is_configured(
    account: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (account / "ca.crt").unlink()
    (account / "namespace").unlink()
    with caplog.at_level(logging.WARNING, "kubex_stream"):
        found = await ClientConfiguration.from_cluster(directory=account)
    assert (found.namespace, found.server_ca_file) == ("default", None)
    assert "ca.crt" in caplog.text


async def test_a_pod_is_the_last_resort(
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    as_file: AsFile,
    kubeconfig: MakeKubeconfig,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    pod = "https://10.0.0.1:443"
    assert load_default(None, None, account).fields["url"] == pod
    assert caplog.text == ""

    monkeypatch.setenv("KUBECONFIG", "/nowhere/config")
    assert load_default(None, None, account).fields["url"] == pod
    assert "/nowhere/config" in caplog.text
    monkeypatch.setenv("KUBECONFIG", str(as_file("", "empty")))
    assert load_default(None, None, account).fields["url"] == pod
    with pytest.raises(ConfigurationError, match=r"context 'x' is asked for, but .*empty is empty"):
        load_default(None, "x", account)
    monkeypatch.setenv("KUBECONFIG", str(as_file(kubeconfig())))
    assert load_default(None, None, account).fields["url"] == "https://api.example:6443"


async def test_outside_of_a_pod_an_error_says_so(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="does not run in a pod: KUBERNETES_SERVICE_HOST"):
        await ClientConfiguration.from_cluster(directory=account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (account / "token").write_text("\n")
    with pytest.raises(ConfigurationError, match=r"the token file .*token: the token is empty"):
        await ClientConfiguration.from_cluster(directory=account)
    (account / "token").unlink()
    with pytest.raises(ConfigurationError, match="automountServiceAccountToken: true"):
        await ClientConfiguration.from_cluster(directory=account)
