"""Real databases behind a pod's port, used by their own clients through a local listener, and by hand without one.

The servers come from Debian's packages ``redis-server`` and ``postgresql``; where they are not installed, these tests are skipped.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import pytest

from kubex_stream.testing import EmbeddedCluster, EmbeddedPod, EmbeddedPort
from tests.behaviour.forwarding import nothing_left, pods_of
from tests.conftest import MakeClient
from tests.ports import free_port

pytestmark = pytest.mark.anyio

_PATIENCE: Final = 30.0
_USERS: Final = ("postgres", "nobody")


def _program(name: str) -> str | None:
    """A program, also where Debian keeps those of each version of PostgreSQL."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([*map(str, versions), os.environ.get("PATH", os.defpath)]))


def _needed(*names: str) -> list[str]:
    found = {name: _program(name) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return [path for path in found.values() if path is not None]


def _user() -> dict[str, Any]:
    """For ``subprocess``: somebody else than root, whom PostgreSQL refuses."""
    if os.geteuid() != 0:
        return {}
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    pytest.skip(f"no user to run a database as: {' or '.join(_USERS)}")


@contextmanager
def _directory() -> Generator[Path, None, None]:
    """One that this user can reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="kubex-db-") as name:
        path, user = Path(name), _user()
        if user:
            os.chown(path, user["user"], user["group"])
        yield path


@contextmanager
def _running(command: Sequence[str], ready: bytes, directory: Path) -> Generator[None, None, None]:
    """A server, once it has said that it is ready."""
    server = subprocess.Popen(
        command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **_user()
    )
    assert server.stdout is not None
    try:
        said = []
        while ready not in (line := server.stdout.readline()):
            said.append(line)
            assert line, b"".join(said).decode()
        yield
    finally:
        server.terminate()
        server.communicate(timeout=_PATIENCE)


@contextmanager
def _pod(port: int, target: int) -> Generator[EmbeddedCluster, None, None]:
    with EmbeddedCluster(
        [EmbeddedPod("db", ports=[EmbeddedPort(port, target=target, name="db")])], quiet=True
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def redis() -> Generator[EmbeddedCluster, None, None]:
    """A cluster whose pod ``db`` is a Redis."""
    (server, _) = _needed("redis-server", "redis-cli")
    port = free_port()
    command = [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with _directory() as directory, _running(command, b"Ready to accept connections", directory):
        with _pod(6379, port) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def postgres() -> Generator[EmbeddedCluster, None, None]:
    """A cluster whose pod ``db`` is a PostgreSQL."""
    (initdb, server, _) = _needed("initdb", "postgres", "psql")
    port = free_port()
    with _directory() as directory:
        data = directory / "data"
        made = [initdb, "-D", str(data), "-U", "test", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(made, check=True, capture_output=True, cwd=directory, timeout=100, **_user())
        settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": directory, "fsync": "off"}
        command = [server, "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]
        with _running(command, b"ready to accept connections", directory), _pod(5432, port) as cluster:
            yield cluster


async def _output(*command: str, given: bytes = b"") -> str:
    """What a client prints."""
    with anyio.fail_after(_PATIENCE):
        done = await anyio.run_process(command, input=given, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout.decode()
    return done.stdout.decode().strip()


# Redis ----------------------------------------------------------------------------------------------------------------


async def test_redis_cli_through_a_listener(make_client: MakeClient, redis: EmbeddedCluster) -> None:
    async with pods_of(make_client, redis) as pods, pods.portforward.listen("db", ":db") as (listener,):
        cli = ["redis-cli", "-p", str(listener.local_port)]
        assert await _output(*cli, "ping") == "PONG"
        big = b"x" * 3_000_000
        assert await _output(*cli, "-x", "set", "big", given=big) == "OK"
        assert await _output(*cli, "get", "big") == big.decode()
        # Its pipe mode counts the answers to what it has sent in one go.
        commands = b"".join(b"*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n" for _ in range(10_000))
        told = await _output(*cli, "--pipe", given=commands)
        assert "errors: 0, replies: 10000" in told
        assert await _output(*cli, "del", "counter") == "1"
        assert listener.failures == 0
    await nothing_left(redis)


async def test_redis_by_hand_without_a_local_port(make_client: MakeClient, redis: EmbeddedCluster) -> None:
    async with pods_of(make_client, redis) as pods, pods.portforward.connect("db", 6379) as stream:
        value = b"v" * 200_000
        await stream.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n" % (len(value), value))
        await stream.send(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
        wanted, got = b"+OK\r\n$%d\r\n%s\r\n" % (len(value), value), b""
        while len(got) < len(wanted):
            got += await stream.receive()
        assert got == wanted


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("backend", ["aiohttp", "httpx"])
async def test_redis_through_a_reader_and_a_writer(
    anyio_backend: str, make_client: MakeClient, redis: EmbeddedCluster
) -> None:
    assert anyio_backend == "asyncio"
    async with pods_of(make_client, redis) as pods:
        async with pods.portforward.open_connection("db", "db") as (reader, writer):
            for number in range(100):
                writer.write(b"*2\r\n$4\r\nECHO\r\n$4\r\n%04d\r\n" % number)
            await writer.drain()
            for number in range(100):
                assert await reader.readline() == b"$4\r\n"
                assert await reader.readexactly(6) == b"%04d\r\n" % number
            writer.write(b"QUIT\r\n")
            assert await reader.readline() == b"+OK\r\n"
            assert await reader.read() == b""


# PostgreSQL -----------------------------------------------------------------------------------------------------------


async def test_psql_through_a_listener(make_client: MakeClient, postgres: EmbeddedCluster) -> None:
    async with pods_of(make_client, postgres) as pods, pods.portforward.listen("db", ":5432") as (listener,):
        psql = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]
        psql += ["-h", "127.0.0.1", "-p", str(listener.local_port), "-U", "test", "postgres"]
        assert await _output(*psql, "-c", "select 6 * 7") == "42"
        rows = "".join(f"{number}\n" for number in range(200_000)).encode()
        script = (
            b"create temp table t (n int);\ncopy t from stdin;\n" + rows + b"\\.\nselect count(*), sum(n) from t;\n"
        )
        assert await _output(*psql, given=script) == "200000|19999900000"
        out = await _output(*psql, "-c", "copy (select generate_series(1, 300000)) to stdout")
        assert (len(out.splitlines()), out.splitlines()[-1]) == (300_000, "300000")

        async def one(number: int) -> None:
            assert await _output(*psql, "-c", f"select {number} from pg_sleep(0.1)") == str(number)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(one, number)
        assert listener.failures == 0
    await nothing_left(postgres)
