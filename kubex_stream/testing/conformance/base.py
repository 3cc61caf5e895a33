"""What all areas of the suite share: the transport, its event loops, prepared requests, open clients, certificates, and what must be gone
when a test is over.

Rules of this file: fixtures are methods, so that a suite needs nothing but its class; certificates are made once in a process.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar, Final, Protocol

import anyio.lowlevel
import pytest
import trustme

from kubex_stream.client import (
    BaseClient,
    ClientOptions,
    PreparedRequest,
    Response,
    WebSocketConnection,
    create_client,
)
from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.configuration import ClientConfiguration
from kubex_stream.testing.conformance.claims import LOOPS, Transport, claimed_by
from kubex_stream.testing.conformance.descriptors import open_sockets
from kubex_stream.testing.conformance.kinds import Send, plain, stream, websocket

__all__ = (
    "Conformance",
    "Connect",
    "Contexts",
    "OpenClient",
    "Prepare",
    "authority",
    "prepare_request",
    "server_context",
    "trusting",
)

OFFER: Final = ["v4.channel.k8s.io"]
_FROM_OUTSIDE: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "KUBECONFIG", "KUBERNETES_SERVICE_HOST")


class Prepare(Protocol):
    """Make a request that is ready to be sent."""

    def __call__(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: Any = None,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        proxy: str | None = None,
    ) -> PreparedRequest: ...


OpenClient = Callable[..., AbstractAsyncContextManager[BaseClient]]
Connect = Callable[..., AbstractAsyncContextManager[WebSocketConnection]]
Contexts = dict[str, ssl.SSLContext | None]


def prepare_request(
    url: str,
    *,
    method: str = "GET",
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    timeout: Any = None,
    ssl_context: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    proxy: str | None = None,
) -> PreparedRequest:
    """A request as the base class gives it to a transport."""
    return PreparedRequest(
        method=method,
        url=url,
        headers=[("Accept", "*/*"), ("User-Agent", "test"), *headers],
        body=body,
        timeout=timeout,
        ssl_context=ssl_context,
        server_hostname=server_hostname,
        proxy=proxy,
    )


@functools.cache
def authority() -> trustme.CA:
    """Who signs the certificates of these tests."""
    return trustme.CA()


@functools.cache
def server_context() -> ssl.SSLContext:
    """For a server on loopback that is also called ``cluster.test``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1", "::1", "localhost", "cluster.test").configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    """A client's context that trusts that authority and no other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


class Conformance:
    """A part of the suite."""

    transport: ClassVar[Transport]
    #: Seconds that what ends in another thread or in the kernel may take to be gone.
    patience: ClassVar[float] = 5.0
    pytestmark = pytest.mark.anyio

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run each test on each event loop of the transport."""
        if "anyio_backend" in metafunc.fixturenames:
            loops = self.transport.tested_loops()
            metafunc.parametrize("anyio_backend", [LOOPS[loop] for loop in loops], ids=loops, indirect=True)

    @pytest.fixture
    def anyio_backend(self, request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
        """The event loop of a test, for anyio's plugin."""
        loop: tuple[str, dict[str, Any]] = request.param
        return loop

    # What surrounds each test -----------------------------------------------------------------------------------------

    @pytest.fixture(autouse=True)
    def _claimed(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in _FROM_OUTSIDE:
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        missing = [claim for claim in claimed_by(request.function) if claim not in self.transport.claims]
        if missing:
            pytest.skip(f"this transport does not claim: {', '.join(missing)}")

    @pytest.fixture(autouse=True)
    def _nothing_left(self, request: pytest.FixtureRequest, _claimed: None) -> Iterator[None]:
        """Fail a test that leaves a TCP socket or a thread."""
        if "conformance_cluster" in request.fixturenames:
            request.getfixturevalue("conformance_cluster")  # its sockets are not the test's
        sockets, threads = open_sockets(), set(threading.enumerate())
        yield
        deadline = time.monotonic() + self.patience
        while left := [*(open_sockets() - sockets), *_started(threads)]:
            if time.monotonic() > deadline:
                pytest.fail(f"left behind: {', '.join(map(str, left))}")
            gc.collect()
            time.sleep(0.01)

    # What a test asks for ---------------------------------------------------------------------------------------------

    @pytest.fixture
    def prepare(self) -> Prepare:
        """Make requests as the base class gives them to a transport."""
        return prepare_request

    @pytest.fixture
    def client_for(self) -> OpenClient:
        """An open client: ``async with client_for(url, pool_size=3) as client``.  Closed, it has to have no task any more."""

        @asynccontextmanager
        async def opened(url: str = "http://127.0.0.1:1", **options: Any) -> AsyncGenerator[BaseClient, None]:
            configuration = ClientConfiguration(url=url)
            tasks = _tasks()
            async with create_client(
                configuration, options=ClientOptions(**options), backend=self.transport.client
            ) as client:
                yield client
            for _ in range(20):
                await anyio.lowlevel.checkpoint()  # for tasks that are done but for telling it
            left = {task for task in _tasks() - tasks if not task.done()}
            assert not left, f"the closed client leaves tasks: {left}"

        return opened

    @pytest.fixture
    def connect(self, client_for: OpenClient) -> Connect:
        """An open WebSocket, which is aborted at the end: ``async with connect(server.url, close_timeout=0.1) as websocket``."""

        @asynccontextmanager
        async def opened(
            url: str, ssl_context: ssl.SSLContext | None = None, **options: Any
        ) -> AsyncGenerator[WebSocketConnection, None]:
            async with client_for(url, **options) as client:
                websocket = await client.open_websocket(prepare_request(url + "/ws", ssl_context=ssl_context), OFFER)
                assert not isinstance(websocket, Response), websocket
                try:
                    yield websocket
                finally:
                    await websocket.abort()

        return opened

    @pytest.fixture
    def authority(self) -> trustme.CA:
        """Who signs the certificates of these tests."""
        return authority()

    @pytest.fixture
    def server_tls(self) -> ssl.SSLContext:
        """For a server on loopback that is also called ``cluster.test``."""
        return server_context()

    @pytest.fixture
    def client_tls(self) -> ssl.SSLContext:
        """Trusts that authority and no other; the test's own to change."""
        return trusting()

    @pytest.fixture(params=["plain", "tls"])
    def tls(self, request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> Contexts:
        """The contexts of the server and of the client."""
        with_tls = request.param == "tls"
        if with_tls and "tls" not in self.transport.claims:
            pytest.skip("this transport does not claim: tls")
        return {"server": server_tls if with_tls else None, "client": client_tls if with_tls else None}

    @pytest.fixture(params=[plain, stream, websocket])
    def send(self, request: pytest.FixtureRequest) -> Send:
        """The three kinds of requests."""
        kind: Send = request.param
        return kind

    @pytest.fixture
    def closed_port(self) -> Iterator[int]:
        """A port that nobody listens on, and that nobody else gets meanwhile."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            yield bound.getsockname()[1]


def _started(before: set[threading.Thread]) -> set[threading.Thread]:
    # Worker threads are the event loop's own, and are kept for the next call.
    pools = ("asyncio_", "AnyIO worker thread", "Trio thread", "ThreadPoolExecutor")
    return {thread for thread in set(threading.enumerate()) - before if not thread.name.startswith(pools)}


def _tasks() -> set[asyncio.Task[Any]]:
    # Trio has nurseries for this.
    return asyncio.all_tasks() if running_event_loop() == "asyncio" else set()
