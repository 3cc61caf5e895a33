"""From kubeconfigs and pods to a ClientConfiguration."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

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


async def _fails(kubeconfig: object, *, context: str | None = None, base: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        await ClientConfiguration.from_mapping(kubeconfig, context=context, base=base)  # type: ignore[arg-type]
    return str(caught.value)


# ---- what a kubeconfig can say


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


# ---- wrong kubeconfigs: each says which file, which entry, and what to do

NOT_YAML = "users:\n- name: x\n  user:\n    token: hunter2: oops\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (NOT_YAML, "not valid YAML (line 4, column "),
        ("a: *hunter2-alias\n", "not valid YAML (line 1, column 4: found undefined alias"),
        ("a: !hunter2 b\n", "not valid YAML (line 1, column 4: could not determine a constructor"),
        ("a: [1,\n", "not valid YAML (line 2, column 1"),
        ("\ttab: 1\n", "not valid YAML (line 1, column 1"),
        ("a\0b", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("hunter2", "its content is not a mapping"),
        ("[]", "its content is not a mapping"),
        ("", "is empty"),
        ("---\n", "is empty"),
        ("{}", "is empty"),
        ("apiVersion: v1\nkind: Config\nclusters: null\n", "is empty"),
        ("apiVersion: v1\nkind: Pod\n", "it says kind 'Pod'"),
        ("apiVersion: v2\nkind: Config\n", "apiVersion 'v2'"),
        ("contexts: {}\n", "contexts must be a list"),
        ("users: [hunter2]\n", "users[0] must have a name, a string, and a user, a mapping"),
        ("users: [{name: 1}]\n", "users[0] must have a name, a string"),
        ("users: [{name: a, user: hunter2}]\n", "users[0] must have a name, a string, and a user, a mapping"),
        ("users: [{name: a}, {name: a}]\n", "user 'a' comes twice in users; rename or remove one"),
        ("current-context: 1\n", "current-context must be a string"),
        ("contexts: [{name: b}, {name: a}]\n", "has no current-context; pass context= (there are: 'a', 'b')"),
        ("current-context: x\n", "current-context 'x' is not in"),
        ("current-context: x\ncontexts: [{name: a}]\n", "there are: 'a'"),
        (
            "current-context: a\ncontexts: [{name: a}]\nclusters: [{name: c}]\n",
            "cluster is missing; name one of the clusters: 'c'",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: d}}]\nclusters: [{name: c}]\n",
            "context 'a' in FILE: cluster 'd' is not in FILE; there are: 'c'",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\nclusters: [{name: c}]\n",
            "context 'a' in FILE: user is missing; name one of the users: none",
        ),
        (
            "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
            "clusters: [{name: c}]\nusers: [{name: u}]\n",
            "cluster 'c' in FILE: server is missing",
        ),
    ],
)
async def test_a_wrong_file_is_named(content: str, message: str, as_file: AsFile) -> None:
    file = as_file(content)
    with pytest.raises(ConfigurationError) as caught:
        await ClientConfiguration.from_kubeconfig(file)
    assert message.replace("FILE", str(file)) in str(caught.value)
    assert str(file) in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_a_missing_context_is_named(kubeconfig: MakeKubeconfig) -> None:
    assert "context 'x' is not in the kubeconfig mapping; there are: 'dev'" in await _fails(kubeconfig(), context="x")


async def test_json_with_tabs_is_read(kubeconfig: MakeKubeconfig, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(json.dumps(kubeconfig({"token": "t"}), indent="\t"))
    assert (await ClientConfiguration.from_kubeconfig(tmp_path / "config")).token == "t"


async def test_a_date_in_yaml_stays_text(as_file: AsFile) -> None:
    text = (
        "current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
        "clusters: [{name: c, cluster: {server: https://x}}]\nusers: [{name: u, user: {token: 2024-01-01}}]\n"
    )
    assert (await ClientConfiguration.from_kubeconfig(as_file(text))).token == "2024-01-01"


@pytest.mark.skipif(sys.platform == "win32", reason="folders can be opened, and everything read, in other ways there")
async def test_a_file_that_cannot_be_read_is_named(as_file: AsFile, tmp_path: Path, kubeconfig: MakeKubeconfig) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Is a directory\); correct the path"):
        await ClientConfiguration.from_kubeconfig(tmp_path)
    # A part of the path that is no folder: there is something, so it is not skipped, in a list neither.
    below = as_file(kubeconfig()) / "below"
    with pytest.raises(ConfigurationError, match=r"cannot be read \(Not a directory\)"):
        await ClientConfiguration.from_kubeconfig([below])


@pytest.mark.parametrize(
    ("user", "cluster", "message"),
    [
        (
            {"token": 7002},
            {},
            "user 'dev-user' in the kubeconfig mapping: token is a number, but must be a string; put it",
        ),
        ({"password": True}, {}, "password is a boolean, but must be a string"),
        ({"as-groups": "hunter2"}, {}, "as-groups is a string, but must be a list"),
        ({"as-groups": [1]}, {}, "as-groups is a number, but must be a list of strings"),
        ({"as": "x", "as-user-extra": {"k": "hunter2"}}, {}, "as-user-extra.k is a string, but must be a list"),
        ({"as-uid": "1"}, {}, "given without as; name the user to act as"),
        ({"as": "a\nb"}, {}, "user 'dev-user' in the kubeconfig mapping: impersonation: a name"),
        ({"exec": "hunter2"}, {}, "exec is a string, but must be a mapping"),
        ({"client-certificate-data": "hunter2!"}, {}, "client-certificate-data is not valid base64"),
        ({"token": "hunter2 hunter2"}, {}, "user 'dev-user' in the kubeconfig mapping: token: the token holds spaces"),
        ({"token": "a", "username": "b", "password": "hunter2"}, {}, "only one of them can be sent: remove one"),
        ({"auth-provider": {"name": "gcp"}}, {}, "'gcp' is not supported: Kubernetes replaced auth providers"),
        ({"auth-provider": {"name": "gcp"}}, {}, "gke-gcloud-auth-plugin"),
        ({"auth-provider": {"name": "azure"}}, {}, "kubelogin convert-kubeconfig"),
        ({"auth-provider": {"name": "oidc", "config": {"id-token": "hunter2"}}}, {}, "kubectl oidc-login setup"),
        ({"auth-provider": {"name": "other"}}, {}, "use the exec plugin of that provider"),
        ({}, {"server": "ftp://x"}, "cluster 'dev' in the kubeconfig mapping, user 'dev-user'"),
        ({}, {"insecure_skip_tls_verify": "true"}, "insecure-skip-tls-verify is a string, but must be true or false"),
        ({}, {"certificate_authority_data": "-----BEGIN CERTIFICATE-----"}, "is PEM text, but must be base64 of it"),
        ({}, {"certificate_authority_data": "ä"}, "certificate-authority-data is not valid base64"),
        (
            {},
            {"certificate_authority_data": "YWJj"},
            "cluster 'dev' in the kubeconfig mapping: the CA data holds no PEM",
        ),
        ({}, {"certificate_authority": "/nowhere/ca"}, "the CA file /nowhere/ca cannot be read (No such file"),
        ({}, {"proxy_url": "socks5://u:hunter2@x"}, "SOCKS proxy, which is not supported"),
        ({}, {"extensions": ["x"]}, "extensions[0] is a string, but must be a mapping"),
        ({"tokenFile": "/nowhere/token"}, {}, "the token file /nowhere/token cannot be read"),
        (
            {"client-certificate": "/nowhere/c", "client-key": "/k"},
            {},
            "client certificate file /nowhere/c cannot be read",
        ),
        ({"client-certificate": "/nowhere/c"}, {}, "there is a client certificate but no client key"),
    ],
)
async def test_a_wrong_entry_is_named(
    user: dict[str, object], cluster: dict[str, object], message: str, kubeconfig: MakeKubeconfig
) -> None:
    text = await _fails(kubeconfig(user, **cluster))
    if sys.platform != "win32":  # where paths look otherwise
        assert message in text
    assert "hunter2" not in text
    assert "7002" not in text


async def test_a_namespace_is_checked(kubeconfig: MakeKubeconfig) -> None:
    assert "namespace '../x' is no Kubernetes name" in await _fails(kubeconfig(namespace="../x"))


async def test_entries_that_are_not_used_may_be_wrong(kubeconfig: MakeKubeconfig) -> None:
    given = kubeconfig({"token": "t"})
    assert isinstance(given["users"], list)
    given["users"].append({"name": "old", "user": {"auth-provider": {"name": "gcp"}, "token": 1}})
    assert (await ClientConfiguration.from_mapping(given)).token == "t"


async def test_something_else_than_a_mapping_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="use from_kubeconfig"):
        await ClientConfiguration.from_mapping("/path/to/config")  # type: ignore[arg-type]


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
