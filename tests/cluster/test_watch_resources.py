"""Resources of a real cluster that come, change and go while a program runs."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest

from kubex_stream import (
    ApiError,
    Backoff,
    BaseClient,
    ClientConfiguration,
    Discovery,
    NotFound,
    Watch,
    WatchEvent,
    WatchStream,
    create_client,
)
from kubex_stream.client import Request
from tests.cluster.conftest import KUBECONFIG

pytestmark = pytest.mark.anyio

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: what differs between backends is not in here."""
    return "asyncio"


class Kites:
    """A resource of this test's own, not defined yet.  The names of its versions and whether each is served are as a map."""

    def __init__(self, client: BaseClient) -> None:
        self.group = f"sky{secrets.token_hex(4)}.example.org"
        self._client = client
        self._path = f"{DEFINITIONS}/kites.{self.group}"

    async def define(self, **versions: bool) -> None:
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        listed = [
            {"name": name, "served": served, "storage": name == "v1", "schema": schema}
            for name, served in versions.items()
        ]
        names = {"plural": "kites", "singular": "kite", "kind": "Kite", "shortNames": ["kt"]}
        spec = {"group": self.group, "scope": "Cluster", "names": names, "versions": listed}
        definition = {"metadata": {"name": f"kites.{self.group}"}, "spec": spec}
        body = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", **definition}
        await self._send("POST", DEFINITIONS, body)

    async def serve(self, version: str, served: bool) -> None:
        """Serve a version, or no longer."""
        found = json.loads((await self._client.request(Request(path=self._path))).content)
        for each in found["spec"]["versions"]:
            each["served"] = served if each["name"] == version else each["served"]
        await self._send("PUT", self._path, found)

    async def create(self, version: str, name: str) -> None:
        """Create one, as soon as the version is served."""
        body = {"apiVersion": f"{self.group}/{version}", "kind": "Kite", "metadata": {"name": name}}
        with anyio.fail_after(30):
            while True:
                try:
                    await self._send("POST", f"/apis/{self.group}/{version}/kites", body)
                except NotFound:
                    await anyio.sleep(0.1)
                else:
                    return

    async def remove(self) -> None:
        await self._client.request(Request(method="DELETE", path=self._path))

    async def _send(self, method: str, path: str, body: Any) -> None:
        await self._client.request(Request(method=method, path=path, body=json.dumps(body).encode(), headers=JSON))


@asynccontextmanager
async def kites() -> AsyncGenerator[tuple[BaseClient, Kites], None]:
    configuration = await ClientConfiguration.load(kubeconfig=KUBECONFIG)
    async with create_client(configuration) as client:
        defined = Kites(client)
        try:
            yield client, defined
        finally:
            with anyio.CancelScope(shield=True):
                with suppress(NotFound):
                    await defined.remove()


async def known(client: BaseClient, word: str, path: str) -> None:
    """Wait until discovery has a resource there; the server's own view of it is late by a moment."""
    with anyio.fail_after(30):
        while True:
            try:
                if (await Discovery.of(client).resolve(word, refresh=True)).path() == path:
                    return
            except ApiError:
                pass
            await anyio.sleep(0.1)


@pytest.mark.timeout(120)
async def test_a_resource_that_comes_moves_and_goes() -> None:
    async with kites() as (client, defined):
        with pytest.raises(NotFound, match=r"the server has no resource 'kites\.sky"):
            await anext(Watch(client).stream(f"kites.{defined.group}"))
        await defined.define(v1=True, v2=False)
        await defined.create("v1", "first")
        await known(client, "kt", f"/apis/{defined.group}/v1/kites")
        watch = Watch(client, backoff=Backoff(0.1, 0.5))
        async with watch.stream(f"Kite.{defined.group}") as events:
            assert [event.raw_object["metadata"]["name"] for event in await events.initial_state()] == ["first"]
            await defined.serve("v2", True)
            await defined.create("v2", "second")
            assert (await anext(events)).raw_object["metadata"]["name"] == "second"
            await known(client, f"kites.v2.{defined.group}", f"/apis/{defined.group}/v2/kites")
            await defined.serve("v1", False)
            await known(client, "kt", f"/apis/{defined.group}/v2/kites")
            with anyio.move_on_after(0.1):  # an open watch of v1 goes on for a while; this one is opened again
                await anext(events)
            await defined.create("v2", "third")
            with anyio.fail_after(60):
                found = await anext(events)
            assert (found.type, found.raw_object["metadata"]["name"]) == ("ADDED", "third")
            assert found.raw_object["apiVersion"] == f"{defined.group}/v2"
            await defined.remove()
            assert {event.type for event in await rest(events)} <= {"MODIFIED", "DELETED"}


async def rest(events: WatchStream[Any]) -> list[WatchEvent[Any]]:
    """What comes until there is no such resource any more."""
    found = []
    with anyio.fail_after(60), suppress(NotFound):
        async for event in events:
            found.append(event)
        pytest.fail("the watch has ended as if it had been stopped")
    return found
