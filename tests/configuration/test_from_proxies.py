"""The proxies of other clients: settings, headers, exceptions, the environment; and that our connections do go through them."""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from kubex_stream.configuration import ClientConfiguration
from kubex_stream.errors import ConfigurationError
from kubex_stream.testing import EmbeddedCluster
from kubex_stream.testing.conformance.raw import Head, RawServer, proxy_handler
from tests.configuration.from_others import URL, Generated, kubeconfig_of, module, said
from tests.packages import release

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")]

PROXY = "http://proxy.example:3128"
BASIC = "Basic " + b64encode(b"us@er:p:ss/").decode()
WITH_BASIC = "http://us%40er:p%3Ass%2F@proxy.example:3128"
DERIVE = {
    "kubernetes": ClientConfiguration.from_kubernetes,
    "kubernetes_asyncio": ClientConfiguration.from_kubernetes_asyncio,
}


@pytest.fixture(params=list(DERIVE))
def package(request: pytest.FixtureRequest) -> Generated:
    pytest.importorskip(request.param)
    return Generated(request.param, DERIVE[request.param])


@contextmanager
def proxy() -> Iterator[tuple[str, list[Head]]]:
    """A proxy on loopback, and the heads that it gets."""
    heads: list[Head] = []
    with RawServer(proxy_handler(heads)) as server:
        yield server.url, heads


def tunnelled(cluster: EmbeddedCluster, heads: list[Head]) -> None:
    """All went to the cluster through the proxy."""
    assert heads
    place = cluster.url.removeprefix("https://")
    assert {(head.method, head.target) for head in heads} == {("CONNECT", place)}


# ---- settings


def test_a_proxy_and_its_password(package: Generated) -> None:
    assert package.derive(package.made()).proxy_url is None
    assert package.derive(package.made(proxy=PROXY)).proxy_url == PROXY
    for name in ("proxy-authorization", "Proxy-Authorization"):
        assert package.derive(package.made(proxy=PROXY, proxy_headers={name: BASIC})).proxy_url == WITH_BASIC
    # A header wins over what the address says.
    other = "http://other:password@proxy.example:3128"
    settings = package.made(proxy=other, proxy_headers={"Proxy-Authorization": BASIC})
    assert package.derive(settings).proxy_url == WITH_BASIC


@pytest.mark.parametrize("value", ["Bearer hunter2", "Basic hunter2", "Basic ", "Basic aHVudGVyMg=="])
def test_other_ways_to_authenticate_at_a_proxy_are_refused(package: Generated, value: str) -> None:
    with pytest.raises(
        ConfigurationError, match="proxy-authorization header is not a user name and a password"
    ) as caught:
        package.derive(package.made(proxy=PROXY, proxy_headers={"Proxy-Authorization": value}))
    assert "hunter2" not in str(caught.value)
    assert "aHVudGVyMg" not in str(caught.value)


def test_other_headers_for_a_proxy_are_logged_by_name(package: Generated, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "kubex_stream"):
        package.derive(package.made(proxy=PROXY, proxy_headers={"X-Team": "hunter2"}))
    assert "X-Team" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_proxy_that_is_no_address(package: Generated) -> None:
    for headers in (None, {"proxy-authorization": BASIC}):
        for wrong in ("http://[::1:3128", "proxy.example:3128"):
            with pytest.raises(ConfigurationError, match="the proxy's address"):
                package.derive(package.made(proxy=wrong, proxy_headers=headers))


def test_a_socks_proxy_is_refused(package: Generated) -> None:
    with pytest.raises(ConfigurationError, match="SOCKS"):
        package.derive(package.made(proxy="socks5://proxy.example:1080"))


def test_a_tls_context_for_a_proxy(package: Generated) -> None:
    assert package.derive(package.made(proxy=PROXY, proxy_ssl_context=object())).proxy_url == PROXY, "no TLS, no matter"
    with pytest.raises(ConfigurationError, match="proxy_ssl_context cannot be carried over"):
        package.derive(package.made(proxy="https://proxy.example", proxy_ssl_context=object()))


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        (URL, "*", True),
        (URL, "other.example, api.example", True),
        (URL, ".example", True),
        (URL, "EXAMPLE", True),
        (URL, "api.example:6443", True),
        (URL, "api.example:443", False),
        (URL, "pi.example", False),
        (URL, "other.example", False),
        (URL, " , ", False),
        ("https://10.1.2.3:6443", "10.1.0.0/16", True),
        ("https://10.1.2.3:6443", "10.1.2.3", True),
        ("https://10.1.2.3:6443", "10.2.0.0/16", False),
        ("https://[fd00::1]:6443", "fd00::/8", True),
    ],
)
def test_exceptions_are_those_of_that_package(host: str, no_proxy: str, direct: bool) -> None:
    pytest.importorskip("kubernetes")
    package = Generated("kubernetes", ClientConfiguration.from_kubernetes)
    made = package.derive(package.made(host, proxy=PROXY, no_proxy=no_proxy))
    assert (made.proxy_url is None) == direct
    if release("kubernetes") >= (36,):
        assert module("kubernetes.client.rest").should_bypass_proxies(host, no_proxy) == direct


