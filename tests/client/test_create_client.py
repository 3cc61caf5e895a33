"""create_client: which client comes out of what is given."""

from __future__ import annotations

from typing import Any

import pytest

from kubex_stream import BackendNotAvailable, BaseClient, ClientOptions, KubexClientException, Observer, create_client
from kubex_stream.client.aiohttp import AioHttpClient, AioHttpWebSocketConnection
from kubex_stream.client.httpx import HttpxClient, HttpxWebSocketConnection
from kubex_stream_picows import PicowsClient

from .memory import CLUSTER, MemoryClient

anything: Any = create_client


@pytest.mark.parametrize(
    ("name", "kind"), [("aiohttp", AioHttpClient), ("httpx", HttpxClient), ("picows", PicowsClient)]
)
def test_by_name(name: str, kind: type[BaseClient]) -> None:
    assert type(create_client(CLUSTER, backend=name)) is kind
    assert type(create_client(CLUSTER, client_class=name)) is kind
    assert type(create_client(CLUSTER, name)) is kind


def test_by_class() -> None:
    options, observer = ClientOptions(retries=0), Observer()
    made = create_client(CLUSTER, MemoryClient, options, observer=observer)
    assert type(made) is MemoryClient
    assert (made.configuration, made.options, made.observer) == (CLUSTER, options, observer)
    assert type(create_client(CLUSTER, backend=MemoryClient)) is MemoryClient


def test_a_client_that_is_built_already_is_given_back() -> None:
    client = MemoryClient(CLUSTER)
    assert create_client(backend=client) is client
    assert create_client(client_class=client) is client


@pytest.mark.parametrize(
    "given",
    [{"configuration": CLUSTER}, {"options": ClientOptions()}, {"session": object()}, {"observer": Observer()}],
    ids=lambda given: next(iter(given)),
)
def test_a_built_client_takes_nothing_that_it_was_built_from(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="built already"):
        anything(backend=MemoryClient(CLUSTER), **given)


@pytest.mark.parametrize("second", ["aiohttp", MemoryClient, MemoryClient(CLUSTER)], ids=["name", "class", "client"])
def test_backend_and_its_alias_are_not_given_together(second: Any) -> None:
    with pytest.raises(TypeError, match="two names of one parameter"):
        anything(CLUSTER, client_class="aiohttp", backend=second)


@pytest.mark.parametrize("backend", [5, object, dict, b"aiohttp", ["aiohttp"]], ids=repr)
def test_a_backend_is_a_name_a_class_or_a_client(backend: Any) -> None:
    with pytest.raises(TypeError, match="backend must be a name, a BaseClient class or a client"):
        anything(CLUSTER, backend=backend)


@pytest.mark.parametrize("options", [{"timeout": 5}, 5, "aiohttp", object()], ids=["dict", "int", "str", "object"])
@pytest.mark.parametrize("backend", ["aiohttp", "httpx", MemoryClient], ids=["aiohttp", "httpx", "class"])
def test_options_are_client_options(options: Any, backend: Any) -> None:
    with pytest.raises(TypeError, match=f"options must be ClientOptions, not {type(options).__name__}"):
        anything(CLUSTER, backend=backend, options=options)


@pytest.mark.parametrize("configuration", ["aiohttp", {"url": "https://host"}, ClientOptions()], ids=repr)
def test_a_configuration_is_a_client_configuration(configuration: Any) -> None:
    with pytest.raises(TypeError, match=f"ClientConfiguration, not {type(configuration).__name__}"):
        anything(configuration, backend=MemoryClient)


def test_an_unknown_backend_is_an_import_error_that_lists_the_known() -> None:
    with pytest.raises(
        BackendNotAvailable, match="there is no backend 'curl'; registered are: aiohttp, httpx"
    ) as caught:
        create_client(CLUSTER, backend="curl")
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, KubexClientException)


def test_outside_of_an_event_loop_the_best_is_chosen() -> None:
    assert type(create_client(CLUSTER)) is AioHttpClient


@pytest.mark.anyio
async def test_inside_of_an_event_loop_the_best_that_runs_on_it_is_chosen(anyio_backend_name: str) -> None:
    expected = HttpxClient if anyio_backend_name == "trio" else AioHttpClient
    assert type(create_client(CLUSTER)) is expected


def test_the_references_paths() -> None:
    from kubex_stream.client import client, options, websocket
    from kubex_stream.core import params

    assert client.create_client is create_client
    assert client.BaseClient is BaseClient
    assert options.ClientOptions is ClientOptions
    assert callable(options.resolve_ws_max_message_size)
    assert params.Timeout(5).total == 5
    for connection in (AioHttpWebSocketConnection, HttpxWebSocketConnection):
        assert issubclass(connection, websocket.WebSocketConnection)
