"""Messages of a server, and what scripts and tests wait for."""

from __future__ import annotations

import json
import threading
from typing import Final

import anyio
import anyio.to_thread

from kubex_stream import OutputStream
from kubex_stream.testing import ScriptedPeer, ScriptedServer
from kubex_stream.testing.scripted import Script

V4: Final = "v4.channel.k8s.io"
V5: Final = "v5.channel.k8s.io"
#: A server's first message.
READY: Final = b"\x01"
SUCCESS: Final = b'\x03{"metadata":{},"status":"Success"}'
#: The client's end of stdin, on v5.
END_OF_STDIN: Final = b"\xff\x00"
CLOSE, PING, PONG = 8, 9, 10


def out(payload: bytes) -> bytes:
    """A piece of stdout."""
    return b"\x01" + payload


def err(payload: bytes) -> bytes:
    """A piece of stderr."""
    return b"\x02" + payload


def exited(code: int) -> bytes:
    """The Status of an exit code that is not 0."""
    causes = [{"reason": "ExitCode", "message": str(code)}]
    return (
        b"\x03" + json.dumps({"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": causes}}).encode()
    )


def serving(script: Script, *, tls: bool = False) -> ScriptedServer:
    """A server that takes the client's first choice of a subprotocol, and then runs the script."""
    return ScriptedServer(script, subprotocol=None, tls=tls)


async def finish(peer: ScriptedPeer, status: bytes = SUCCESS) -> None:
    """End a session as a server does."""
    await peer.send(status)
    await peer.close()


async def read_on(peer: ScriptedPeer) -> None:
    """Read until the client has ended the connection, and answer nothing."""
    while await peer.receive_frame() is not None:
        pass


async def happens(event: threading.Event) -> None:
    """Wait for what a server's thread tells."""
    assert await anyio.to_thread.run_sync(event.wait, 20), "it never happened"


async def read(stream: OutputStream) -> bytes:
    """Everything of an output."""
    return b"".join([chunk async for chunk in stream])
