"""A consumer that takes its time: the server is slowed down, nothing is piled up, and its pause is not taken for the server's silence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from kubex_stream import ClientConfiguration, Watch, WatchNotice

if TYPE_CHECKING:
    from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

COUNT, SIZE = 64, 1024 * 1024
SILENCE = 2.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """Sends events as fast as they are taken."""

    def __init__(self) -> None:
        self.sent = 0

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            await stream.send(HEAD)
            for number in range(COUNT):
                item = {"metadata": {"name": f"map-{number}", "resourceVersion": str(number + 10)}, "data": "x" * SIZE}
                line = json.dumps({"type": "ADDED", "object": item}).encode() + b"\n"
                await stream.send(b"%x\r\n%s\r\n" % (len(line), line))
                self.sent += 1
            await anyio.sleep_forever()

    async def is_stuck(self) -> None:
        """Wait until nothing more is taken."""
        before = -1
        while before != self.sent:
            before = self.sent
            await anyio.sleep(SILENCE + 0.1)


async def test_a_consumer_that_pauses_holds_up_the_server_and_nothing_else(make_client: MakeClient) -> None:
    server, notices = Server(), list[WatchNotice]()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, server.serve)
        configuration = ClientConfiguration(url=f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}")
        async with make_client(configuration) as client:
            stream = Watch(client).stream(
                "/api/v1/configmaps", resource_version=1, inactivity=SILENCE, notify=notices.append
            )
            async with stream as events:
                found = [(await anext(events)).raw_object["metadata"]["name"]]
                await server.is_stuck()
                assert server.sent < COUNT // 2
                while len(found) < COUNT:
                    found.append((await anext(events)).raw_object["metadata"]["name"])
        tasks.cancel_scope.cancel()
    assert found == [f"map-{number}" for number in range(COUNT)]
    assert notices == []
