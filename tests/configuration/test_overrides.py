"""Values of a caller that win over a kubeconfig's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kubex_stream.configuration import ClientConfiguration, Overrides
from kubex_stream.configuration.loading import load_default
from kubex_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from tests.configuration.conftest import Encode, MakeKubeconfig, Pki

pytestmark = pytest.mark.anyio

AsFile = Callable[..., Path]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_nothing_changes_nothing(kubeconfig: MakeKubeconfig, as_file: AsFile) -> None:
    file = as_file(kubeconfig({"token": "t"}, tls_server_name="x"))
    plain = await ClientConfiguration.load(kubeconfig=file)
    assert await ClientConfiguration.load(kubeconfig=file, overrides=Overrides()) == plain


async def test_another_server_has_another_name(kubeconfig: MakeKubeconfig, as_file: AsFile) -> None:
    file = as_file(kubeconfig({"token": "t"}, tls_server_name="old", proxy_url="http://old:1"))
    found = await ClientConfiguration.load(kubeconfig=file, overrides=Overrides(server="https://new:1/"))
    assert (found.url, found.tls_server_name, found.proxy_url) == ("https://new:1", None, "http://old:1")
    assert found.token == "t"
    given = Overrides(server="https://new", tls_server_name="new", proxy_url="http://new:2")
    found = await ClientConfiguration.load(kubeconfig=file, overrides=given)
    assert (found.tls_server_name, found.proxy_url) == ("new", "http://new:2")


async def test_trust_is_replaced_as_a_whole(
    kubeconfig: MakeKubeconfig, as_file: AsFile, base64: Encode, pki: Pki, tmp_path: Path
) -> None:
    file = as_file(kubeconfig(certificate_authority_data=base64(pki.ca)))
    found = await ClientConfiguration.load(kubeconfig=file, overrides=Overrides(insecure_skip_tls_verify=True))
    assert (found.server_ca_data, found.insecure_skip_tls_verify) == (None, True)
    other = tmp_path / "other.crt"
    other.write_bytes(pki.ca)
    found = await ClientConfiguration.load(kubeconfig=file, overrides=Overrides(server_ca_file=other))
    assert (found.server_ca_data, found.server_ca_file) == (None, other)
    file = as_file(kubeconfig(insecure_skip_tls_verify=True))
    found = await ClientConfiguration.load(kubeconfig=file, overrides=Overrides(server_ca_file=other))
    assert (found.insecure_skip_tls_verify, found.server_ca_file) == (False, other)


@pytest.mark.parametrize(
    "user", [{"token": "old"}, {"token": "old", "tokenFile": "/nowhere"}, {"username": "me", "password": "old"}]
)
async def test_a_token_replaces_every_other(
    kubeconfig: MakeKubeconfig, as_file: AsFile, user: dict[str, object]
) -> None:
    found = await ClientConfiguration.load(kubeconfig=as_file(kubeconfig(user)), overrides=Overrides(token="new"))
    assert (found.token, found.token_file, found.username, found.password) == ("new", None, None, None)


async def test_a_certificate_and_its_key(
    kubeconfig: MakeKubeconfig, as_file: AsFile, base64: Encode, pki: Pki, tmp_path: Path
) -> None:
    old, new = pki.client("old"), pki.client("new")
    user = {"client-certificate-data": base64(old[0]), "client-key-data": base64(old[1])}
    files = tmp_path / "tls.crt", tmp_path / "tls.key"
    for file, data in zip(files, new, strict=True):
        file.write_bytes(data)
    given = Overrides(client_cert_file=files[0], client_key_file=files[1])
    found = await ClientConfiguration.load(kubeconfig=as_file(kubeconfig(user)), overrides=given)
    assert (found.client_cert_file, found.client_key_file) == files
    assert (found.client_cert_data, found.client_key_data) == (None, None)


async def test_other_entries_than_the_contexts(kubeconfig: MakeKubeconfig, as_file: AsFile) -> None:
    dev, prod = kubeconfig({"token": "dev"}), kubeconfig({"token": "prod"}, name="prod", server="https://prod")
    both = dev | {key: [*dev[key], *prod[key]] for key in ("contexts", "clusters", "users")}  # type: ignore[misc]
    file = as_file(both)
    found = await ClientConfiguration.load(kubeconfig=file, overrides=Overrides(cluster="prod"))
    assert (found.url, found.token) == ("https://prod", "dev")
    found = await ClientConfiguration.load(kubeconfig=file, overrides=Overrides(user="prod-user"))
    assert (found.url, found.token) == ("https://api.example:6443", "prod")
    without = as_file({**both, "current-context": ""}, "without")
    found = await ClientConfiguration.load(kubeconfig=without, overrides=Overrides(cluster="prod"))
    assert (found.url, found.token) == ("https://prod", None)
    for kind in ("cluster", "user"):
        with pytest.raises(ConfigurationError, match=rf"^{kind} 'nope' is not in .*; there are: 'dev"):
            await ClientConfiguration.load(kubeconfig=file, overrides=Overrides.model_validate({kind: "nope"}))


async def test_a_server_is_all_it_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = await ClientConfiguration.load(overrides=Overrides(server="https://x:1", token="t"))
    assert (found.url, found.token, found.namespace) == ("https://x:1", "t", "default")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    assert (await ClientConfiguration.load(overrides=Overrides(server="https://x:1"))).url == "https://x:1"
    for given in (Overrides(token="t"), Overrides(cluster="c", server="https://x")):
        with pytest.raises(ConfigurationError, match="missing"):
            await ClientConfiguration.load(overrides=given)


async def test_secrets_do_not_travel_in_the_clear(
    kubeconfig: MakeKubeconfig, as_file: AsFile, caplog: pytest.LogCaptureFixture
) -> None:
    given = Overrides(server="http://x", token="hunter2")
    found = await ClientConfiguration.load(kubeconfig=as_file(kubeconfig()), overrides=given)
    assert found.token is None
    assert "plain http" in caplog.text
    assert "hunter2" not in caplog.text + repr(given)


async def test_in_a_pod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("mounted")
    fields = load_default(None, None, tmp_path, Overrides(token="given")).fields
    assert (fields["url"], fields["token"], fields["token_file"]) == ("https://10.0.0.1:443", "given", None)
