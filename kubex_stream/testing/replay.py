"""A recorded session, played back: the real server's frames, in its order, cut as it cut them, ended as it ended.

The format of a recording: ``request`` and ``response`` with ``line`` and ``headers``; of a refusal ``response.body_hex`` and
``response.connection_ended``; ``events``, each with ``dir`` ("in" is server to client), and ``opcode``, ``fin`` and ``hex`` or
``zlib_hex`` for a frame, or ``end`` ("eof" or "reset") for the end.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubex_stream.testing.heard import listen
from kubex_stream.testing.http import accept_key
from kubex_stream.testing.scripted import ScriptedPeer, ScriptedServer

__all__ = ("ReplayServer", "payload_of")


def payload_of(event: Mapping[str, Any]) -> bytes:
    """The payload of a recorded frame."""
    return bytes.fromhex(event["hex"]) if "hex" in event else zlib.decompress(bytes.fromhex(event["zlib_hex"]))


class ReplayServer(ScriptedServer):
    """Plays one recording to every client.

    Each run of the server's frames is sent once the client has said what stood before it: as much input, as many sizes, the end of
    stdin, the Close; of a tunnel the same streams, with as much data and the same ends and resets.  Input that differs from the recorded
    one is an AssertionError when the ``with`` block is left.

    :param recording: the recording, or the file that holds it
    :param tls: HTTPS with an authority of its own
    """

    def __init__(self, recording: Mapping[str, Any] | Path, *, tls: bool = False) -> None:
        self.recording: Mapping[str, Any] = (
            json.loads(recording.read_text()) if isinstance(recording, Path) else recording
        )
        super().__init__(self._play, handshake=False, tls=tls)

    async def _play(self, peer: ScriptedPeer) -> None:
        response = self.recording["response"]
        headers = dict(response["headers"])
        if "Sec-WebSocket-Accept" in headers:
            headers["Sec-WebSocket-Accept"] = accept_key(peer.request.header("Sec-WebSocket-Key"))
        lines = [response["line"], *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        await peer.send_raw("\r\n".join(lines).encode() + bytes.fromhex(response.get("body_hex", "")))
        if "events" in self.recording and "body_hex" not in response:
            await self._play_events(peer, headers.get("Sec-WebSocket-Protocol", ""))
        elif not response.get("connection_ended", True):
            while await peer.connection.receive():
                pass

    async def _play_events(self, peer: ScriptedPeer, subprotocol: str) -> None:
        heard, expected = listen(subprotocol, forward="/portforward" in self.recording["request"]["line"])
        for event in self.recording["events"]:
            if event["dir"] == "out":
                if "end" not in event:
                    expected.add(event["opcode"], payload_of(event))
                continue
            while not heard.reaches(expected):
                frame = await peer.receive_frame()
                if frame is None:
                    return
                heard.add(frame.opcode, frame.payload)
            if event.get("end") == "reset":
                await peer.reset()
            elif "end" in event:
                await peer.end()
            else:
                await peer.send_frame(event["opcode"], payload_of(event), fin=event["fin"])
        while not peer.connection.closed and await peer.receive_frame() is not None:
            pass
