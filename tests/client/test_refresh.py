"""A 401: the credentials are renewed once, and the request is tried once more, whichever way it goes."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kubex_stream import ClientConfiguration, ConfigurationError, ExecPlugin, Observer, Unauthorized
from kubex_stream.client import Response

from .memory import CLUSTER, WAYS, MemoryClient, Way, go, refusal, scripted

pytestmark = pytest.mark.anyio

REFUSED = refusal(401, message="Unauthorized", reason="Unauthorized")

Tokens = Callable[[], Awaitable[str]]


def numbered() -> Tokens:
    """A function that gives another token each time."""
    given = 0

    async def token() -> str:
        nonlocal given
        given += 1
        return f"token-{given}"

    return token


def renewable() -> ClientConfiguration:
    return ClientConfiguration(url="http://cluster.test", token=numbered())


def authorizations(client: MemoryClient) -> list[str]:
    return [value for sent in client.sent for name, value in sent.headers if name == "Authorization"]


@pytest.mark.parametrize("way", WAYS)
async def test_one_401_is_one_renewal_and_one_more_attempt(way: Way) -> None:
    async with scripted(REFUSED, None, configuration=renewable()) as client:
        await go(client, way)
    assert authorizations(client) == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("way", WAYS)
async def test_two_401s_are_unauthorized(way: Way) -> None:
    async with scripted(REFUSED, REFUSED, configuration=renewable()) as client:
        with pytest.raises(Unauthorized, match="401 Unauthorized: Unauthorized") as caught:
            await go(client, way)
    assert caught.value.status_code == 401
    assert caught.value.status is not None
    assert len(client.sent) == 2


@pytest.mark.parametrize("way", WAYS)
async def test_what_cannot_be_renewed_is_not_tried_again(way: Way) -> None:
    async with scripted(REFUSED, configuration=CLUSTER) as client:
        with pytest.raises(Unauthorized):
            await go(client, way)
    assert len(client.sent) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_renewing_can_be_turned_off(way: Way) -> None:
    configuration = renewable().model_copy(update={"try_refresh_token": False})
    async with scripted(REFUSED, configuration=configuration) as client:
        with pytest.raises(Unauthorized):
            await go(client, way)
    assert len(client.sent) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_each_call_has_its_own_renewal(way: Way) -> None:
    async with scripted(REFUSED, None, REFUSED, None, configuration=renewable()) as client:
        await go(client, way)
        await go(client, way)
    assert len(client.sent) == 4


@pytest.mark.parametrize("way", WAYS)
async def test_a_rotated_token_file_is_read_again(way: Way, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")

    async def refuse_and_rotate(_: object) -> Response:
        path.write_text("new")
        return REFUSED

    configuration = ClientConfiguration(url="http://cluster.test", token_file=path)
    async with scripted(refuse_and_rotate, None, configuration=configuration) as client:
        await go(client, way)
    assert authorizations(client) == ["Bearer old", "Bearer new"]


PLUGIN = """
import json, pathlib, sys
diary = pathlib.Path(sys.argv[1])
runs = len(diary.read_text()) if diary.exists() else 0
diary.write_text("." * (runs + 1))
answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": f"run-{runs + 1}"}}
print(json.dumps(answer))
"""


@pytest.mark.parametrize("way", WAYS)
async def test_a_plugin_runs_exactly_once_more(way: Way, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    plugin = ExecPlugin(
        command=sys.executable,
        args=["-IS", "-c", PLUGIN, str(diary)],
        api_version="client.authentication.k8s.io/v1",
        interactive_mode="Never",
    )
    configuration = ClientConfiguration(url="http://cluster.test", exec_plugin=plugin)
    async with scripted(REFUSED, None, None, configuration=configuration) as client:
        await go(client, way)
        await go(client, way)
    assert authorizations(client) == ["Bearer run-1", "Bearer run-2", "Bearer run-2"]
    assert diary.read_text() == ".."


async def test_a_renewal_that_fails_is_told(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")

    async def refuse_and_remove(_: object) -> Response:
        path.unlink()
        return REFUSED

    configuration = ClientConfiguration(url="http://cluster.test", token_file=path)
    async with scripted(refuse_and_remove, configuration=configuration) as client:
        with pytest.raises(ConfigurationError, match=str(path)):
            await go(client, "request")


async def test_a_renewal_is_no_retry() -> None:
    class Told(Observer):
        retries = 0

        def retried(self, path: str, error: Exception, delay: float) -> None:
            self.retries += len(path) + int(delay) + bool(error)

    told = Told()
    async with scripted(REFUSED, None, configuration=renewable(), observer=told) as client:
        await go(client, "request")
    assert told.retries == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_renewal_and_retries_go_together(way: Way) -> None:
    busy = refusal(429, ("retry-after", "0"))
    async with scripted(busy, REFUSED, busy, None, configuration=renewable()) as client:
        await go(client, way)
    assert len(client.sent) == 4


async def test_the_token_is_never_shown() -> None:
    content = json.dumps({"kind": "Status", "status": "Failure", "message": "no"}).encode()
    async with scripted(Response(401, [], content)) as client:
        with pytest.raises(Unauthorized) as caught:
            await go(client, "websocket")
    assert "t0ken" not in str(caught.value)
    assert "t0ken" not in repr(client)
