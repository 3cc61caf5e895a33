"""Real kubeconfigs, certificates and plugins for the tests of the configuration."""

from __future__ import annotations

import datetime
import json
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute, SocketListener, SocketStream

V1 = "client.authentication.k8s.io/v1"

#: A plugin: notes that it ran, and what it was asked; if told so waits at a door; then does as its orders say.
PLUGIN = """
import json, os, socket, sys
orders = json.load(open(sys.argv[1]))
with open(orders["diary"], "a") as diary:
    diary.write(json.dumps({"question": os.environ["KUBERNETES_EXEC_INFO"], "args": sys.argv[2:], "env": dict(os.environ),
                            "stdin": None if sys.stdin.isatty() else sys.stdin.read()}) + "\\n")
if orders["door"]:
    with socket.create_connection(("127.0.0.1", orders["door"])) as door:
        door.recv(1)
sys.stderr.write(orders["stderr"])
sys.stdout.write(orders["stdout"])
sys.exit(orders["code"])
"""


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration of this machine gets into a test."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))


@dataclass(frozen=True)
class Pki:
    """An authority, and client certificates of it."""

    authority: trustme.CA = field(default_factory=lambda: trustme.CA(key_type=trustme.KeyType.ECDSA))

    @property
    def ca(self) -> bytes:
        return self.authority.cert_pem.bytes()

    def client(self, name: str = "client", *, expired: bool = False) -> tuple[bytes, bytes]:
        """A certificate and its key."""
        ends = datetime.datetime(2020, 2, 29, 12, 30, tzinfo=datetime.UTC) if expired else None
        begins = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC) if expired else None
        made = self.authority.issue_cert(
            common_name=name, not_after=ends, not_before=begins, key_type=trustme.KeyType.ECDSA
        )
        return b"".join(blob.bytes() for blob in made.cert_chain_pems), made.private_key_pem.bytes()

    def server(self, name: str) -> trustme.LeafCert:
        return self.authority.issue_cert(name, key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="session")
def pki() -> Pki:
    return Pki()


@dataclass
class Plugin:
    """A plugin that does as it is told, and what it did."""

    folder: Path
    name: str = "plugin"
    secret_argument: str = "--client-secret=hunter2-argument"

    def __post_init__(self) -> None:
        (self.folder / f"{self.name}.py").write_text(PLUGIN)
        self.says(token="first")

    @property
    def diary(self) -> Path:
        return self.folder / f"{self.name}.diary"

    @property
    def runs(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.diary.read_text().splitlines()] if self.diary.exists() else []

    def says(
        self,
        stdout: str | None = None,
        *,
        code: int = 0,
        stderr: str = "",
        door: int = 0,
        version: str = V1,
        kind: str = "ExecCredential",
        **status: object,
    ) -> None:
        """What it does when it is run next: ``stdout``, or a status of these fields."""
        answer = {"apiVersion": version, "kind": kind, "status": status}
        orders = {
            "diary": str(self.diary),
            "door": door,
            "stderr": stderr,
            "stdout": json.dumps(answer) if stdout is None else stdout,
            "code": code,
        }
        (self.folder / f"{self.name}.json").write_text(json.dumps(orders))

    def entry(self, **more: object) -> dict[str, object]:
        """Its ``exec:`` entry."""
        script, orders = (str(self.folder / f"{self.name}.{suffix}") for suffix in ("py", "json"))
        return {
            "apiVersion": V1,
            "command": sys.executable,
            "args": ["-S", script, orders, self.secret_argument],
            "env": [{"name": "PLUGIN_SECRET", "value": "hunter2-environment"}],
            "interactiveMode": "Never",
            **more,
        }


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    return Plugin(tmp_path)


Kubeconfig = dict[str, object]
MakeKubeconfig = Callable[..., Kubeconfig]


@pytest.fixture
def kubeconfig() -> MakeKubeconfig:
    """Make a kubeconfig of one context, ``dev``, from the keys of a user and of a cluster."""

    def make(
        user: dict[str, object] | None = None, *, name: str = "dev", namespace: str | None = None, **cluster: object
    ) -> Kubeconfig:
        keys = {key.replace("_", "-"): value for key, value in cluster.items()}
        context = {"cluster": name, "user": f"{name}-user"} | ({"namespace": namespace} if namespace else {})
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": context}],
            "clusters": [{"name": name, "cluster": {"server": "https://api.example:6443"} | keys}],
            "users": [{"name": f"{name}-user", "user": user or {}}],
        }

    return make


Encode = Callable[[bytes], str]


@pytest.fixture
def base64() -> Encode:
    return lambda data: b64encode(data).decode()


class Door:
    """Where plugins wait until they are let in."""

    def __init__(self, listener: SocketListener) -> None:
        self.port = int(listener.extra(SocketAttribute.local_port))
        self._listener = listener

    async def knock(self) -> SocketStream:
        """The next plugin that has come to the door.  Closing it lets the plugin in."""
        return await self._listener.accept()


OpenDoor = Callable[[], AbstractAsyncContextManager[Door]]


@pytest.fixture
def open_door() -> OpenDoor:
    @asynccontextmanager
    async def make() -> AsyncIterator[Door]:
        multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
        async with multi:
            listener = multi.listeners[0]
            assert isinstance(listener, SocketListener)
            yield Door(listener)

    return make


@pytest.fixture
def as_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a kubeconfig, as JSON, which is YAML."""

    def write(content: object, name: str = "config") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write
