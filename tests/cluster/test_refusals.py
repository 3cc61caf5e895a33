"""What a real API server refuses, and the errors that become of it."""

from __future__ import annotations

import pytest

from kubex_stream import ApiError, Forbidden, NotFound
from tests.cluster.conftest import Connect

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("special_context", ["reader"], indirect=True)
async def test_the_403_without_a_reason_names_the_missing_create(connect: Connect, special_context: str) -> None:
    async with connect(special_context) as pods:
        with pytest.raises(Forbidden, match="`create` on `pods/exec`") as caught:
            await pods.exec.run("box", ["id", "secret-argument"], container="main")
    assert caught.value.status_code == 403
    assert caught.value.status is not None
    assert "secret-argument" not in str(caught.value)


@pytest.mark.parametrize("special_context", ["nobody"], indirect=True)
async def test_the_403_of_a_user_without_rights(connect: Connect, special_context: str) -> None:
    async with connect(special_context) as pods:
        with pytest.raises(Forbidden, match="cannot get resource"):
            await pods.exec.run("box", ["id"], container="main")


async def test_an_unknown_container(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        with pytest.raises(ApiError, match="container nope is not valid for pod box") as caught:
            await pods.exec.run("box", ["id"], container="nope")
    assert caught.value.status_code == 400


async def test_no_container_where_there_are_several(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        with pytest.raises(ApiError, match="a container name must be specified"):
            await pods.exec.run("box", ["id"])


async def test_an_unknown_pod(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        with pytest.raises(NotFound, match='pods "nope" not found'):
            await pods.exec.run("nope", ["id"])
        with pytest.raises(NotFound):
            await pods.get("nope")


async def test_pods_are_read_and_waited_for(connect: Connect, context: str | None) -> None:
    async with connect(context) as pods:
        assert (await pods.get("box"))["metadata"]["name"] == "box"
        assert "box" in [pod["metadata"]["name"] for pod in await pods.list()]
        assert (await pods.wait("box", "ready", timeout=30))["status"]["phase"] == "Running"
