"""What a Configuration of ``kubernetes`` and of ``kubernetes_asyncio`` comes to: the rules that both share."""

from __future__ import annotations

import ssl
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock

import pytest

from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError
from tests.configuration.from_others import URL, Generated, header

if TYPE_CHECKING:
    from tests.configuration.conftest import Pki

pytestmark = pytest.mark.anyio

DERIVE = {
    "kubernetes": ClientConfiguration.from_kubernetes,
    "kubernetes_asyncio": ClientConfiguration.from_kubernetes_asyncio,
    "kubernetes.aio": ClientConfiguration.from_kubernetes_asyncio,
}
SECRET = "hunter2"


@pytest.fixture(params=list(DERIVE))
def package(request: pytest.FixtureRequest) -> Generated:
    pytest.importorskip(request.param)
    return Generated(request.param, DERIVE[request.param])


@pytest.fixture
def official() -> Generated:
    pytest.importorskip("kubernetes")
    return Generated("kubernetes", ClientConfiguration.from_kubernetes)


# ---- server and namespace


def test_the_server_and_the_namespace(package: Generated) -> None:
    made = package.derive(package.made(f"{URL}/prefix/"))
    assert (made.url, made.namespace) == (f"{URL}/prefix", "default")
    assert package.derive(package.made(), namespace="shop").namespace == "shop"
    assert "Configuration" in made.origin.cluster


def test_a_server_that_is_none(package: Generated) -> None:
    with pytest.raises(ConfigurationError, match="host is missing"):
        package.derive(package.made(host=""))
    with pytest.raises(ConfigurationError, match=r"client\.Configuration: the server's address 'no-url' is not"):
        package.derive(package.made(host="no-url"))


# ---- TLS


def test_files_stay_files(package: Generated, pki: Pki, tmp_path: Path) -> None:
    certificate, key = pki.client()
    for name, content in {"ca.crt": pki.ca, "client.crt": certificate, "client.key": key}.items():
        (tmp_path / name).write_bytes(content)
    settings = {"ssl_ca_cert": str(tmp_path / "ca.crt"), "cert_file": str(tmp_path / "client.crt")}
    made = package.derive(package.made(**settings, key_file=str(tmp_path / "client.key")))
    assert (made.server_ca_file, made.server_ca_data) == (tmp_path / "ca.crt", None)
    assert (made.client_cert_file, made.client_key_file) == (tmp_path / "client.crt", tmp_path / "client.key")
    assert not made.insecure_skip_tls_verify


def test_one_file_may_hold_certificate_and_key(package: Generated, pki: Pki, tmp_path: Path) -> None:
    file = tmp_path / "both.pem"
    file.write_bytes(b"".join(pki.client()))
    made = package.derive(package.made(cert_file=str(file)))
    assert made.client_cert_file == made.client_key_file == file


def test_a_temporary_file_is_read_at_once(package: Generated, pki: Pki, tmp_path: Path) -> None:
    file = tmp_path / "tmpab12_cd9"
    file.write_bytes(pki.ca)
    made = package.derive(package.made(ssl_ca_cert=str(file)))
    file.unlink()
    assert (made.server_ca_data, made.server_ca_file) == (pki.ca, None)


def test_a_file_that_is_not_there_is_an_error_at_once(package: Generated, tmp_path: Path) -> None:
    for name in ("ca.crt", "tmpab12_cd9"):
        with pytest.raises(ConfigurationError, match=r"client\.Configuration: .*cannot be read"):
            package.derive(package.made(ssl_ca_cert=str(tmp_path / name)))


