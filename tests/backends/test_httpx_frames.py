"""The frame codec of the httpx backend: the same events whatever the cuts, and an error for whatever the RFC forbids."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream_httpx.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    FrameError,
    FrameReader,
    close_payload,
    encode_frame,
    parse_close,
)
from kubex_stream_httpx.masking import mask, mask_in_python

Event = tuple[int, bytes]


def frame(opcode: int, payload: bytes, *, fin: bool = True, form: int = 0) -> bytes:
    """A frame of the server's; ``form`` asks for a longer length field than is needed."""
    length = len(payload)
    first = bytes([fin << 7 | opcode])
    if length < 126 and form == 0:
        return first + bytes([length]) + payload
    if length < 65536 and form < 2:
        return first + b"\x7e" + struct.pack("!H", length) + payload
    return first + b"\x7f" + struct.pack("!Q", length) + payload


def read(pieces: Sequence[bytes], limit: int = 0) -> list[Event]:
    reader = FrameReader(limit)
    events: list[Event] = []
    for piece in pieces:
        reader.feed(piece)
        while (event := reader.next()) is not None:
            events.append((event[0], bytes(event[1])))
    return events


EVERY_KIND: list[tuple[bytes, list[Event]]] = [
    (frame(BINARY, b""), [(BINARY, b"")]),
    (frame(BINARY, b"one"), [(BINARY, b"one")]),
    (frame(PING, b"?" * 125), [(PING, b"?" * 125)]),
    (frame(BINARY, b"x" * 126), [(BINARY, b"x" * 126)]),
    (
        frame(BINARY, b"ab", fin=False) + frame(PONG, b"") + frame(0, b"", fin=False) + frame(0, b"cd"),
        [(PONG, b""), (BINARY, b"abcd")],
    ),
    (frame(BINARY, b"", fin=False) + frame(0, b""), [(BINARY, b"")]),
    (frame(BINARY, b"form", form=2), [(BINARY, b"form")]),
    (frame(CLOSE, b"\x03\xe8bye"), [(CLOSE, b"\x03\xe8bye")]),
]


def test_cut_at_every_byte() -> None:
    data = b"".join(piece for piece, _ in EVERY_KIND)
    expected = [event for _, events in EVERY_KIND for event in events]
    assert read([data]) == expected
    assert read([data[at : at + 1] for at in range(len(data))]) == expected
    for at in range(len(data)):
        assert read([data[:at], data[at:]]) == expected


@pytest.mark.parametrize("length", [125, 126, 127, 65535, 65536, 300_000])
@pytest.mark.parametrize("step", [1000, 65536])
def test_every_form_of_length(length: int, step: int) -> None:
    payload = bytes(index * 7 & 0xFF for index in range(length))
    data = frame(BINARY, payload) + frame(BINARY, b"next")
    pieces = [data[at : at + step] for at in range(0, len(data), step)]
    assert read(pieces) == [(BINARY, payload), (BINARY, b"next")]


control = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))
message = st.lists(st.binary(max_size=200), min_size=1, max_size=4)
item = st.one_of(control.map(lambda pair: [frame(*pair)]), message.map(lambda parts: fragments(parts)))


def fragments(parts: list[bytes]) -> list[bytes]:
    last = len(parts) - 1
    return [frame(0 if index else BINARY, part, fin=index == last) for index, part in enumerate(parts)]


@given(st.lists(item, max_size=8), st.lists(st.integers(0, 2000), max_size=12))
def test_cuts_change_nothing(items: list[list[bytes]], cuts: list[int]) -> None:
    data = b"".join(piece for pieces in items for piece in pieces)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert read([data[start:end] for start, end in itertools.pairwise(edges)]) == read([data])


@given(st.lists(message, max_size=6))
def test_messages_come_as_they_were(messages: list[list[bytes]]) -> None:
    data = b"".join(piece for parts in messages for piece in fragments(parts))
    assert read([data]) == [(BINARY, b"".join(parts)) for parts in messages]


