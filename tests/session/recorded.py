"""Sessions recorded from a real cluster, and a connection that plays their server."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from anyio.lowlevel import checkpoint

from kubex_stream.client import Response

from .memory import MemoryConnection

FOLDER: Final = Path(__file__).parent.parent / "recordings"
DATA: Final = (0, 1, 2)
CLOSE: Final = 8


@dataclass(frozen=True)
class Sent:
    """What a client has said, without how it was cut."""

    stdin: bytes = b""
    sizes: tuple[tuple[int, int], ...] = ()
    closes: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, messages: list[bytes]) -> Sent:
        sizes = [json.loads(message[1:]) for message in messages if message[:1] == b"\x04"]
        return cls(
            stdin=b"".join(message[1:] for message in messages if message[:1] == b"\x00"),
            sizes=tuple((size["Width"], size["Height"]) for size in sizes),
            closes=tuple(message for message in messages if message[:1] == b"\xff"),
        )

    def reaches(self, other: Sent) -> bool:
        """Whether at least as much was said as there."""
        pairs = ((self.stdin, other.stdin), (self.sizes, other.sizes), (self.closes, other.closes))
        return all(len(mine) >= len(theirs) for mine, theirs in pairs)


class Recording:
    """One file of the recordings."""

    def __init__(self, name: str) -> None:
        self.name = name
        content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
        self._content = content
        self._events: list[dict[str, Any]] = content.get("events", [])

    @property
    def target(self) -> str:
        target: str = self._content["request"]["line"].split()[1]
        return target

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        """What was asked for; false is the same as absent."""
        return sorted(parse_qsl(urlsplit(self.target).query))

    @property
    def offered(self) -> list[str]:
        lines = [value for name, value in self._content["request"]["headers"] if name == "Sec-WebSocket-Protocol"]
        return lines[0].split(", ") if lines else []

    @property
    def chosen(self) -> str | None:
        return next((v for k, v in self._content["response"]["headers"] if k == "Sec-WebSocket-Protocol"), None)

    @property
    def response(self) -> Response:
        """The answer, of a refusal."""
        answer = self._content["response"]
        headers = [(name.lower(), value) for name, value in answer["headers"]]
        return Response(int(answer["line"].split()[1]), headers, bytes.fromhex(answer.get("body_hex", "")))

    @property
    def received(self) -> list[bytes]:
        """The messages of the server."""
        return [payload for direction, payload in self._data() if direction == "in"]

    @property
    def sent(self) -> Sent:
        """What the recording's client said in all."""
        return Sent.of(self.calls)

    @property
    def close_code(self) -> int | None:
        """The first Close of the server."""
        codes = [event for event in self._events if event["dir"] == "in" and event.get("opcode") == CLOSE]
        return int.from_bytes(_payload(codes[0])[:2], "big") if codes else None

    @property
    def client_leaves(self) -> bool:
        """Whether it was the client that closed first."""
        closes = [event["dir"] for event in self._events if event.get("opcode") == CLOSE]
        return closes[:1] == ["out"]

    @property
    def calls(self) -> list[bytes]:
        """The messages of the client."""
        return [payload for direction, payload in self._data() if direction == "out"]

    def runs(self) -> Iterator[tuple[Sent, bytes]]:
        """Each message of the server, with what the client had said before it."""
        said: list[bytes] = []
        for direction, payload in self._data():
            if direction == "out":
                said.append(payload)
            else:
                yield Sent.of(said), payload

    def _data(self) -> Iterator[tuple[str, bytes]]:
        for event in self._events:
            if event.get("opcode") in DATA:
                yield event["dir"], _payload(event)


def _payload(event: dict[str, Any]) -> bytes:
    return bytes.fromhex(event["hex"]) if "hex" in event else zlib.decompress(bytes.fromhex(event["zlib_hex"]))


class ReplayConnection(MemoryConnection):
    """The server of a recording, in its order: a message comes once the client has said what it had said before it.

    :param strict: False to send everything at once, whatever the client says
    """

    def __init__(self, recording: Recording, *, strict: bool = True) -> None:
        super().__init__(protocol=recording.chosen)
        self._recording = recording
        self._runs = list(recording.runs())
        self._strict = strict
        self._play()

    def on_message(self, message: bytes) -> None:  # noqa: ARG002
        self._play()

    def _play(self) -> None:
        said = Sent.of(self.sent)
        while self._runs and (not self._strict or said.reaches(self._runs[0][0])):
            self.feed(self._runs.pop(0)[1])
        if not (self._runs or self._recording.client_leaves) and (
            not self._strict or said.reaches(self._recording.sent)
        ):
            self._end()

    def _end(self) -> None:
        code = self._recording.close_code
        if code == 1000:
            self.finish()
        elif code is not None:
            self.lose("closed by the server", close_code=code)

    async def room(self) -> None:
        await checkpoint()


class SteppingReplay(ReplayConnection):
    """The same, frame by frame."""

    async def receive_bytes(self) -> bytes:
        await checkpoint()
        return await super().receive_bytes()