def test_authorities_as_data(official: Generated, pki: Pki, tmp_path: Path) -> None:
    pem = pki.ca.decode()
    assert official.derive(official.made(ca_cert_data=pem)).server_ca_data == pki.ca
    der = official.derive(official.made(ca_cert_data=ssl.PEM_cert_to_DER_cert(pem))).server_ca_data
    assert der is not None
    assert ssl.PEM_cert_to_DER_cert(der.decode()) == ssl.PEM_cert_to_DER_cert(pem)

    # That package trusts both the file and the data.
    (tmp_path / "ca.crt").write_bytes(pki.ca)
    both = official.derive(official.made(ca_cert_data=pem, ssl_ca_cert=str(tmp_path / "ca.crt"))).server_ca_data
    assert both is not None
    assert both.count(b"BEGIN CERTIFICATE") == 2
    with pytest.raises(ConfigurationError, match="ca_cert_data is a int"):
        official.derive(official.made(ca_cert_data=7))


def test_no_verification_means_no_authorities(package: Generated, tmp_path: Path) -> None:
    made = package.derive(package.made(verify_ssl=False, ssl_ca_cert=str(tmp_path / "not-there")))
    assert made.insecure_skip_tls_verify
    assert made.server_ca_file is None


def test_a_client_that_does_not_say_whether_it_verifies_does() -> None:
    settings = SimpleNamespace(host=URL, get_api_key_with_prefix=lambda _: None)
    assert not ClientConfiguration.from_kubernetes(settings).insecure_skip_tls_verify


def test_names_of_the_server(package: Generated) -> None:
    assert package.derive(package.made()).tls_server_name is None
    assert package.derive(package.made(tls_server_name="inside")).tls_server_name == "inside"
    assert package.derive(package.made(assert_hostname="inside")).tls_server_name == "inside"
    assert package.derive(package.made(assert_hostname=True, tls_server_name="inside")).tls_server_name == "inside"
    assert package.derive(package.made(assert_hostname=False, verify_ssl=False)).insecure_skip_tls_verify


def test_checks_of_names_that_cannot_be_carried_over_are_refused(package: Generated) -> None:
    with pytest.raises(ConfigurationError, match="assert_hostname=False cannot be carried over; set tls_server_name"):
        package.derive(package.made(assert_hostname=False))
    with pytest.raises(ConfigurationError, match="assert_hostname and tls_server_name differ"):
        package.derive(package.made(assert_hostname="one", tls_server_name="two"))


@pytest.mark.parametrize("name", ["assert_fingerprint", "ssl_ciphers", "ssl_context", "ssl_minimum_version"])
def test_what_is_stricter_is_refused(package: Generated, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} is set, which makes connections stricter"):
        package.derive(package.made(**{name: "something"}))


def test_a_connector_of_ones_own_is_refused(package: Generated) -> None:
    with pytest.raises(ConfigurationError, match="a connector of its own"):
        package.derive(package.made(client_session_kwargs={"connector": object()}))


# ---- credentials


@pytest.mark.parametrize("key", ["BearerToken", "authorization"])
@pytest.mark.parametrize(
    ("value", "prefix"),
    [("abc", "Bearer"), ("Bearer abc", None), ("bearer abc\n", None), ("Bearer abc", "Bearer"), (" abc ", None)],
)
async def test_a_token_in_all_its_forms(package: Generated, key: str, value: str, prefix: str | None) -> None:
    settings = package.made(api_key={key: value}, api_key_prefix={key: prefix} if prefix else {})
    made = package.derive(settings)
    assert await header(made) == "Bearer abc"
    assert callable(made.token)
    assert await made.token() == "abc"


@pytest.mark.parametrize("key", ["BearerToken", "authorization"])
async def test_basic_authentication_in_the_place_of_a_token(package: Generated, key: str) -> None:
    value = b64encode(b"me:hunter2").decode()
    made = package.derive(package.made(api_key={key: value}, api_key_prefix={key: "Basic"}))
    assert await header(made) == f"Basic {value}"
    made = package.derive(package.made(api_key={key: f"basic {value}"}))
    assert await header(made) == f"Basic {value}"
    assert callable(made.token)
    with pytest.raises(ConfigurationError, match="there is no bearer token"):
        await made.token()