@given(st.binary(max_size=100), st.lists(st.integers(0, 100), max_size=5))
def test_garbage_is_an_error_or_frames_wherever_it_is_cut(data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})

    def outcome(pieces: list[bytes]) -> tuple[list[Event], str | None]:
        reader, events = FrameReader(50), list[Event]()
        try:
            for piece in pieces:
                reader.feed(piece)
                while (event := reader.next()) is not None:
                    events.append((event[0], bytes(event[1])))
        except FrameError as error:
            return events, str(error)
        return events, None

    whole = outcome([data])
    assert outcome([data[start:end] for start, end in itertools.pairwise(edges)]) == whole


BAD = [
    pytest.param(b"\xc2\x00", 1002, "reserved", id="rsv1"),
    pytest.param(b"\xa2\x00", 1002, "reserved", id="rsv2"),
    pytest.param(b"\x92\x00", 1002, "reserved", id="rsv3"),
    pytest.param(b"\x82\x80", 1002, "masked", id="masked"),
    pytest.param(b"\x83\x00", 1002, "opcode 3", id="opcode3"),
    pytest.param(b"\x8b\x00", 1002, "opcode 11", id="opcode11"),
    pytest.param(b"\x81\x01a", 1003, "text", id="text"),
    pytest.param(b"\x80\x00", 1002, "continues nothing", id="continuation"),
    pytest.param(b"\x02\x00\x82\x00", 1002, "inside of a fragmented", id="message-in-message"),
    pytest.param(b"\x09\x00", 1002, "fragmented", id="ping-fragment"),
    pytest.param(b"\x89\x7e", 1002, "125", id="long-ping"),
    pytest.param(b"\x82\x0b", 1009, "10 bytes", id="over"),
    pytest.param(b"\x02\x06abcdef\x80\x05", 1009, "10 bytes", id="over-in-sum"),
    pytest.param(b"\x82\x7f" + b"\xff" * 8, 1009, "10 bytes", id="absurd"),
]


@pytest.mark.parametrize(("bad", "code", "text"), BAD)
def test_what_is_forbidden(bad: bytes, code: int, text: str) -> None:
    reader = FrameReader(10)
    reader.feed(frame(BINARY, b"before") + bad)
    event = reader.next()
    assert event is not None
    assert bytes(event[1]) == b"before"
    for _ in range(2):
        with pytest.raises(FrameError, match=text) as caught:
            reader.next()
        assert caught.value.code == code


def test_the_limit_itself_is_allowed_and_control_frames_do_not_count() -> None:
    data = frame(BINARY, b"x" * 6, fin=False) + frame(PING, b"?" * 100) + frame(0, b"x" * 4)
    assert read([data], limit=10) == [(PING, b"?" * 100), (BINARY, b"x" * 10)]


def test_an_announced_length_costs_no_memory() -> None:
    reader = FrameReader(0)
    tracemalloc.start()
    try:
        reader.feed(b"\x82\x7f" + struct.pack("!Q", 2**40) + b"x" * 1000)
        assert reader.next() is None
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_inside_of_a_message_or_not() -> None:
    reader = FrameReader(0)
    for piece, inside in [
        (b"", False),
        (b"\x82", True),
        (b"\x02", True),
        (b"a", True),
        (b"b", False),
        (b"\x02\x01a", True),
        (b"\x80\x00", False),
    ]:
        reader.feed(piece)
        while reader.next() is not None:
            pass
        assert reader.inside_message is inside


# Ours -----------------------------------------------------------------------------------------------------------------


def unmasked(data: bytes) -> tuple[int, bytes]:
    """Opcode and payload of a frame of ours, by the RFC's own rule."""
    assert data[0] & 0xF0 == 0x80
    assert data[1] & 0x80
    length, start = data[1] & 0x7F, 2
    if length == 126:
        length, start = int.from_bytes(data[2:4], "big"), 4
        assert length > 125
    elif length == 127:
        length, start = int.from_bytes(data[2:10], "big"), 10
        assert length > 65535
    key, content = data[start : start + 4], data[start + 4 :]
    assert len(content) == length
    return data[0] & 0xF, bytes(byte ^ key[index % 4] for index, byte in enumerate(content))


