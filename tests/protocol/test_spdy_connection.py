"""The state of a connection: what each end says, hears, and makes of what it may not hear."""

from __future__ import annotations

import tracemalloc

import pytest

from kubex_stream.protocol import spdy
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
from kubex_stream.protocol.spdy_headers import SpdyError
from tests.protocol import wire


def client_with(count: int) -> SpdyConnection:
    """A client with streams 1, 3, …"""
    connection = SpdyConnection(client=True)
    for _ in range(count):
        connection.open_stream({"a": "b"})
    return connection


def failure(events: list[Event]) -> str:
    """The text of the only event."""
    (event,) = events
    assert isinstance(event, Failed)
    return str(event.error)


# Sending --------------------------------------------------------------------------------------------------------------


def test_a_client_opens_odd_streams_and_each_header_block_needs_those_before() -> None:
    connection, reader = SpdyConnection(client=True), wire.Reader()
    for number in range(200):
        headers = {"streamtype": "data", "port": "80", "requestid": str(number)}
        stream_id, raw = connection.open_stream(headers, fin=number % 2 == 1)
        assert stream_id == 2 * number + 1
        assert reader.lines(raw) == [("SYN_STREAM", stream_id, number % 2, headers)]
    assert list(connection.streams) == list(range(1, 401, 2))


def test_everything_a_client_says() -> None:
    connection = client_with(2)
    raw = (
        connection.data(1, b"", fin=True) + connection.data(3, b"hi") + connection.data(3, memoryview(b"ho"), fin=True)
    )
    raw += connection.data(3, b"late") + connection.reset(3) + connection.reset(3) + connection.data(3, b"gone")
    raw += connection.ping()[1] + connection.ping()[1] + connection.go_away()
    assert wire.Reader().lines(raw) == [
        ("DATA", 1, 1, b""),
        ("DATA", 3, 0, b"hi"),
        ("DATA", 3, 1, b"ho"),
        ("RST", 3, 5),
        ("PING", 1),
        ("PING", 3),
        ("GOAWAY", 0, 0),
    ]
    assert list(connection.streams) == [1]


def test_everything_a_server_says() -> None:
    connection, deflater = SpdyConnection(client=False), wire.Deflater()
    raw = b"".join(deflater.syn_stream(stream_id, {"a": "b"}) for stream_id in (1, 3, 5))
    assert connection.receive(raw) == [StreamOpened(stream_id, {"a": "b"}, False) for stream_id in (1, 3, 5)]
    raw = connection.reply(1) + connection.reply(3, {"x": "y"}, fin=True) + connection.data(3, b"behind its end")
    raw += connection.reply(1) + connection.reply(7) + connection.data(1, bytearray(b"abc")) + connection.reset(5, 3)
    raw += connection.ping()[1] + connection.go_away(spdy.PROTOCOL_ERROR)
    assert wire.Reader().lines(raw) == [
        ("SYN_REPLY", 1, 0, {}),
        ("SYN_REPLY", 3, 1, {"x": "y"}),
        ("DATA", 1, 0, b"abc"),
        ("RST", 5, 3),
        ("PING", 2),
        ("GOAWAY", 5, 1),
    ]


def test_views_are_measured_in_bytes() -> None:
    view = memoryview(bytes(range(8))).cast("I")
    assert client_with(1).data(1, view) == wire.data(1, bytes(range(8)))


def test_what_does_not_fit_changes_nothing() -> None:
    connection = client_with(1)
    with pytest.raises(ValueError, match="do not fit"):
        connection.data(1, bytes(2**24), fin=True)
    with pytest.raises(ValueError, match="cannot be the name"):
        connection.open_stream({"Port": "80"})
    assert not connection.streams[1].local_ended
    assert connection.open_stream({})[0] == 3


def test_streams_are_limited_and_their_places_come_back() -> None:
    connection = SpdyConnection(client=True, max_streams=2)
    connection.open_stream({})
    connection.open_stream({})
    with pytest.raises(SpdyError, match="2 are open"):
        connection.open_stream({})
    connection.reset(1)
    assert connection.open_stream({})[0] == 5


@pytest.mark.parametrize(
    "ending", [wire.frame(wire.GOAWAY, wire.words(0, 0)), b"\xff" * 8, b""], ids=["GOAWAY", "broken", "our GOAWAY"]
)
def test_nothing_is_opened_on_a_connection_that_is_over(ending: bytes) -> None:
    connection = client_with(1)
    if ending:
        connection.receive(ending)
    else:
        connection.go_away()
    with pytest.raises(SpdyError, match="over"):
        connection.open_stream({})