@pytest.mark.parametrize("value", [f"Negotiate {SECRET}", f"Bearer {SECRET} {SECRET}", f"Bearer {SECRET}\x00", 7])
async def test_credentials_that_cannot_be_sent(package: Generated, value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"client\.Configuration: the (credentials|token)") as caught:
        await header(package.derive(package.made(api_key={"BearerToken": value})))
    assert SECRET not in str(caught.value)


async def test_the_token_of_the_moment_is_sent(package: Generated) -> None:
    settings = package.made(api_key={"BearerToken": "Bearer one"})
    credentials = package.derive(settings).credentials()
    assert await credentials.headers() == [("Authorization", "Bearer one")]
    assert await credentials.refresh() is False, "it is the same"
    settings.api_key["BearerToken"] = "Bearer two"
    assert await credentials.refresh() is True
    assert await credentials.headers() == [("Authorization", "Bearer two")]


async def test_what_else_a_configuration_may_hold(package: Generated) -> None:
    assert await header(package.derive(package.made())) is None
    assert await header(package.derive(package.made(access_token="abc"))) == "Bearer abc"
    basic = package.derive(package.made(username="me", password=SECRET))
    assert await header(basic) == "Basic " + b64encode(b"me:hunter2").decode()
    both = package.derive(package.made(username="me", password=SECRET, api_key={"BearerToken": "abc"}))
    assert await header(both) == "Bearer abc", "as that package does"


async def test_a_token_function_that_has_every_attribute_is_just_that() -> None:
    assert await header(ClientConfiguration(url=URL, token=AsyncMock(return_value="abc"))) == "Bearer abc"


def test_no_repr_shows_a_secret(package: Generated) -> None:
    for settings in (
        {"api_key": {"BearerToken": SECRET}},
        {"access_token": SECRET},
        {"username": "me", "password": SECRET},
        {"proxy": "http://proxy:3128", "proxy_headers": {"Proxy-Authorization": "Basic bWU6aHVudGVyMg=="}},
    ):
        made = package.derive(package.made(**settings))
        assert SECRET not in f"{made!r} {made} {made.token!r} {made.model_dump()} {made.credentials()!r}"


# ---- what is given


@pytest.mark.parametrize("wrong", [object(), "https://api.example", 7, {}, dict, ClientConfiguration])
def test_other_objects_are_refused(package: Generated, wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="takes a Configuration, an ApiClient or an API object") as caught:
        package.derive(wrong)
    assert "api.example" not in str(caught.value)


def test_a_class_is_refused(package: Generated) -> None:
    with pytest.raises(ConfigurationError, match="takes a Configuration"):
        package.derive(package.configuration)


def test_the_other_packages_objects_are_refused(package: Generated) -> None:
    derive = next(other for other in DERIVE.values() if other != package.derive)
    with pytest.raises(ConfigurationError, match=f"this Configuration is one for {package.derive.__name__}"):
        derive(package.made())


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes_asyncio"])
def test_the_default_configuration(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name)
    package = Generated(name, DERIVE[name])
    monkeypatch.setattr(package.configuration, "_default", None)
    with pytest.raises(ConfigurationError, match=rf"call {name}\.config\.load_kube_config\(\) first"):
        package.derive()
    package.configuration.set_default(package.made("https://default.example"))
    assert package.derive().url == "https://default.example"


@pytest.mark.parametrize("name", ["kubernetes", "kubernetes_asyncio"])
def test_a_package_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"{name}.client", None)
    with pytest.raises(ConfigurationError, match=f"the package {name} is not installed"):
        DERIVE[name]()


def test_nothing_is_imported_for_an_object() -> None:
    program = """
import sys
from types import SimpleNamespace
from kubex_stream import ClientConfiguration
settings = SimpleNamespace(host="http://api.example", get_api_key_with_prefix=lambda name: None)
print(ClientConfiguration.from_kubernetes(settings).url, ClientConfiguration.from_kubernetes_asyncio(settings).url)
print([name for name in ("kubernetes", "kubernetes_asyncio", "kr8s", "lightkube") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["http://api.example http://api.example", "[]"]
