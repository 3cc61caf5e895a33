"""The six examples of the document, with nothing changed but imports, names, and how keys are read."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubex_stream.testing import EmbeddedCluster, EmbeddedContainer, EmbeddedPod, EmbeddedPort
from tests.compat.kubernetes_asyncio.running import Examples, type_until_it_ends
from tests.terminals import Pty

pytestmark = pytest.mark.anyio

TALKER = EmbeddedContainer("talker", command=["/bin/sh", "-c", "read line; echo heard $line"], stdin=True, tty=True)


@pytest.fixture(
    params=[
        "aiohttp",
        pytest.param("httpx", marks=pytest.mark.volume),
        pytest.param("picows", marks=pytest.mark.volume),
    ]
)
def backend(request: pytest.FixtureRequest) -> str:
    """Each example is a process, so the usual run has them on one backend."""
    chosen: str = request.param
    return chosen


@pytest.fixture
def anyio_backend() -> str:
    """Of the test; the examples run on asyncio."""
    return "asyncio"


@pytest.fixture
def pod(cluster: EmbeddedCluster, backend: str) -> Iterator[str]:
    name = f"examples-{backend}-{os.getpid()}"
    cluster.add_pod(EmbeddedPod(name, ports=(EmbeddedPort(8080, target="banner"),)))
    cluster.add_pod(EmbeddedPod(f"{name}-talker", containers=(TALKER,)))
    yield name
    cluster.delete_pod(f"{name}-talker")
    cluster.delete_pod(name)


@pytest.fixture
def examples(cluster: EmbeddedCluster, backend: str, pod: str) -> Examples:
    return Examples(cluster.kubeconfig, backend, {"POD": pod, "CONTAINER": "talker"})


async def test_exec_in_pod(examples: Examples) -> None:
    printed = await examples.run("exec_in_pod")
    assert printed.startswith("STDOUT: Hello from container\n")
    assert printed.endswith("Command completed successfully\n")


async def test_interactive_shell(examples: Examples) -> None:
    with Pty(99, 33) as screen:
        async with examples.on_a_terminal("interactive_shell", screen) as process:
            await screen.until(rb"[$#] $")
            screen.type(b"echo $((40 + 2))\r")
            await screen.until(rb"\r\n42\r\n")
            screen.type(b"tty | tr a-z A-Z; exit\r")
            await screen.until(rb"/DEV/PTS/\d+\r\n")
            await type_until_it_ends(process, screen)


async def test_attach_to_pod(examples: Examples, pod: str) -> None:
    printed = await examples.run("attach_to_pod", POD=f"{pod}-talker")
    assert "heard /bin/sh" in printed
    assert re.search(r"Status: \{.*'status': 'Success'\}\n$", printed)


async def test_port_forward(examples: Examples) -> None:
    assert (await examples.run("port_forward")).splitlines() == [
        "Port forwarding established on port 8080",
        "Received 7 bytes from port 8080",
    ]


async def test_port_forward_to_nobody(examples: Examples) -> None:
    printed = await examples.run("port_forward", PORT="9999")
    assert "Port forward error:" in printed
    assert "nothing in the pod listens on port 9999" in printed


async def test_exec_with_resize(examples: Examples) -> None:
    with Pty(99, 33) as screen:
        async with examples.on_a_terminal("exec_with_resize", screen):
            await screen.until(rb"33 99\r*\n")


async def test_upload_file_to_pod(examples: Examples, tmp_path: Path) -> None:
    local, remote = tmp_path / "file.txt", tmp_path / "uploaded.txt"
    local.write_bytes(base64.b64decode("AAECA/8K4oKs"))
    printed = await examples.run("upload_file_to_pod", LOCAL=str(local), REMOTE=str(remote))
    assert printed == "Output: File uploaded successfully\n\nFile upload completed\n"
    assert remote.read_bytes() == local.read_bytes()
