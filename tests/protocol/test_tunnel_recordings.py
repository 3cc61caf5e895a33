"""Port-forwards that real servers have served, through both ends of the library."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.protocol import spdy
from kubex_stream.protocol.portforward import LEGACY_DATA, LEGACY_ERROR, explain, pair_headers, port_frame
from kubex_stream.protocol.spdy_connection import (
    DataReceived,
    Event,
    Failed,
    GoneAway,
    PingAnswered,
    SpdyConnection,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
)
from kubex_stream.protocol.spdy_decoder import FrameDecoder
from tests.protocol import wire

FOLDER: Final = Path(__file__).parent.parent / "recordings"
BINARY = (0, 2)  # opcodes: binary, and what continues it


def payload(event: dict[str, Any]) -> bytes:
    return bytes.fromhex(event["hex"]) if "hex" in event else zlib.decompress(bytes.fromhex(event["zlib_hex"]))


class Tunnel:
    """A recorded tunnel: its messages and frames, by direction ("in": from the server)."""

    def __init__(self, name: str) -> None:
        content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
        events = [event for event in content.get("events", []) if event.get("opcode") in BINARY]
        self.messages = {way: [payload(event) for event in events if event["dir"] == way] for way in ("in", "out")}
        # What is no SPDY any more, which one client tried, is taken out: it is the end of what is read.
        frames: list[list[Any]] = content.get("spdy_frames", [])
        broken = [number for number, frame in enumerate(frames) if frame[1:3] == ["DATA", 0]]
        self.frames = frames[: broken[0]] if broken else frames
        self.broken = bool(broken)

    def said(self, way: str) -> list[list[Any]]:
        return [frame[1:] for frame in self.frames if frame[0] == way]

    def raw(self, way: str) -> list[bytes]:
        """The bytes of each frame."""
        joined, found = b"".join(self.messages[way]), list[bytes]()
        for _ in self.said(way):
            size = 8 + int.from_bytes(joined[5:8], "big")
            found.append(joined[:size])
            joined = joined[size:]
        assert self.broken or not joined
        return found


TUNNELS = sorted(path.stem for path in FOLDER.glob("tunnel-*.json") if Tunnel(path.stem).frames)
WAYS = [(name, way) for name in TUNNELS for way in ("in", "out")]


def line(frame: spdy.Frame) -> list[Any]:
    """A frame, as recordings write it."""
    match frame:
        case spdy.Data(stream_id, data, fin):
            return ["DATA", stream_id, int(fin), len(data)]
        case spdy.SynStream(stream_id, headers, fin):
            return ["SYN_STREAM", stream_id, int(fin), headers]
        case spdy.SynReply(stream_id, headers, fin):
            return ["SYN_REPLY", stream_id, int(fin), wire.plain_block(list(headers.items())).hex()]
        case spdy.RstStream(stream_id, status):
            return ["RST", stream_id, status]
        case spdy.Ping(ping_id):
            return ["PING", ping_id]
        case spdy.GoAway(last, status):
            return ["GOAWAY", last, status]
    raise AssertionError(frame)


def joined(found: list[list[Any]]) -> list[list[Any]]:
    """DATA of one stream that follows on each other, as one; pieces and frames cannot be told apart then."""
    result: list[list[Any]] = []
    for one in found:
        if result and one[:2] == result[-1][:2] and one[0] == "DATA" and not result[-1][2]:
            result[-1] = [*one[:3], one[3] + result[-1][3]]
        else:
            result.append(one)
    return result


def read(pieces: Iterable[bytes]) -> tuple[list[list[Any]], bool]:
    """What a decoder makes of pieces, and whether it found them broken in the end."""
    decoder = FrameDecoder(65536)
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    broken = bool(frames) and isinstance(frames[-1], spdy.Broken)
    return joined([line(frame) for frame in frames[: len(frames) - broken]]), broken


def test_the_recordings_are_here() -> None:
    assert len(TUNNELS) == 12
    assert [name for name in TUNNELS if Tunnel(name).broken] == ["tunnel-bad-streams"]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_the_frames_of_a_recording_are_read(name: str, way: str) -> None:
    tunnel = Tunnel(name)
    whole = b"".join(tunnel.messages[way])
    expected = joined(tunnel.said(way)), tunnel.broken and way == "out"
    assert read(tunnel.messages[way]) == expected
    assert read([whole]) == expected
    assert read(wire.cut(whole, [1] * len(whole))) == expected


@pytest.mark.parametrize(("name", "way"), WAYS)
@given(sizes=st.lists(st.sampled_from([1, 2, 3, 7, 8, 9, 100, 4096, 32768]), max_size=60))
def test_the_frames_of_a_recording_are_read_in_any_pieces(name: str, way: str, sizes: list[int]) -> None:
    tunnel = Tunnel(name)
    found = read(wire.cut(b"".join(tunnel.messages[way]), sizes))
    assert found == (joined(tunnel.said(way)), tunnel.broken and way == "out")


def say(connection: SpdyConnection, frame: list[Any], raw: bytes) -> bytes:
    """Do what makes this frame."""
    match frame:
        case ["DATA", stream_id, flags, _]:
            return connection.data(stream_id, raw[8:], fin=bool(flags))
        case ["SYN_STREAM", stream_id, flags, headers]:
            found, sent = connection.open_stream(headers, fin=bool(flags))
            assert found == stream_id
            return sent
        case ["SYN_REPLY", stream_id, flags, "00000000"]:
            return connection.reply(stream_id, fin=bool(flags))
        case ["RST", stream_id, status]:
            return connection.reset(stream_id, status)
        case ["PING", ping_id] if ping_id % 2:
            return connection.take_answers() or connection.ping()[1]
        case ["GOAWAY", _, status]:
            return connection.go_away(status)
    raise AssertionError(frame)


def meaning(frames: list[list[Any]], raw: list[bytes], gone: set[int]) -> dict[int, list[object]]:
    """What is heard of each stream: a name, bytes or a status for each frame; 0 stands for the connection."""
    heard: dict[int, list[object]] = {}
    for frame, data in zip(frames, raw, strict=True):
        number = frame[1] if frame[0] not in ("PING", "GOAWAY") else 0
        told = heard.setdefault(number, [])
        if number in gone:
            continue
        if frame[0] == "DATA":
            told += [data[8:]] if frame[3] else []
            told += ["ended"] if frame[2] else []
        else:
            told.append((frame[0], *frame[2:]) if frame[0] == "RST" else frame[0])
    return {number: glued(told) for number, told in heard.items() if told}


def glued(told: list[object]) -> list[object]:
    result: list[object] = []
    for one in told:
        if result and isinstance(one, bytes) and isinstance(last := result[-1], bytes):
            result[-1] = last + one
        else:
            result.append(one)
    return result


def told(events: list[Event]) -> dict[int, list[object]]:
    """Events, as ``meaning`` writes them."""
    heard: dict[int, list[object]] = {}
    for event in events:
        match event:
            case DataReceived(number, data):
                heard.setdefault(number, []).append(bytes(data))
            case StreamOpened(number, _, fin):
                heard.setdefault(number, []).extend(["SYN_STREAM", "ended"] if fin else ["SYN_STREAM"])
            case StreamReplied(number, _):
                heard.setdefault(number, []).append("SYN_REPLY")
            case StreamEnded(number):
                heard.setdefault(number, []).append("ended")
            case StreamReset(number, status):
                heard.setdefault(number, []).append(("RST", status))
            case PingAnswered():
                heard.setdefault(0, []).append("PING")
            case GoneAway():
                heard.setdefault(0, []).append("GOAWAY")
            case Failed(error):
                raise AssertionError(str(error))
    return {number: glued(listed) for number, listed in heard.items()}


@pytest.mark.parametrize("size", [1, 3, 10**6])
@pytest.mark.parametrize(("name", "way"), WAYS)
def test_an_end_that_does_the_same_says_and_hears_the_same(name: str, way: str, size: int) -> None:
    """``way`` is what the library's end says: "out" makes it the client."""
    tunnel, reader, said = Tunnel(name), wire.Reader(), list[wire.Line]()
    connection, events = SpdyConnection(client=way == "out"), list[Event]()
    left, other = set[int](), "out" if way == "in" else "in"
    own, foreign = iter(tunnel.raw(way)), iter(tunnel.raw(other))
    for direction, *frame in tunnel.frames:
        if direction == way:
            said += reader.lines(say(connection, frame, next(own)))
            left |= {frame[1]} if frame[0] == "RST" else set()
            continue
        for piece in wire.cut(next(foreign), [size] * 40000):
            heard = connection.receive(piece)
            events += [e._replace(data=bytes(e.data)) if isinstance(e, DataReceived) else e for e in heard]
    assert said == wire.Reader().lines(b"".join(tunnel.raw(way)))
    expected = meaning(tunnel.said(other), tunnel.raw(other), set())
    for number, found in told(events).items():
        whole = expected[number]
        assert found == whole or (number in left and found == whole[: len(found)])
    echoed = {0} if way == "in" and expected.get(0) == ["PING"] else set()
    assert set(told(events)) == set(expected) - echoed


