"""One WsApiClient belongs to one event loop; and exceptions that leave the process."""

from __future__ import annotations

import asyncio
import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio import client

from kubex_stream.compat.kubernetes_asyncio import HandshakeRefused, WsApiClient
from kubex_stream.testing import EmbeddedCluster
from tests.compat.kubernetes_asyncio.conftest import configured

#: Sockets of a loop that is gone make ResourceWarnings, so it runs as a program of its own.
TWICE = """
import asyncio, sys
from kubernetes_asyncio import client
from kubex_stream.compat.kubernetes_asyncio import WsApiClient

configuration = client.Configuration(host=sys.argv[1], ssl_ca_cert=sys.argv[2])
configuration.api_key["BearerToken"] = sys.stdin.read()
api_client = WsApiClient(configuration)
v1 = client.CoreV1Api(api_client)

async def listing():
    await v1.read_namespaced_pod("demo", "default")

async def using():
    await listing()
    await v1.connect_get_namespaced_pod_exec("demo", "default", command=["cat"], stdin=True, stdout=True)
    await v1.list_namespaced_pod("default", watch=True, _preload_content=False)

asyncio.run(using())
for attempt in (listing, api_client.close, api_client.close, listing):
    try:
        asyncio.run(attempt())
        print("done")
    except RuntimeError as error:
        print(error)
"""


def test_a_second_event_loop_is_told_and_may_close(cluster: EmbeddedCluster, tmp_path: Path) -> None:
    authorities = tmp_path / "ca.pem"
    authorities.write_bytes(cluster.ca_pem)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", TWICE, cluster.url, str(authorities)],
        input=cluster.token,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert not done.returncode, done.stderr
    said = done.stdout.splitlines()
    assert "another event loop" in said[0], done.stdout
    assert said[1:] == ["done", "done", "this WsApiClient is closed"]


@pytest.mark.anyio
async def test_closing_from_another_event_loop_while_its_own_runs(cluster: EmbeddedCluster, backend: str) -> None:
    async with WsApiClient(configured(cluster), backend=backend) as api_client:
        v1: Any = client.CoreV1Api(api_client)
        await v1.read_namespaced_pod("demo", "default")
        with pytest.raises(RuntimeError, match="another event loop"):
            await asyncio.to_thread(lambda: asyncio.run(api_client.close()))
        assert (await v1.read_namespaced_pod("demo", "default")).metadata.name == "demo"


@pytest.mark.anyio
async def test_a_refusal_can_be_copied_and_sent_to_another_process(cluster: EmbeddedCluster, backend: str) -> None:
    async with WsApiClient(configured(cluster), backend=backend) as api_client:
        with pytest.raises(HandshakeRefused) as caught:
            await client.CoreV1Api(api_client).connect_get_namespaced_pod_exec(
                "none", "default", command="ls", stdout=True
            )
    for again in (copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert isinstance(again, HandshakeRefused)
        assert (again.status, again.reason, again.body) == (404, "Not Found", caught.value.body)
        assert str(again) == str(caught.value)