# Receiving: a client --------------------------------------------------------------------------------------------------


def test_the_answers_of_a_server_in_any_order() -> None:
    connection, deflater = client_with(4), wire.Deflater()
    raw = deflater.syn_reply(5) + wire.data(5, b"five") + deflater.syn_reply(1, {"x": "y"}, wire.FIN)
    raw += wire.frame(wire.RST, wire.words(3, 5)) + deflater.syn_reply(7) + wire.data(7, b"seven", wire.FIN)
    assert connection.receive(raw) == [
        StreamReplied(5, {}),
        DataReceived(5, b"five"),
        StreamReplied(1, {"x": "y"}),
        StreamEnded(1),
        StreamReset(3, 5),
        StreamReplied(7, {}),
        DataReceived(7, b"seven"),
        StreamEnded(7),
    ]
    assert list(connection.streams) == [1, 5, 7]
    assert connection.take_answers() == b""


def test_data_before_the_reply_is_taken_and_a_second_reply_is_not() -> None:
    connection, deflater = client_with(1), wire.Deflater()
    raw = wire.data(1, b"early") + deflater.syn_reply(1) + deflater.syn_reply(1, {}, wire.FIN) + wire.data(1, b"on")
    assert connection.receive(raw) == [DataReceived(1, b"early"), StreamReplied(1, {}), DataReceived(1, b"on")]


def test_a_stream_is_gone_when_both_halves_are_closed() -> None:
    first, second = client_with(1), client_with(1)
    first.data(1, b"", fin=True)
    assert first.receive(wire.data(1, b"x", wire.FIN)) == [DataReceived(1, b"x"), StreamEnded(1)]
    assert second.receive(wire.data(1, b"", wire.FIN)) == [StreamEnded(1)]
    assert second.streams[1].remote_ended
    assert second.data(1, b"y", fin=True) == wire.data(1, b"y", wire.FIN)
    for connection in (first, second):
        assert not connection.streams
        assert connection.reset(1) == connection.data(1, b"z") == b""
        assert connection.receive(wire.frame(wire.RST, wire.words(1, 5)) + wire.data(1, b"late")) == []


@pytest.mark.parametrize("flags", [0, wire.FIN])
def test_headers_can_end_a_stream(flags: int) -> None:
    connection, deflater = client_with(1), wire.Deflater()
    assert connection.receive(deflater.headers(1, {"x": "y"}, flags)) == ([StreamEnded(1)] if flags else [])
    assert connection.receive(deflater.headers(1, {}, flags) + deflater.headers(9, {}, flags)) == []


def test_data_behind_the_end_resets_the_stream() -> None:
    connection = client_with(2)
    raw = wire.data(1, b"", wire.FIN) + wire.data(1, b"lost") + wire.data(1, b"more") + wire.data(3, b"fine")
    assert connection.receive(raw) == [StreamEnded(1), StreamReset(1, spdy.PROTOCOL_ERROR), DataReceived(3, b"fine")]
    assert wire.Reader().lines(connection.take_answers()) == [("RST", 1, 1)]
    assert connection.take_answers() == b""
    assert list(connection.streams) == [3]


def test_a_second_end_without_data_does_no_harm() -> None:
    connection = client_with(1)
    assert connection.receive(wire.data(1, b"", wire.FIN) + wire.data(1, b"", wire.FIN) + wire.data(1)) == [
        StreamEnded(1)
    ]
    assert list(connection.streams) == [1]
    assert connection.take_answers() == b""


def test_frames_of_streams_that_are_gone_are_dropped_but_their_headers_count() -> None:
    connection, deflater = client_with(3), wire.Deflater()
    connection.reset(1)
    raw = deflater.syn_reply(1, {"of": "the one that is gone"}) + wire.data(1, b"x" * 9)
    raw += deflater.headers(1, {"of": "it as well"}, wire.FIN) + deflater.syn_reply(99, {"of": "none"})
    raw += deflater.syn_reply(3, {"of": "the one that is gone"}) + wire.frame(wire.RST, wire.words(5, 9))
    raw += wire.data(5, b"gone too") + deflater.syn_reply(5, {"of": "it"})
    assert connection.receive(raw) == [StreamReplied(3, {"of": "the one that is gone"}), StreamReset(5, 9)]


@pytest.mark.parametrize("stream_id", [2, 5, 2**31 - 1])
def test_data_of_a_stream_that_a_client_never_opened_is_no_spdy(stream_id: int) -> None:
    connection = client_with(2)
    assert str(stream_id) in failure(connection.receive(wire.data(stream_id, b"x") + wire.data(1, b"y")))
    assert connection.receive(wire.data(1, b"z")) == []


