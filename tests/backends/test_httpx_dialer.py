"""How the httpx backend makes its connections."""

from __future__ import annotations

import socket
from collections.abc import Generator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kubex_stream_httpx.dialer import open_socket
from tests.ports import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def listener() -> Generator[socket.socket, None, None]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))
            for host, port in addresses
        ]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)


async def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    resolving(monkeypatch, ("127.0.0.1", free_port()), ("127.0.0.1", port))
    with await open_socket("twice.test", 1) as connected:
        assert connected.getpeername() == ("127.0.0.1", port)


async def test_an_address_that_does_not_answer_holds_nobody_back(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    with socket.socket() as full:
        # Nobody accepts, and the queue is full: the SYN is dropped.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        resolving(monkeypatch, full.getsockname(), listener.getsockname())
        try:
            with anyio.fail_after(10):
                with await open_socket("twice.test", 1) as connected:
                    assert connected.getpeername() == listener.getsockname()
        finally:
            for one in waiting:
                one.close()


async def test_when_no_address_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ("127.0.0.1", free_port()), ("127.0.0.1", free_port()))
    with pytest.raises(OSError, match="refused"):
        await open_socket("twice.test", 1)


async def test_a_name_that_is_none() -> None:
    with pytest.raises(OSError, match="host name"):
        await open_socket("ü" * 70 + ".test", 1)
