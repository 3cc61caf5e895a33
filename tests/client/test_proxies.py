"""Which proxy leads to the API server: options, kubeconfig, environment, and where the environment's does not apply."""

from __future__ import annotations

import pytest

from kubex_stream import ClientConfiguration, ClientOptions, ConfigurationError
from kubex_stream.client.proxies import choose_proxy

from .memory import WAYS, Way, go, scripted

HTTPS, HTTP = "https://api.example.com:6443", "http://api.example.com:8001"
PROXY, OTHER = "http://proxy.test:3128", "http://other.test:3128"
TRUSTING = ClientOptions(trust_env=True)


def chosen(
    url: str = HTTPS, options: ClientOptions = TRUSTING, configured: str | None = None, **environ: str
) -> str | None:
    return choose_proxy(url, options, configured, environ)


@pytest.mark.parametrize(
    ("url", "options", "configured", "environ", "expected"),
    [
        (HTTPS, ClientOptions(), None, {}, None),
        (HTTPS, ClientOptions(), None, {"https_proxy": PROXY}, None),
        (HTTPS, ClientOptions(), PROXY, {}, PROXY),
        (HTTPS, ClientOptions(proxy=PROXY), OTHER, {"https_proxy": OTHER}, PROXY),
        (HTTPS, ClientOptions(proxy=PROXY, trust_env=True), OTHER, {"https_proxy": OTHER}, PROXY),
        (HTTPS, TRUSTING, PROXY, {"https_proxy": OTHER}, PROXY),
        (HTTPS, TRUSTING, None, {"https_proxy": PROXY}, PROXY),
        (HTTPS, TRUSTING, None, {"http_proxy": PROXY}, None),
        (HTTP, TRUSTING, None, {"http_proxy": PROXY}, PROXY),
        (HTTP, TRUSTING, None, {"https_proxy": PROXY}, None),
        (HTTPS, TRUSTING, None, {"all_proxy": PROXY, "ALL_PROXY": PROXY}, None),
        (HTTPS, ClientOptions(proxy={"https": PROXY}), None, {}, PROXY),
        (HTTP, ClientOptions(proxy={"https": PROXY}), None, {}, None),
        (HTTP, ClientOptions(proxy={"https": PROXY}), OTHER, {}, OTHER),
        (HTTP, ClientOptions(proxy={"https": PROXY, "http": OTHER}), None, {}, OTHER),
    ],
)
def test_the_order(
    url: str, options: ClientOptions, configured: str | None, environ: dict[str, str], expected: str | None
) -> None:
    assert choose_proxy(url, options, configured, environ) == expected


def test_only_the_environment_knows_exceptions() -> None:
    assert chosen(options=ClientOptions(proxy=PROXY, trust_env=True), no_proxy="*") == PROXY
    assert chosen(configured=PROXY, no_proxy="*") == PROXY
    assert chosen(https_proxy=PROXY, no_proxy="*") is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTPS_PROXY": PROXY}, PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": OTHER}, PROXY),
        ({"https_proxy": "", "HTTPS_PROXY": OTHER}, OTHER),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "example.com"}, None),
        ({"HTTPS_PROXY": PROXY, "no_proxy": "elsewhere.org", "NO_PROXY": "example.com"}, PROXY),
        ({"HTTPS_PROXY": "proxy.test:3128"}, "http://proxy.test:3128"),
        ({"HTTPS_PROXY": "proxy.test"}, "http://proxy.test"),
        ({"HTTPS_PROXY": "https://user:pw@proxy.test"}, "https://user:pw@proxy.test"),
    ],
)
def test_names_and_forms_of_the_environment(environ: dict[str, str], expected: str | None) -> None:
    assert choose_proxy(HTTPS, TRUSTING, None, environ) == expected


def test_a_cgi_programs_caller_cannot_choose_the_proxy() -> None:
    assert chosen(HTTP, HTTP_PROXY=PROXY) == PROXY
    assert chosen(HTTP, HTTP_PROXY=PROXY, REQUEST_METHOD="GET") is None
    assert chosen(HTTP, http_proxy=PROXY, REQUEST_METHOD="GET") == PROXY
    assert chosen(HTTPS, HTTPS_PROXY=PROXY, REQUEST_METHOD="GET") == PROXY


