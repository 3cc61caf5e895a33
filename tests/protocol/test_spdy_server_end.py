"""A server's end of a connection: which streams it takes."""

from __future__ import annotations

import tracemalloc

from kubex_stream.protocol import spdy
from kubex_stream.protocol.spdy_connection import DataReceived, SpdyConnection, StreamEnded, StreamOpened, StreamReset
from tests.protocol import wire


def server_with(*ids: int) -> SpdyConnection:
    """A server for which a client has opened these streams."""
    connection, deflater = SpdyConnection(client=False), wire.Deflater()
    raw = b"".join(deflater.syn_stream(stream_id, {"a": "b"}) for stream_id in ids)
    assert connection.receive(raw) == [StreamOpened(stream_id, {"a": "b"}, False) for stream_id in ids]
    return connection


def test_a_stream_with_an_end_and_one_without_a_way_back() -> None:
    connection, deflater = SpdyConnection(client=False), wire.Deflater()
    raw = deflater.syn_stream(1, {"a": "b"}, wire.FIN) + deflater.syn_stream(3, {}, 2) + wire.data(3, b"x")
    assert connection.receive(raw) == [
        StreamOpened(1, {"a": "b"}, True),
        StreamOpened(3, {}, False),
        DataReceived(3, b"x"),
    ]
    assert connection.data(1, b"y", fin=True) == wire.data(1, b"y", wire.FIN)
    assert connection.data(3, b"y") == b""
    assert wire.Reader().lines(connection.reply(3, fin=True)) == [("SYN_REPLY", 3, 0, {})]
    assert connection.receive(wire.data(3, b"", wire.FIN)) == [StreamEnded(3)]
    assert not connection.streams


def test_a_stream_on_which_nobody_can_speak_is_refused() -> None:
    connection, deflater = SpdyConnection(client=False), wire.Deflater()
    assert connection.receive(deflater.syn_stream(1, {}, 3)) == []
    assert connection.receive(deflater.syn_stream(1, {})) == []
    assert wire.Reader().lines(connection.take_answers()) == [("RST", 1, 1), ("RST", 1, 1)]
    assert not connection.streams


def test_ids_have_to_grow_by_two() -> None:
    connection, deflater = SpdyConnection(client=False), wire.Deflater()
    ids = [1, 5, 4, 6, 7, 3, 100, 2**31 - 1]
    events = connection.receive(b"".join(deflater.syn_stream(stream_id, {}) for stream_id in ids))
    assert events == [StreamOpened(stream_id, {}, False) for stream_id in (1, 5, 7, 100, 2**31 - 1)]
    assert wire.Reader().lines(connection.take_answers()) == [("RST", 4, 1), ("RST", 6, 1), ("RST", 3, 1)]
    assert wire.Reader().lines(connection.go_away()) == [("GOAWAY", 2**31 - 1, 0)]


def test_an_id_that_is_open_twice_is_closed() -> None:
    connection = SpdyConnection(client=False)
    deflater = wire.Deflater()
    raw = deflater.syn_stream(1, {}) + deflater.syn_stream(1, {})
    assert connection.receive(raw) == [StreamOpened(1, {}, False), StreamReset(1, spdy.PROTOCOL_ERROR)]
    assert wire.Reader().lines(connection.take_answers()) == [("RST", 1, 1)]
    assert not connection.streams


def test_a_server_has_a_limit_of_streams() -> None:
    connection, deflater = SpdyConnection(client=False, max_streams=2), wire.Deflater()
    raw = b"".join(deflater.syn_stream(stream_id, {}) for stream_id in (1, 3, 5))
    assert connection.receive(raw) == [StreamOpened(1, {}, False), StreamOpened(3, {}, False)]
    assert wire.Reader().lines(connection.take_answers()) == [("RST", 5, 3)]
    connection.reset(1)
    assert connection.receive(deflater.syn_stream(7, {})) == [StreamOpened(7, {}, False)]


def test_a_server_drops_data_of_streams_that_never_were() -> None:
    connection = server_with(1)
    raw = (
        wire.data(7, b"x") + wire.data(2, b"x", wire.FIN) + wire.frame(wire.RST, wire.words(9, 5)) + wire.data(1, b"y")
    )
    assert connection.receive(raw) == [DataReceived(1, b"y")]
    assert connection.take_answers() == b""


def test_a_reply_to_a_stream_of_the_peers_own_is_none() -> None:
    connection = server_with(1)
    assert connection.receive(wire.data(1, b"x") + _continued_reply()) == [DataReceived(1, b"x")]
    assert wire.Reader().lines(connection.reply(1)) == [("SYN_REPLY", 1, 0, {})]
    assert connection.reply(connection.open_stream({})[0]) == b""


def _continued_reply() -> bytes:
    """A SYN_REPLY on the compressed stream that ``server_with(1)`` has read the beginning of."""
    deflater = wire.Deflater()
    deflater.syn_stream(1, {"a": "b"})
    return deflater.syn_reply(1, {"a": "b"})


def test_a_server_opens_even_streams_and_none_that_the_client_has_taken() -> None:
    connection = server_with(2, 5)
    assert connection.open_stream({})[0] == 4
    assert connection.open_stream({})[0] == 6
    assert connection.receive(wire.data(2, b"x") + wire.data(4, b"y")) == [DataReceived(2, b"x"), DataReceived(4, b"y")]


def test_an_id_that_the_server_has_taken_is_closed() -> None:
    connection = SpdyConnection(client=False)
    connection.open_stream({})
    assert connection.receive(wire.Deflater().syn_stream(2, {})) == [StreamReset(2, spdy.PROTOCOL_ERROR)]
    assert wire.Reader().lines(connection.take_answers()) == [("RST", 2, 1)]


def test_the_headers_of_many_streams_are_not_kept() -> None:
    connection, deflater = SpdyConnection(client=False), wire.Deflater()
    bombs = [deflater.syn_stream(stream_id, {"a": "x" * 60000}) for stream_id in range(1, 1001, 2)]
    assert sum(map(len, bombs)) < 2**17
    tracemalloc.start()
    try:
        for bomb in bombs:
            assert len(connection.receive(bomb)) == 1
        assert len(connection.streams) == 500
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
