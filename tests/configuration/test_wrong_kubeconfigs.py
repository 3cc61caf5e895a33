"""Wrong kubeconfigs: each error says which file, which entry, and what to do; none shows a secret."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.configuration.conftest import MakeKubeconfig

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
