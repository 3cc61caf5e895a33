"""What every request carries, whichever way it goes: headers, and a URL in which nothing leaves its place."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import pytest

from kubex_stream import ClientConfiguration, ClientOptions, Impersonation, __version__
from kubex_stream.client import PreparedRequest, Request, path_of

from .memory import CLUSTER, WAYS, Way, go, scripted

pytestmark = pytest.mark.anyio

#: The header's name may be written in any case.
Pairs = list[tuple[str, str]]


async def sent(
    way: Way,
    *,
    configuration: ClientConfiguration = CLUSTER,
    options: ClientOptions | None = None,
    request: Request | None = None,
) -> PreparedRequest:
    async with scripted(None, configuration=configuration, options=options) as client:
        await go(client, way, request)
        return client.sent[0]


def named(prepared: PreparedRequest, name: str) -> list[str]:
    return [value for key, value in prepared.headers if key.lower() == name.lower()]


@pytest.mark.parametrize("way", WAYS)
async def test_the_headers_of_every_request(way: Way) -> None:
    prepared = await sent(way)
    # A kubelet answers 406 to a handshake that accepts JSON only.
    assert named(prepared, "Accept") == ["*/*" if way == "websocket" else "application/json"]
    assert named(prepared, "User-Agent") == [f"kubex-stream/{__version__}"]
    assert named(prepared, "Authorization") == ["Bearer t0ken"]
    assert len(prepared.headers) == 3
    assert (prepared.ssl_context, prepared.proxy, prepared.server_hostname) == (None, None, None)


@pytest.mark.parametrize("way", WAYS)
async def test_without_credentials_there_is_no_authorization(way: Way) -> None:
    prepared = await sent(way, configuration=ClientConfiguration(url="http://cluster.test"))
    assert named(prepared, "Authorization") == []


@pytest.mark.parametrize("way", WAYS)
async def test_the_configurations_impersonation(way: Way) -> None:
    jane = Impersonation(user="jane", uid="42", groups=["dev", "ops"], extra={"scopes/x": ["a", "b"]})
    prepared = await sent(way, configuration=CLUSTER.model_copy(update={"impersonate": jane}))
    assert named(prepared, "Impersonate-User") == ["jane"]
    assert named(prepared, "Impersonate-Uid") == ["42"]
    assert named(prepared, "Impersonate-Group") == ["dev", "ops"]
    assert named(prepared, "Impersonate-Extra-scopes%2Fx") == ["a", "b"]
    assert named(prepared, "Authorization") == ["Bearer t0ken"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_options_impersonation_replaces_all_of_it(way: Way) -> None:
    jane = Impersonation(user="jane", uid="42", groups=["system:masters"], extra={"scope": ["all"]})
    prepared = await sent(
        way,
        configuration=CLUSTER.model_copy(update={"impersonate": jane}),
        options=ClientOptions(impersonate=Impersonation(user="joe", groups=["dev"])),
    )
    found = [pair for pair in prepared.headers if pair[0].lower().startswith("impersonate-")]
    assert found == [("Impersonate-User", "joe"), ("Impersonate-Group", "dev")]


@pytest.mark.parametrize("way", WAYS)
async def test_own_headers_go_everywhere(way: Way) -> None:
    options = ClientOptions(headers={"X-Tenant": "blue"}, user_agent="tool/1.0")
    prepared = await sent(way, options=options)
    assert named(prepared, "X-Tenant") == ["blue"]
    assert named(prepared, "User-Agent") == ["tool/1.0"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_last_word_has_the_request_whatever_the_case(way: Way) -> None:
    options = ClientOptions(headers={"ACCEPT": "text/plain", "x-a": "options", "authorization": "Basic x"})
    request = Request(path="/", headers={"X-A": "request", "user-AGENT": "mine"})
    prepared = await sent(way, options=options, request=request)
    assert named(prepared, "accept") == ["text/plain"]
    assert named(prepared, "x-a") == ["request"]
    assert named(prepared, "authorization") == ["Basic x"]
    assert named(prepared, "user-agent") == ["mine"]
    assert len(prepared.headers) == 4


@pytest.mark.parametrize("way", WAYS)
async def test_a_replaced_header_that_came_several_times_goes_as_a_whole(way: Way) -> None:
    options = ClientOptions(impersonate=Impersonation(user="jane", groups=["a", "b"]))
    request = Request(path="/", headers={"impersonate-group": "c"})
    assert named(await sent(way, options=options, request=request), "Impersonate-Group") == ["c"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("base", "begin"),
    [
        ("http://cluster.test:8001", "http://cluster.test:8001/api"),
        ("http://rancher.test/k8s/clusters/c-abc", "http://rancher.test/k8s/clusters/c-abc/api"),
        ("http://rancher.test/k8s/clusters/c-abc/", "http://rancher.test/k8s/clusters/c-abc/api"),
        ("http://[2001:db8::1]:6443", "http://[2001:db8::1]:6443/api"),
    ],
)
async def test_the_path_follows_the_base_url(way: Way, base: str, begin: str) -> None:
    prepared = await sent(way, configuration=ClientConfiguration(url=base), request=Request(path="/api"))
    assert prepared.url == begin


COMMAND = ["sh", "-c", "a b+c&d=e?f#g%20", "", "grüße\n\t\u20ac", "--x=/y;z", "\"'\\"]


@pytest.mark.parametrize("way", WAYS)
async def test_the_query_keeps_its_order_and_every_character(way: Way) -> None:
    query = [*(("command", word) for word in COMMAND), ("stdin", "true"), ("container", "app")]
    prepared = await sent(way, request=Request(path="/exec", query=query))
    parts = urlsplit(prepared.url)
    assert parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) == query
    assert (parts.path, parts.fragment) == ("/exec", "")
    assert prepared.url.isascii()
    assert prepared.url.isprintable()
    assert " " not in prepared.url


def test_a_segment_cannot_leave_its_place() -> None:
    assert (
        path_of("api", "v1", "a/b", "c?d", "e#f", "g h", "ü", "100%") == "/api/v1/a%2Fb/c%3Fd/e%23f/g%20h/%C3%BC/100%25"
    )
    for bad in ("", ".", ".."):
        with pytest.raises(ValueError, match="cannot be part of a path"):
            path_of("api", bad)


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_secret_is_shown(way: Way) -> None:
    request = Request(path="/exec", query=[("command", "hunter2")], headers={"X-Key": "hunter2"}, body=b"hunter2")
    options = ClientOptions(proxy="http://user:hunter2@proxy:3128")
    prepared = await sent(way, options=options, request=request)
    assert prepared.proxy == "http://user:hunter2@proxy:3128"
    for shown in (repr(request), repr(prepared), str(prepared)):
        assert "hunter2" not in shown
        assert "t0ken" not in shown


async def test_method_and_body_are_passed_on() -> None:
    prepared = await sent("request", request=Request(path="/", method="POST", body=b"{}"))
    assert (prepared.method, prepared.body) == ("POST", b"{}")


@pytest.mark.parametrize("way", WAYS)
async def test_tls_is_the_configurations_or_the_options(way: Way) -> None:
    secure = ClientConfiguration(url="https://10.0.0.1:6443", tls_server_name="kubernetes.test")
    prepared = await sent(way, configuration=secure)
    assert prepared.server_hostname == "kubernetes.test"
    context = prepared.ssl_context
    assert context is not None
    assert (await sent(way, configuration=secure, options=ClientOptions(ssl_context=context))).ssl_context is context
    # An own context means nothing where there is no TLS.
    assert (await sent(way, options=ClientOptions(ssl_context=context))).ssl_context is None