def test_an_answer_of_http_is_no_spdy() -> None:
    events = client_with(1).receive(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    assert failure(events).startswith("DATA of the stream 12134")


def test_a_client_refuses_to_be_opened_streams() -> None:
    connection, deflater = client_with(2), wire.Deflater()
    assert connection.receive(deflater.syn_stream(2, {}) + deflater.syn_stream(3, {})) == [
        StreamReset(3, spdy.REFUSED_STREAM)
    ]
    assert wire.Reader().lines(connection.take_answers()) == [("RST", 2, 3), ("RST", 3, 3)]
    assert list(connection.streams) == [1]


@pytest.mark.parametrize(("client", "own", "foreign"), [(True, 1, 2**32 - 2), (False, 2, 2**32 - 1)])
def test_pings_are_echoed_and_answered(client: bool, own: int, foreign: int) -> None:
    connection = SpdyConnection(client=client)
    assert connection.ping() == (own, wire.frame(wire.PING, wire.words(own)))
    echo = wire.frame(wire.PING, wire.words(foreign))
    assert connection.receive(wire.frame(wire.PING, wire.words(own)) + echo) == [PingAnswered(own)]
    assert connection.take_answers() == echo


def test_settings_and_window_updates_mean_nothing() -> None:
    raw = wire.frame(wire.SETTINGS, wire.words(1, 4, 1)) + wire.frame(wire.WINDOW_UPDATE, wire.words(1, 1))
    connection = client_with(1)
    assert connection.receive(raw + wire.data(1, b"x")) == [DataReceived(1, b"x")]
    assert connection.take_answers() == b""


def test_goaway_is_the_last_event() -> None:
    connection = client_with(1)
    raw = wire.data(1, b"before") + wire.frame(wire.GOAWAY, wire.words(1, 0)) + wire.data(1, b"behind")
    assert connection.receive(raw) == [DataReceived(1, b"before"), GoneAway(1, 0)]
    assert connection.receive(wire.data(1, b"later") + b"\xff" * 8) == []
    assert list(connection.streams) == [1]


def test_a_failure_is_the_last_event() -> None:
    connection = client_with(1)
    events = connection.receive(wire.data(1, b"before") + wire.frame(5, bytes(8)) + wire.data(1, b"behind"))
    assert events[0] == DataReceived(1, b"before")
    assert "unknown type 5" in failure(events[1:])
    assert connection.receive(wire.data(1, b"later")) == []


def flood(kind: str) -> list[bytes]:
    deflater = wire.Deflater()
    match kind:
        case "pings":
            return [wire.frame(wire.PING, wire.words(2 * number + 2)) for number in range(8000)]
        case "streams":
            return [deflater.syn_stream(2 * number + 2, {}) for number in range(8000)]
    return [wire.data(2 * number + 1, b"", wire.FIN) + wire.data(2 * number + 1, b"x") for number in range(8000)]


@pytest.mark.parametrize("kind", ["pings", "streams", "data behind the end"])
@pytest.mark.parametrize("together", [True, False])
def test_a_peer_that_wants_too_many_answers_is_left(kind: str, together: bool) -> None:
    connection, pieces = client_with(8000), flood(kind)
    events = [event for piece in ([b"".join(pieces)] if together else pieces) for event in connection.receive(piece)]
    assert "more pings and refused streams" in failure(events[-1:])
    assert sum(isinstance(event, Failed) for event in events) == 1
    assert len(connection.take_answers()) <= 65536 + 16


def test_answers_that_are_taken_have_no_limit() -> None:
    connection = client_with(0)
    ping = wire.frame(wire.PING, wire.words(2))
    for _ in range(10_000):
        assert connection.receive(ping) == []
        assert connection.take_answers() == ping


def test_tiny_frames_take_little_memory() -> None:
    connection = client_with(1)
    message = wire.data(1, b"x") * 100_000
    tracemalloc.start()
    try:
        assert len(connection.receive(message)) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 200 * 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_are_received(kind: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    connection = client_with(1)
    head, payload = wire.data(1, b"x" * 1000)[:8], b"x" * 1000
    assert connection.receive(kind(head)) == []
    (event,) = connection.receive(kind(payload))
    assert event == DataReceived(1, payload)
    assert isinstance(event, DataReceived)
    assert isinstance(event.data, bytes | memoryview)
    assert connection.receive(kind(wire.data(1, b"y" * 1000))) == [DataReceived(1, b"y" * 1000)]