@given(st.binary(max_size=300), st.sampled_from([BINARY, PING, PONG, CLOSE]))
def test_frames_are_final_masked_and_whole(payload: bytes, opcode: int) -> None:
    assert unmasked(encode_frame(opcode, payload)) == (opcode, payload)


@pytest.mark.parametrize("length", [0, 1, 3, 4, 125, 126, 65535, 65536, 100_001])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_length_and_kind(length: int, kind: Callable[[bytes], bytes | bytearray | memoryview]) -> None:
    payload = bytes(index * 11 & 0xFF for index in range(length))
    assert unmasked(encode_frame(BINARY, kind(payload))) == (BINARY, payload)


def test_views_of_other_things_than_bytes() -> None:
    numbers = memoryview(struct.pack("!4I", 1, 2, 3, 4)).cast("I")
    assert unmasked(encode_frame(BINARY, numbers)) == (BINARY, numbers.tobytes())
    assert unmasked(encode_frame(BINARY, memoryview(b"abcdef")[::2])) == (BINARY, b"ace")


def test_masks_differ() -> None:
    assert len({encode_frame(BINARY, b"") for _ in range(50)}) == 50


@given(st.integers(1000, 4999), st.text(max_size=200))
def test_close(code: int, reason: str) -> None:
    payload = close_payload(code, reason)
    assert len(payload) <= 125
    assert parse_close(payload)[0] == code
    assert parse_close(close_payload(code, "gone")) == (code, "gone")


def test_a_close_without_a_code_and_one_with_half_of_it() -> None:
    assert parse_close(b"") == (1005, "")
    with pytest.raises(FrameError) as caught:
        parse_close(b"\x03")
    assert caught.value.code == 1002


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"", b"\x01", b"\x01ab", b"\x02xyz", b"\x01" + b"L" * 200, b"\x01" + b"M" * 70_000]),
            st.integers(0, 2),
        ),
        max_size=12,
    ),
    st.integers(1, 400),
    st.integers(0, 300),
)
def test_a_run_is_what_reading_one_by_one_gives(messages: list[tuple[bytes, int]], cut: int, limit: int) -> None:
    stream = b"".join(frame(BINARY, message, form=form) for message, form in messages)
    reader, received = FrameReader(0), []
    for start in range(0, len(stream), cut if len(stream) < 5000 else 5000):
        reader.feed(stream[start : start + (cut if len(stream) < 5000 else 5000)])
        while True:
            run = reader.run(1, 0, limit)
            received += [b"\x01" + payload for payload in run]
            event = reader.next()
            if event is None:
                break
            received.append(bytes(event[1]))
    assert received == [message for message, _ in messages]


def test_a_run_ends_where_something_is_to_be_judged() -> None:
    plain = frame(BINARY, b"\x01a")
    for other in (
        frame(PING, b""),
        frame(BINARY, b"\x02a"),
        frame(BINARY, b""),
        frame(BINARY, b"\x01b", fin=False),
        b"\x82\x82mask\x01b",
        b"\xc2\x02\x01b",
        frame(BINARY, b"\x01" + b"x" * 99),
    ):
        reader = FrameReader(50)
        reader.feed(plain * 3 + other + plain)
        assert reader.run(1, 0, 1000) == [b"a"] * 3
        assert reader.run(1, 0, 1000) == []


def test_a_run_has_a_size() -> None:
    reader = FrameReader(0)
    reader.feed(frame(BINARY, b"\x01" + b"x" * 9) * 10)
    assert len(reader.run(1, 0, 20)) == 2
    assert len(reader.run(1, 0, 0)) == 0
    assert len(reader.run(1, 0, 10)) == 0  # each is as large as that by itself
    assert len(reader.run(1, 995, 1000)) == 1
    assert len(reader.run(1, 0, 1000)) == 7


def test_masks_in_c_and_in_python_are_the_same() -> None:
    for size in (0, 1, 3, 4, 5, 1000):
        payload, key = bytes(range(256)) * 4, b"\x01\x80\xfe\x37"
        for kind in (bytes, bytearray, memoryview):
            assert mask(kind(payload[:size]), key) == mask_in_python(payload[:size], key)