def test_a_client_hears_how_a_refused_connection_went_and_goes_on() -> None:
    for name in ("tunnel-refused-kubelet", "tunnel-refused-apiserver"):
        tunnel, connection = Tunnel(name), SpdyConnection(client=True)
        for port, request_id in ((9999, 0), (8086, 1)):
            for headers in pair_headers(port, request_id):
                connection.open_stream(headers)
        heard = told(connection.receive(b"".join(tunnel.messages["in"])))
        replied, text, reset = heard[1]
        assert (replied, reset) == ("SYN_REPLY", ("RST", spdy.CANCEL))
        assert isinstance(text, bytes)
        assert explain(text.decode(), 9999).kind == "refused"
        assert heard[3] == ["SYN_REPLY", "ended"]
        assert heard[7][:2] == ["SYN_REPLY", b"banner\n"]


# The older protocol ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ports", "data"),
    [
        ("legacy-echo", [8080], None),
        ("legacy-server-first", [8086], None),
        ("legacy-refused", [9999], b""),
        ("legacy-two-ports", [9999, 8080], b""),
    ],
)
def test_each_older_channel_begins_with_its_port(name: str, ports: list[int], data: bytes | None) -> None:
    channels: dict[int, bytes] = {}
    for message in Tunnel(name).messages["in"]:
        channels[message[0]] = channels.get(message[0], b"") + message[1:]
    for number, port in enumerate(ports):
        assert channels[2 * number + LEGACY_DATA].startswith(port_frame(port))
        assert channels[2 * number + LEGACY_ERROR].startswith(port_frame(port))
    assert len(channels) == 2 * len(ports)
    if data is not None:
        assert channels[LEGACY_DATA][2:] == data
        assert explain(channels[LEGACY_ERROR][2:].decode(), ports[0]).kind == "refused"
    else:
        assert len(channels[LEGACY_DATA]) > 2
        assert channels[LEGACY_ERROR][2:] == b""
