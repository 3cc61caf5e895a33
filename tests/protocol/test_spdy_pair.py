"""A client's and a server's end, doing whatever ends may do to each other, their bytes cut anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from kubex_stream.protocol.spdy_connection import (
    DataReceived,
    Event,
    Failed,
    GoneAway,
    SpdyConnection,
    StreamEnded,
    StreamOpened,
    StreamReplied,
    StreamReset,
)
from tests.protocol import wire

#: What an end does, and what it makes of what it receives: bytes, or (method, stream id, payload, fin).
Step = bytes | tuple[str, int, bytes, bool]


@dataclass
class End:
    """One end, what it has done so far, what it has heard, and what it has said."""

    connection: SpdyConnection
    steps: list[Step] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    said: bytearray = field(default_factory=bytearray)
    heard: int = 0  # of the other end's bytes
    sent: dict[int, bytearray] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    given_up: set[int] = field(default_factory=set)

    def do(self, step: Step) -> None:
        self.steps.append(step)
        raw, events = perform(self.connection, step)
        self.said += raw
        self.events += events
        if isinstance(step, bytes):
            return
        name, stream_id, payload, fin = step
        if name == "reset" and raw:
            self.given_up.add(stream_id)
        elif name == "data" and raw:
            self.sent.setdefault(stream_id, bytearray()).extend(payload)
        if fin and raw:
            self.ended.add(stream_id or max(self.connection.streams))


def perform(
    connection: SpdyConnection, step: Step, cut: Callable[[bytes], Iterable[bytes]] = lambda raw: [raw]
) -> tuple[bytes, list[Event]]:
    """Do a step: what is to be sent for it, and what is heard with it."""
    if isinstance(step, bytes):
        events = [owned(event) for piece in cut(step) for event in connection.receive(piece)]
        return connection.take_answers(), events
    name, stream_id, payload, fin = step
    match name:
        case "open":
            return connection.open_stream({"streamtype": "data", "number": payload.hex()}, fin=fin)[1], []
        case "reply":
            return connection.reply(stream_id, fin=fin), []
        case "data":
            return connection.data(stream_id, payload, fin=fin), []
        case "reset":
            return connection.reset(stream_id), []
        case "ping":
            return connection.ping()[1], []
    return connection.go_away(), []


def owned(event: Event) -> Event:
    return DataReceived(event.stream_id, bytes(event.data)) if isinstance(event, DataReceived) else event


def merged(events: Iterable[Event]) -> list[Event]:
    """Events as they are however the bytes were cut."""
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, DataReceived) and isinstance(last, DataReceived) and last.stream_id == event.stream_id:
            result[-1] = DataReceived(event.stream_id, bytes(last.data) + bytes(event.data))
        else:
            result.append(event)
    return result


def exchange(client: End, server: End, most: int) -> None:
    """Deliver up to ``most`` bytes each way."""
    for sender, receiver in ((client, server), (server, client)):
        piece = bytes(sender.said[receiver.heard : receiver.heard + most])
        receiver.heard += len(piece)
        if piece:
            receiver.do(piece)


actions = st.tuples(
    st.sampled_from(
        ["open", "open", "reply", "reply", "data", "data", "data", "data", "reset", "ping", "move", "move"]
    ),
    st.booleans(),
    st.integers(0, 7),
    st.one_of(st.binary(max_size=12), st.sampled_from([b"x" * 300, b"y" * 5000])),
    st.booleans(),
)


def played(script: list[tuple[str, bool, int, bytes, bool]]) -> tuple[End, End]:
    """A script, played to its end by two ends."""
    client, server = End(SpdyConnection(client=True)), End(SpdyConnection(client=False))
    for name, at_client, number, payload, fin in script:
        end = client if at_client else server
        open_ids = list(end.connection.streams)
        if name == "move":
            exchange(client, server, len(payload) * (number + 1))
        elif name == "open":
            client.do(("open", 0, payload[:12], fin))
        elif name == "ping":
            end.do(("ping", 0, b"", False))
        elif open_ids and (at_client <= (name != "reply")):
            end.do((name, open_ids[number % len(open_ids)], payload, fin and name != "reset"))
    while client.heard < len(server.said) or server.heard < len(client.said):
        exchange(client, server, 2**20)
    return client, server


@settings(max_examples=150)
@given(st.lists(actions, max_size=40))
def test_what_one_end_says_is_what_the_other_hears(script: list[tuple[str, bool, int, bytes, bool]]) -> None:
    client, server = played(script)
    reset = client.given_up | server.given_up
    for sender, receiver in ((client, server), (server, client)):
        assert not any(isinstance(event, Failed | GoneAway) for event in receiver.events)
        for stream_id in set(sender.sent) | sender.ended:
            heard = [event for event in receiver.events if getattr(event, "stream_id", 0) == stream_id]
            data = b"".join(bytes(event.data) for event in heard if isinstance(event, DataReceived))
            ended = any(isinstance(e, StreamEnded) or (isinstance(e, StreamOpened) and e.fin) for e in heard)
            sent = sender.sent.get(stream_id, b"")
            assert sent.startswith(data)
            assert stream_id in reset or (data == sent and ended == (stream_id in sender.ended))
    assert list(client.connection.streams) == list(server.connection.streams)
    assert set(client.connection.streams).isdisjoint(reset)
    assert set(client.connection.streams).isdisjoint(client.ended & server.ended)


@settings(max_examples=100)
@given(st.lists(actions, max_size=40), st.lists(st.integers(1, 30), min_size=1, max_size=50))
def test_how_the_bytes_are_cut_means_nothing(
    script: list[tuple[str, bool, int, bytes, bool]], sizes: list[int]
) -> None:
    for end, client in zip(played(script), (True, False), strict=True):
        for each in (sizes, [1] * 20000):
            again, said, heard = SpdyConnection(client=client), bytearray(), list[Event]()
            for step in end.steps:
                raw, events = perform(again, step, lambda raw, each=each: wire.cut(raw, each))  # type: ignore[misc]
                said += raw
                heard += events
            assert merged(heard) == merged(end.events)
            assert again.streams == end.connection.streams
            lines = wire.Reader().lines(bytes(said))
            assert [line for line in lines if line[0] != "RST"] == [
                line for line in wire.Reader().lines(bytes(end.said)) if line[0] != "RST"
            ]


def test_the_script_of_a_forwarded_connection() -> None:
    client, server = End(SpdyConnection(client=True)), End(SpdyConnection(client=False))
    for step in (("open", 0, b"", True), ("open", 0, b"", False), ("data", 3, b"in", True)):
        client.do(step)
    exchange(client, server, 2**20)
    server.do(("reply", 3, b"", False))
    server.do(("reply", 1, b"", False))
    server.do(("data", 3, b"out", False))
    server.do(("data", 3, b"", True))
    server.do(("data", 1, b"text", False))
    server.do(("reset", 1, b"", False))
    exchange(client, server, 2**20)
    assert server.events[2:] == [DataReceived(3, b"in"), StreamEnded(3)]
    assert client.events == [
        StreamReplied(3, {}),
        StreamReplied(1, {}),
        DataReceived(3, b"out"),
        StreamEnded(3),
        DataReceived(1, b"text"),
        StreamReset(1, 5),
    ]
    assert not client.connection.streams
    assert not server.connection.streams


@settings(max_examples=200)
@given(st.lists(actions, max_size=12), st.integers(0, 2000), st.binary(min_size=1, max_size=40), st.booleans())
def test_garbage_in_the_middle_never_raises(
    script: list[tuple[str, bool, int, bytes, bool]], at: int, garbage: bytes, client: bool
) -> None:
    ends = played(script)
    end, other = ends if client else reversed(ends)
    raw = bytes(other.said)
    raw = raw[: at % (len(raw) + 1)] + garbage + raw[at % (len(raw) + 1) :]
    results = []
    for sizes in ([len(raw)], [1] * len(raw)):
        connection = SpdyConnection(client=client, max_header_size=300)
        for step in end.steps:
            if isinstance(step, tuple) and step[0] == "open":
                perform(connection, step)
        events = [owned(event) for piece in wire.cut(raw, sizes) for event in connection.receive(piece)]
        last = [number for number, event in enumerate(events) if isinstance(event, Failed | GoneAway)]
        assert last in ([], [len(events) - 1])
        results.append([str(event) for event in merged(events)])
    assert results[0] == results[1]