BYPASSED = [
    ("api.example.com", HTTPS),
    ("API.Example.COM", HTTPS),
    ("example.com", HTTPS),
    (".example.com", HTTPS),
    ("*.example.com", HTTPS),
    ("com", HTTPS),
    ("*", HTTPS),
    ("other.org, example.com ,third.net", HTTPS),
    (",,example.com,", HTTPS),
    ("example.com:6443", HTTPS),
    (".example.com:6443", HTTPS),
    ("*.example.com:6443", HTTPS),
    ("example.com:", HTTPS),
    ("example.com:443", "https://example.com"),
    ("example.com:80", "http://example.com"),
    ("example.com", "https://api.example.com.:6443"),
    ("10.0.0.1", "https://10.0.0.1:6443"),
    ("10.0.0.1:6443", "https://10.0.0.1:6443"),
    ("10.0.0.0/8", "https://10.1.2.3:6443"),
    ("10.1.2.3/8", "https://10.1.2.3:6443"),
    ("2001:db8::1", "https://[2001:db8::1]:6443"),
    ("2001:DB8:0::1", "https://[2001:db8::1]:6443"),
    ("[2001:db8::1]", "https://[2001:db8::1]:6443"),
    ("[2001:db8::1]:6443", "https://[2001:db8::1]:6443"),
    ("2001:db8::/32", "https://[2001:db8:1::5]:6443"),
    ("", "https://localhost:6443"),
    ("", "https://LOCALHOST:6443"),
    ("", "https://127.0.0.1:6443"),
    ("", "https://127.8.9.10:6443"),
    ("", "https://[::1]:6443"),
]

PROXIED = [
    ("", HTTPS),
    ("ample.com", HTTPS),
    ("example.org", HTTPS),
    ("pi.example.com", HTTPS),
    ("sub.api.example.com", HTTPS),
    (".api.example.com", HTTPS),
    ("*.api.example.com", HTTPS),
    ("*ple.com", HTTPS),
    ("example.com:443", HTTPS),
    ("example.com:port", HTTPS),
    ("example.com:²", HTTPS),
    (":6443", HTTPS),
    ("*:6443", HTTPS),
    ("example.com/8", HTTPS),
    ("10.0.0.2", "https://10.0.0.1:6443"),
    ("10.0.0.1:443", "https://10.0.0.1:6443"),
    ("10.0.0.1", "https://10.0.0.11:6443"),
    ("0.0.1", "https://10.0.0.1:6443"),
    (".1", "https://10.0.0.1:6443"),
    ("192.168.0.0/16", "https://10.0.0.1:6443"),
    ("10.0.0.0/99", "https://10.0.0.1:6443"),
    ("::/0", "https://10.0.0.1:6443"),
    ("0.0.0.0/0", "https://[2001:db8::1]:6443"),
    ("2001:db8::2", "https://[2001:db8::1]:6443"),
    ("[2001:db8::1]:443", "https://[2001:db8::1]:6443"),
    ("[2001:db8::2", "https://[2001:db8::1]:6443"),
    ("10.0.0.0/8", HTTPS),
    ("", "https://localhost.example.com"),
]


@pytest.mark.parametrize(("no_proxy", "url"), BYPASSED)
def test_no_proxy_leads_past_the_proxy(no_proxy: str, url: str) -> None:
    assert chosen(url, http_proxy=PROXY, https_proxy=PROXY, no_proxy=no_proxy) is None


@pytest.mark.parametrize(("no_proxy", "url"), PROXIED)
def test_what_no_proxy_does_not_name_goes_through_the_proxy(no_proxy: str, url: str) -> None:
    assert chosen(url, http_proxy=PROXY, https_proxy=PROXY, no_proxy=no_proxy) == PROXY


@pytest.mark.parametrize(
    "proxy",
    ["socks5://user:hunter2@proxy", "http://user:hunter2@proxy:port", "ftp://hunter2@proxy", "http://", "http:// x"],
)
def test_what_is_no_http_proxy_names_the_variable_and_not_the_password(proxy: str) -> None:
    with pytest.raises(ConfigurationError, match=r"environment variable HTTPS_PROXY is not usable.*SOCKS") as caught:
        chosen(https_proxy=proxy)
    assert "hunter2" not in str(caught.value)
    # It does no harm where it is not used.
    assert chosen(https_proxy=proxy, no_proxy="example.com") is None
    assert chosen(HTTP, https_proxy=proxy) is None


@pytest.mark.anyio
@pytest.mark.parametrize("way", WAYS)
async def test_one_answer_for_every_way(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", PROXY)
    configuration = ClientConfiguration(url=HTTP)
    async with scripted(None, configuration=configuration, options=TRUSTING) as client:
        await go(client, way)
    assert client.sent[0].proxy == PROXY


@pytest.mark.anyio
@pytest.mark.parametrize("way", WAYS)
async def test_the_kubeconfigs_proxy_is_used_and_the_environments_is_not_by_default(
    way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", OTHER)
    for configuration, expected in (
        (ClientConfiguration(url=HTTP), None),
        (ClientConfiguration(url=HTTP, proxy_url=PROXY), PROXY),
    ):
        async with scripted(None, configuration=configuration) as client:
            await go(client, way)
        assert client.sent[0].proxy == expected
