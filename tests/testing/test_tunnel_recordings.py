"""The embedded cluster's tunnel says what a real cluster's said: the same frames on every stream, for the same bytes of a client."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from kubex_stream.testing import Behaviour, EmbeddedCluster
from tests.testing.raw_client import CLOSE, RawClient
from tests.testing.raw_tunnel import RawTunnel, SpdyFrame, SpdyReader
from tests.testing.test_recordings import ECHO

RECORDINGS: Final = Path(__file__).parent.parent / "recordings"
NAMES: Final = sorted(path.stem for path in RECORDINGS.glob("tunnel-*.json") if "403" not in path.stem)


def _payload(event: dict[str, Any]) -> bytes:
    return bytes.fromhex(event["hex"]) if "hex" in event else zlib.decompress(bytes.fromhex(event["zlib_hex"]))


@pytest.fixture(scope="module")
def wire() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster([ECHO], quiet=True, behaviour=Behaviour(half_close_grace=0.3)) as cluster:
        yield cluster


class _Said:
    """What a server has said, stream by stream: the order of streams among each other varies from run to run."""

    def __init__(self) -> None:
        self._reader = SpdyReader()
        self.streams: dict[int, list[tuple[object, ...]]] = {}
        self.pings = 0

    def feed(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            self._add(frame)

    def _add(self, frame: SpdyFrame) -> None:
        if frame.name in ("PING", "GOAWAY"):
            self.pings += frame.name == "PING"
            return
        said = self.streams.setdefault(frame.stream, [])
        if frame.name == "DATA" and frame.payload:
            before = said.pop()[1] if said and said[-1][0] == "DATA" else b""
            assert isinstance(before, bytes)
            said.append(("DATA", before + frame.payload))
        elif frame.name != "DATA":
            said.append((frame.name, frame.flags, frame.payload, frame.status))
        if frame.name == "DATA" and frame.fin:
            said.append(("FIN",))

    def reaches(self, expected: _Said) -> bool:
        """Whether as much has been said as expected."""
        for stream, wanted in expected.streams.items():
            said = self.streams.get(stream, [])
            if len(said) < len(wanted):
                return False
            if wanted and wanted[-1][0] == "DATA" and len(said) == len(wanted):
                text, now = wanted[-1][1], said[-1][1]
                if b"error" not in text[:5] and len(now) < len(text):  # type: ignore[index, arg-type]
                    return False
        return self.pings >= expected.pings

    @property
    def comparable(self) -> dict[int, list[tuple[object, ...]]]:
        return {
            stream: [(each[0], _without_ids(each[1])) if each[0] == "DATA" else each for each in said]
            for stream, said in self.streams.items()
        }


def _without_ids(data: object) -> bytes:
    assert isinstance(data, bytes)
    data = re.sub(rb"network namespace \"/[^\"]+/cni-[-0-9a-f]+\"", b"network namespace NETWORK", data)
    return re.sub(rb"127\.0\.0\.1:\d+->", b"LOCAL->", re.sub(rb"[0-9a-f]{64}", b"ID", data))


class _Player:
    """A client that says what the recorded one said, each thing once the server has said what stood before it."""

    def __init__(self, tunnel: RawTunnel) -> None:
        self.said = _Said()
        self.controls: list[tuple[int, bytes]] = []
        self._tunnel = tunnel

    def take(self) -> bool:
        found = self._tunnel.cut()
        if found is None:
            return False
        opcode, _, payload = found
        if opcode >= CLOSE:
            self.controls.append((opcode, payload))
        else:
            self.said.feed(payload)
        return True


@pytest.mark.parametrize("name", NAMES)
def test_a_tunnel_goes_as_it_was_recorded(wire: EmbeddedCluster, name: str) -> None:
    recording = json.loads((RECORDINGS / f"{name}.json").read_text())
    expected = _Said()
    controls = []
    with RawTunnel(wire, "echo", "wire") as tunnel:
        player = _Player(tunnel)
        for event in recording["events"]:
            if "end" in event:
                assert event["end"] == "eof"
            elif event["dir"] == "in" and event["opcode"] >= CLOSE:
                controls.append((event["opcode"], _payload(event)))
            elif event["dir"] == "in":
                expected.feed(_payload(event))
            else:
                while not player.said.reaches(expected):
                    assert player.take(), f"ended too early: {player.said.streams}"
                tunnel.client.send(_payload(event), event["opcode"], fin=event["fin"])
        while player.take():
            pass
    assert player.said.comparable == expected.comparable
    assert player.controls == controls
    wire.wait_for(lambda: not wire.open_sessions and not wire.forwarded_connections)


def test_the_answer_to_the_request_is_the_recorded_one(wire: EmbeddedCluster) -> None:
    recording = json.loads((RECORDINGS / "tunnel-echo-kubelet.json").read_text())
    with RawClient(wire) as client:
        method, target, _ = recording["request"]["line"].split()
        client.request(target, [tuple(pair) for pair in recording["request"]["headers"][1:]], method=method)
        answer = client.head()
        assert answer.line == recording["response"]["line"]
        assert answer.headers == [tuple(pair) for pair in recording["response"]["headers"]]