# ---- the environment, which all of them read


def test_the_environment(package: Generated, monkeypatch: pytest.MonkeyPatch) -> None:
    if package.name == "kubernetes" and release("kubernetes") < (36,):
        pytest.skip("it has only one proxy for all servers, and no exceptions")
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert package.derive(package.made()).proxy_url == PROXY
    assert package.derive(package.made("http://api.example")).proxy_url is None
    assert package.derive(package.made(proxy="http://other.example")).proxy_url == "http://other.example"
    monkeypatch.setenv("NO_PROXY", ".example")
    assert package.derive(package.made()).proxy_url is None


def test_lightkube_and_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lightkube")
    lightkube, config = module("lightkube"), module("lightkube.config.kubeconfig")
    single = config.KubeConfig.from_one(cluster=config.Cluster(server=URL), user=config.User())
    monkeypatch.setenv("ALL_PROXY", PROXY.replace("://", "://us%40er:p%3Ass%2F@"))
    with lightkube.Client(single) as client:
        assert ClientConfiguration.from_lightkube(client).proxy_url == WITH_BASIC
    assert ClientConfiguration.from_lightkube(single).proxy_url == WITH_BASIC
    with lightkube.Client(single, trust_env=False) as client:
        assert ClientConfiguration.from_lightkube(client).proxy_url is None
    monkeypatch.setenv("NO_PROXY", "api.example")
    with lightkube.Client(single) as client:
        assert ClientConfiguration.from_lightkube(client).proxy_url is None


def test_lightkubes_own_proxy() -> None:
    pytest.importorskip("lightkube")
    lightkube, config = module("lightkube"), module("lightkube.config.kubeconfig")
    single = config.KubeConfig.from_one(cluster=config.Cluster(server=URL), user=config.User())
    for address in (PROXY, WITH_BASIC, "https://proxy.example", "http://[fd00::2]:3128"):
        with lightkube.Client(single, proxy=address) as client:
            assert ClientConfiguration.from_lightkube(client).proxy_url == address
    transport = module("httpx2").MockTransport(lambda _: None)
    with (
        lightkube.Client(single, transport=transport) as client,
        pytest.raises(ConfigurationError, match="its transport is not one of httpx itself"),
    ):
        ClientConfiguration.from_lightkube(client)


# ---- connections


@pytest.mark.skipif(release("kubernetes") < (36,), reason="it does not read proxy-url of a kubeconfig")
async def test_kubernetes_through_a_proxy(cluster: EmbeddedCluster) -> None:
    pytest.importorskip("kubernetes")
    package = Generated("kubernetes", ClientConfiguration.from_kubernetes)
    with proxy() as (url, heads):
        settings = package.made()
        module("kubernetes.config").load_kube_config_from_dict(
            kubeconfig_of(cluster, proxy=url), client_configuration=settings
        )
        settings.proxy_headers = {"Proxy-Authorization": BASIC}
        assert await said(package.derive(settings)) == "hello\n"
    tunnelled(cluster, heads)
    assert {head.one("Proxy-Authorization") for head in heads} == {BASIC}


@asynccontextmanager
async def kr8s_api(kubeconfig: dict[str, Any]) -> AsyncIterator[Any]:
    api = await module("kr8s.asyncio").api(kubeconfig=kubeconfig)
    try:
        yield api
    finally:
        if api._session is not None:
            await api._session.aclose()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("where", ["kubeconfig", "environment"])
async def test_kr8s_through_a_proxy(cluster: EmbeddedCluster, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kr8s")
    with proxy() as (url, heads):
        if where == "environment":
            monkeypatch.setenv("HTTPS_PROXY", url)
        async with kr8s_api(kubeconfig_of(cluster, proxy=url if where == "kubeconfig" else None)) as api:
            made = ClientConfiguration.from_kr8s(api)
            monkeypatch.delenv("HTTPS_PROXY", raising=False)
            assert ClientConfiguration.from_kr8s(api).proxy_url == made.proxy_url, "it is the session that counts"
            heads.clear()
            assert await said(made) == "hello\n"
    tunnelled(cluster, heads)
    assert made.proxy_url == url
