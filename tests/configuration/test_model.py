from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from kubex_stream.configuration import ClientConfiguration, ExecPlugin, Impersonation
from kubex_stream.errors import ConfigurationError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://host:6443", "https://host:6443"),
        ("https://host:6443/", "https://host:6443"),
        ("  https://host/k8s/clusters/c-abc/ ", "https://host/k8s/clusters/c-abc"),
        ("http://127.0.0.1:8001", "http://127.0.0.1:8001"),
        ("https://[2001:db8::1]:6443/", "https://[2001:db8::1]:6443"),
        ("HTTPS://host", "https://host"),
    ],
)
def test_the_address_has_one_form(given: str, expected: str) -> None:
    assert ClientConfiguration(url=given).url == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("ftp://host", "not an http or https URL"),
        ("host:6443", "not an http or https URL"),
        ("", "not an http or https URL"),
        ("https://", "not an http or https URL"),
        ("https://host:port", "not a URL"),
        ("https://[::1", "not a URL"),
        ("https://2001:db8::1:99999999", "IPv6 address in [brackets]"),
        ("https://host/?a=b", "query or a fragment"),
        ("https://host/#x", "query or a fragment"),
        ("https://ho st/", "white space"),
        ("https://ho\nst/", "white space"),
        ("https://user:hunter2@host", "give username and password instead"),
    ],
)
def test_a_wrong_address_is_refused(given: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace("[", r"\[")) as caught:
        ClientConfiguration(url=given)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://proxy:3128", "https://proxy:3128", "http://me:hunter2@proxy:3128"])
def test_an_http_proxy_is_taken(url: str) -> None:
    assert ClientConfiguration(url="https://host", proxy_url=url + "/").proxy_url == url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("socks5://me:hunter2@proxy:1080", "SOCKS proxy, which is not supported; use an http:// or https:// proxy"),
        ("SOCKS5H://proxy:1080", "SOCKS proxy"),
        ("proxy:3128", "not an http or https URL"),
        ("http://me:hunter2@proxy:x", "not a URL"),
    ],
)
def test_another_proxy_is_refused(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        ClientConfiguration(url="https://host", proxy_url=url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("namespace", ["", "a/b", "..", "A", "-a", "a-", "a" * 64, "a.b", "ä"])
def test_a_wrong_namespace_is_refused(namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="is no Kubernetes name"):
        ClientConfiguration(url="https://host", namespace=namespace)


async def _token() -> str:
    return "t"


def test_contradictions_are_refused() -> None:
    url = "https://host"
    with pytest.raises(ConfigurationError, match="both a token and a user name"):
        ClientConfiguration(url=url, token="t", username="u", password="p")
    with pytest.raises(ConfigurationError, match="both a token and a user name"):
        ClientConfiguration(url=url, token_file=Path("t"), username="u")
    with pytest.raises(ConfigurationError, match="password is given without a username"):
        ClientConfiguration(url=url, password="p")
    with pytest.raises(ConfigurationError, match="holds a ':'"):
        ClientConfiguration(url=url, username="a:b", password="p")
    with pytest.raises(ConfigurationError, match="token_file and a token function"):
        ClientConfiguration(url=url, token=_token, token_file=Path("t"))
    with pytest.raises(ConfigurationError, match="certificate but no client key"):
        ClientConfiguration(url=url, client_cert_file=Path("c"))
    with pytest.raises(ConfigurationError, match="key but no client certificate"):
        ClientConfiguration(url=url, client_key_data=b"k")
    with pytest.raises(ConfigurationError, match="contradict each other"):
        ClientConfiguration(url=url, insecure_skip_tls_verify=True, server_ca_file=Path("ca"))


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("a b", "spaces"),
        ("Bearer a", "leave it out"),
        ("a\nb", "line breaks"),
        ("ä", "ASCII"),
    ],
)
def test_a_token_that_no_header_can_hold_is_refused(token: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ClientConfiguration(url="https://host", token=token)


def test_white_space_around_a_token_is_dropped() -> None:
    assert ClientConfiguration(url="https://host", token=" abc\n").token == "abc"


def test_it_is_frozen_and_knows_its_fields() -> None:
    configuration = ClientConfiguration(url="https://host")
    with pytest.raises(ValidationError, match="frozen"):
        configuration.url = "https://other"
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        ClientConfiguration.model_validate({"url": "https://host", "server": "https://host"})


def test_a_copy_keeps_the_secrets_and_the_origin() -> None:
    configuration = ClientConfiguration(url="https://host", token="hunter2")
    copy = configuration.model_copy(update={"namespace": "other"})
    assert (copy.namespace, copy.token, copy.origin) == ("other", "hunter2", configuration.origin)


def test_no_secret_is_shown() -> None:
    plugin = ExecPlugin(command="helper", args=["hunter2"], env={"SECRET": "hunter2"}, cluster_config="hunter2")
    by_token = ClientConfiguration(
        url="https://host",
        token="hunter2",
        client_cert_data=b"certificate",
        client_key_data=b"hunter2",
        proxy_url="http://me:hunter2@proxy",
        exec_plugin=plugin,
    )
    by_password = ClientConfiguration(url="https://host", username="me", password="hunter2")
    for configuration in (by_token, by_password):
        credentials = configuration.credentials()
        for shown in (configuration, configuration.tls_material(), credentials, credentials.__dict__):
            assert "hunter2" not in f"{shown} {shown!r}"
    assert "hunter2" not in by_password.model_dump_json()
    assert "proxy_url='http://…@proxy'" in repr(by_token)
    assert "helper" in repr(by_token)


def test_no_secret_is_shown_by_an_error_about_a_type() -> None:
    with pytest.raises(ValidationError) as caught:
        ClientConfiguration.model_validate({"url": "https://host", "password": ["hunter2"], "token": 7002})
    assert "hunter2" not in str(caught.value)
    assert "7002" not in str(caught.value)
    with pytest.raises(ValidationError) as caught:
        ExecPlugin.model_validate({"command": "x", "args": "hunter2", "env": ["hunter2"]})
    assert "hunter2" not in str(caught.value)


def test_impersonation_becomes_headers() -> None:
    impersonation = Impersonation(
        user="jane",
        uid="06f6",
        groups=["developers", "system:masters"],
        extra={"scopes": ["view", "edit"], "acme.com/Größe": ["100%"], "a%b": ["c"]},
    )
    assert impersonation.headers() == [
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "06f6"),
        ("Impersonate-Group", "developers"),
        ("Impersonate-Group", "system:masters"),
        ("Impersonate-Extra-scopes", "view"),
        ("Impersonate-Extra-scopes", "edit"),
        ("Impersonate-Extra-acme.com%2FGr%C3%B6%C3%9Fe", "100%"),
        ("Impersonate-Extra-a%25b", "c"),
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "a\r\nX: y"},
        {"user": "a", "uid": "b\n"},
        {"user": "a", "groups": ["b\0"]},
        {"user": "a", "extra": {"k": ["\x7f"]}},
    ],
)
def test_impersonation_cannot_break_a_header(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="line break or another control character"):
        Impersonation.model_validate(fields)
