"""An API server of the tests' own: one more on the store of a real cluster, that may be stopped, killed and begun again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from kubex_stream import ApiError, BaseClient, ClientConfiguration, ConnectionFailed, ConnectionLost, StreamTimeout
from kubex_stream.client import Request

__all__ = ("PIDFILE", "OwnServer", "own_server")

#: Of an API server on this machine, whose command line says how to begin another one.
PIDFILE: Final = os.environ.get("KUBEX_STREAM_APISERVER_PIDFILE", "")
_TROUBLE: Final = (ApiError, ConnectionFailed, ConnectionLost, StreamTimeout)


class OwnServer:
    """An API server.

    :param pid: of one that runs, whose store and settings it takes
    """

    def __init__(self, pid: int) -> None:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        options = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--") and "=" in word)
        self.etcd = options["etcd-servers"].split(",")[0]
        self.port = _free_port()
        own = f"--secure-port={self.port}"
        self._command = [own if word.startswith("--secure-port=") else word for word in words]
        self._command[0] = os.readlink(f"/proc/{pid}/exe")
        self._directory = os.readlink(f"/proc/{pid}/cwd")
        self._process: subprocess.Popen[bytes] | None = None

    def at(self, configuration: ClientConfiguration) -> ClientConfiguration:
        """The configuration of the other one, for this one."""
        url = urlsplit(configuration.url)
        return configuration.model_copy(update={"url": url._replace(netloc=f"{url.hostname}:{self.port}").geturl()})

    async def start(self, client: BaseClient) -> None:
        """Begin, and come back when it is ready."""
        self._spawn()
        with anyio.fail_after(90):
            while not await _ready(client):
                await anyio.sleep(0.2)

    def _spawn(self) -> None:
        nothing = subprocess.DEVNULL
        self._process = subprocess.Popen(
            self._command, cwd=self._directory, stdin=nothing, stdout=nothing, stderr=nothing
        )

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def end(self, number: signal.Signals) -> None:
        """Send it a signal that ends it, and wait for that."""
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            await anyio.to_thread.run_sync(process.wait)

    async def compact(self) -> int:
        """Let the store forget everything before now; the version that it has now."""
        return await anyio.to_thread.run_sync(self._compact)

    def _compact(self) -> int:
        revision = int(_ask(f"{self.etcd}/v3/maintenance/status", {})["header"]["revision"])
        _ask(f"{self.etcd}/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision


@asynccontextmanager
async def own_server() -> AsyncGenerator[OwnServer, None]:
    """One that is not begun yet, and ended afterwards."""
    server = OwnServer(int(Path(PIDFILE).read_text().split()[0]))
    try:
        yield server
    finally:
        with anyio.CancelScope(shield=True):
            await server.end(signal.SIGKILL)


def _ask(url: str, body: dict[str, Any]) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=30) as answer:
        return json.load(answer)


async def _ready(client: BaseClient) -> bool:
    try:
        await client.request(Request(path="/readyz", timeout=2.0))
    except _TROUBLE:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
