"""Fixtures that every test can use.

- ``anyio_backend``: an async test runs once on each event loop; a test that (also through other fixtures) uses ``backend`` runs once
  on each backend and each event loop that this backend has.  A module that defines its own ``anyio_backend`` gets that one.
  By default such a test has one of three pairs, by its name, so that a run has every backend and every loop; all other pairs of it are
  run with ``-m volume``.
- ``make_client``: a client of that backend, to be entered.
- ``cluster``: an embedded cluster, shared by the whole run.
- Everywhere: no proxy and no kubeconfig of the environment, and no socket, file or asyncio task may be left behind.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import signal
import socket
import time
import zlib
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import pytest
from hypothesis import HealthCheck, settings

from kubex_stream.client import BaseClient, ClientOptions, Observer, create_client
from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.configuration import ClientConfiguration

if TYPE_CHECKING:
    from kubex_stream.testing import EmbeddedCluster

LOOPS: Final = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
    "trio": ("trio", {}),
}
BACKENDS: Final = {
    "aiohttp": ("asyncio", "uvloop"),
    "httpx": ("asyncio", "uvloop", "trio"),
    "picows": ("asyncio", "uvloop"),
}

# A busy machine is no defect of what is tested, and two runs of the same code find the same.
settings.register_profile("tests", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

_FROM_OUTSIDE: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "KUBECONFIG", "KUBERNETES_SERVICE_HOST")


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a test runs on."""

    loop: str
    backend: str | None = None


#: Every backend and every event loop, once.
COVERING: Final = (Runtime("asyncio", "aiohttp"), Runtime("trio", "httpx"), Runtime("uvloop", "picows"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: more than twice the cores, since most of these tests wait for a server, a process or a clock most of their time."""
    return 5 * (os.cpu_count() or 1) // 2


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is made here stays: the garbage collector need not look through it, now or whenever a test makes garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test its runtimes; whether it uses a backend is known only here."""
    if "runtime" not in metafunc.fixturenames:
        return
    if "backend" in metafunc.fixturenames:
        runtimes = [Runtime(loop, backend) for backend, loops in BACKENDS.items() for loop in loops]
    else:
        runtimes = [Runtime(loop) for loop in LOOPS]
    usual = COVERING[zlib.crc32(metafunc.definition.nodeid.encode()) % len(COVERING)]
    ids = [f"{runtime.backend}-{runtime.loop}" if runtime.backend else runtime.loop for runtime in runtimes]
    long = () if metafunc.definition.get_closest_marker("cluster") else (pytest.mark.volume,)
    params = [pytest.param(each, marks=() if each.backend is None or each == usual else long) for each in runtimes]
    metafunc.parametrize("runtime", params, ids=ids, indirect=True)


@pytest.fixture
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """What this test runs on."""
    value: Runtime = request.param
    return value


@pytest.fixture
def anyio_backend(runtime: Runtime) -> tuple[str, dict[str, Any]]:
    """The event loop of this test, for anyio's plugin."""
    return LOOPS[runtime.loop]


@pytest.fixture
def backend(runtime: Runtime) -> str:
    """The name of the backend of this test."""
    assert runtime.backend is not None
    return runtime.backend


class MakeClient(Protocol):
    """Make a client that is not open yet."""

    def __call__(
        self,
        configuration: ClientConfiguration,
        options: ClientOptions | None = None,
        *,
        session: object = None,
        observer: Observer | None = None,
    ) -> BaseClient: ...


@pytest.fixture
def make_client(backend: str) -> MakeClient:
    """Clients of this test's backend: ``async with make_client(configuration) as client``."""

    def make(
        configuration: ClientConfiguration,
        options: ClientOptions | None = None,
        *,
        session: object = None,
        observer: Observer | None = None,
    ) -> BaseClient:
        return create_client(configuration, options=options, backend=backend, session=session, observer=observer)

    return make


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[EmbeddedCluster]:
    """The embedded cluster behind ``cluster``."""
    from kubex_stream.testing import Behaviour, EmbeddedCluster

    # containerd cuts a connection a second after the end of its input.
    with EmbeddedCluster(behaviour=Behaviour(half_close_grace=0.1)) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: EmbeddedCluster) -> Iterator[EmbeddedCluster]:
    """A running embedded cluster.  It is shared: a test that changes its behaviour starts one of its own.

    Processes that a test leaves in it, since they outlive their session as on a real cluster, are killed: some would spin for the rest
    of the run.
    """
    yield shared_cluster
    kill_processes(shared_cluster)


def kill_processes(cluster: EmbeddedCluster, *pods: str) -> None:
    """What sessions in these pods have left; in ``demo`` if none are named."""
    for pod in pods or ("demo",):
        for process in cluster.processes(pod):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def _sealed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("cluster") is None:
        for name in _FROM_OUTSIDE:
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(autouse=True)
def _nothing_left(_sealed: None) -> Iterator[None]:
    """Fail a test that leaves a TCP socket or a file open."""
    before = _descriptors()
    yield
    # Those of a server in a thread may go a moment later than those of the test; only what stays may be garbage.
    begun = time.monotonic()
    while left := _leaks(before):
        if time.monotonic() > begun + 5:
            pytest.fail(f"left open: {', '.join(sorted(left))}")
        if time.monotonic() < begun + 0.1:
            time.sleep(0.005)
        else:
            gc.collect()
            time.sleep(0.05)


def _descriptors() -> dict[str, int]:
    """What this process's descriptors are; nothing where there is no ``/proc``."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        return {}
    names = {}
    for descriptor in descriptors.iterdir():
        with suppress(OSError):
            names[os.readlink(descriptor)] = int(descriptor.name)
    return names


def _leaks(before: dict[str, int]) -> set[str]:
    """The TCP sockets and files that there are now and were not before.  Pipes and terminals are left out: the processes of an embedded
    cluster may outlive their session, as those of a real one do."""
    return {
        name
        for name, descriptor in _descriptors().items()
        if name not in before
        and (_is_tcp(descriptor) if name.startswith("socket:[") else name.startswith("/"))
        and not name.startswith(("/dev/", "/proc/"))
    }


def _is_tcp(descriptor: int) -> bool:
    """Asked of the socket: the kernel's table of all connections is long while many tests run."""
    try:
        copy = os.dup(descriptor)
    except OSError:
        return False
    try:
        sock = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return False
    with sock:
        return sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Look for tasks that an async test leaves, inside of its event loop."""
    if inspect.iscoroutinefunction(pyfuncitem.obj) and not hasattr(pyfuncitem.obj, "hypothesis"):
        pyfuncitem.obj = _without_tasks(pyfuncitem.obj)
    return (yield)


def _without_tasks(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def checked(*args: Any, **kwargs: Any) -> None:
        if running_event_loop() != "asyncio":
            # Trio has nurseries for this.
            await test(*args, **kwargs)
            return
        before = asyncio.all_tasks()
        await test(*args, **kwargs)
        for _ in range(10):
            # Tasks that are done but for telling it.
            await asyncio.sleep(0)
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        assert not left, f"tasks left behind: {left}"

    return checked
