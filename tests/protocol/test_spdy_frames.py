"""Frames to bytes and bytes, in any pieces, to frames."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.protocol import spdy
from kubex_stream.protocol.spdy import (
    Broken,
    Data,
    Frame,
    GoAway,
    Headers,
    Ignored,
    Kind,
    Ping,
    RstStream,
    SynReply,
    SynStream,
)
from kubex_stream.protocol.spdy_decoder import FrameDecoder
from tests.protocol import wire

LIMIT = 65536
# The first frames of a connection in each direction, by another compressor than ours.
SYN_STREAM_1 = bytes.fromhex(
    "800300010000003c0000000100000000000078f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45a024cc64610024398b20919809"
    "4adc8c0600000000ffff"
)
SYN_STREAM_3 = bytes.fromhex("800300010000001800000003000000000000c2aa15540a2512d209000000ffff")
SYN_REPLY_1 = bytes.fromhex("80030002000000140000000178f9e3c6a7c202a6230600000000ffff")
SYN_REPLY_3 = bytes.fromhex("800300020000000c00000003020100000000ffff")
PAIR = ({"streamtype": "error", "port": "80", "requestid": "0"}, {"streamtype": "data", "port": "80", "requestid": "0"})


def decoded(pieces: Iterable[bytes | memoryview], limit: int = LIMIT) -> list[Frame]:
    """What a fresh decoder makes of the pieces; DATA that came in several is put together."""
    decoder, frames = FrameDecoder(limit), list[Frame]()
    for piece in pieces:
        for frame in decoder.feed(piece):
            last = frames[-1] if frames else None
            if isinstance(frame, Data) and isinstance(last, Data) and not last.fin:
                frames[-1] = Data(frame.stream_id, bytes(last.payload) + bytes(frame.payload), frame.fin)
            elif isinstance(frame, Data):
                frames.append(Data(frame.stream_id, bytes(frame.payload), frame.fin))
            else:
                frames.append(frame)
    return frames


def bytewise(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


def everything() -> tuple[bytes, list[Frame]]:
    """A frame of each type, as the bytes of one direction, and what they mean."""
    deflater = wire.Deflater()
    raw = [
        deflater.syn_stream(1, PAIR[0]),
        deflater.syn_stream(3, PAIR[1], wire.FIN),
        deflater.syn_stream(5, {}, 2),
        deflater.syn_reply(7),
        deflater.syn_reply(9, {"a": "b"}, wire.FIN),
        deflater.headers(1, {"more": "é"}),
        deflater.headers(1, {}, wire.FIN),
        wire.data(1, b"short"),
        wire.data(3),
        wire.data(2**31 - 1, b"x" * 70000, wire.FIN),
        wire.data(1, b"", wire.FIN),
        wire.frame(wire.RST, wire.words(3, 5)),
        wire.frame(wire.SETTINGS, wire.words(1, 0x01000004, 100), 1),
        wire.frame(wire.SETTINGS, wire.words(0)),
        wire.frame(wire.PING, wire.words(2**32 - 1)),
        wire.frame(wire.WINDOW_UPDATE, wire.words(1, 65536)),
        wire.frame(wire.GOAWAY, wire.words(7, 2)),
    ]
    return b"".join(raw), [
        SynStream(1, PAIR[0], False),
        SynStream(3, PAIR[1], True),
        SynStream(5, {}, False, True),
        SynReply(7, {}, False),
        SynReply(9, {"a": "b"}, True),
        Headers(1, {"more": "é"}, False),
        Headers(1, {}, True),
        Data(1, b"short", False),
        Data(3, b"", False),
        Data(2**31 - 1, b"x" * 70000, True),
        Data(1, b"", True),
        RstStream(3, 5),
        Ignored(Kind.SETTINGS),
        Ignored(Kind.SETTINGS),
        Ping(2**32 - 1),
        Ignored(Kind.WINDOW_UPDATE),
        GoAway(7, 2),
    ]


EVERYTHING, MEANING = everything()
# Neighbouring DATA frames would be put together by the helper, as those of one frame are.
MERGED = [*MEANING[:7], Data(2**31 - 1, b"short" + b"x" * 70000, True), *MEANING[10:]]


# Reading --------------------------------------------------------------------------------------------------------------


def test_every_frame_type_in_one_message() -> None:
    frames = FrameDecoder(LIMIT).feed(EVERYTHING)
    assert [f._replace(payload=bytes(f.payload)) if isinstance(f, Data) else f for f in frames] == MEANING


def test_every_frame_type_byte_by_byte() -> None:
    assert decoded(bytewise(EVERYTHING)) == MERGED


@given(st.lists(st.integers(1, 40), max_size=400))
def test_every_frame_type_in_any_pieces(sizes: list[int]) -> None:
    assert decoded(wire.cut(EVERYTHING, sizes)) == MERGED


@pytest.mark.parametrize("at", range(300))
def test_every_frame_type_cut_once(at: int) -> None:
    assert decoded([EVERYTHING[:at], EVERYTHING[at:]]) == MERGED


@pytest.mark.parametrize(
    ("raw", "frames"),
    [
        (SYN_STREAM_1 + SYN_STREAM_3, [SynStream(1, PAIR[0], False), SynStream(3, PAIR[1], False)]),
        (SYN_REPLY_1 + SYN_REPLY_3, [SynReply(1, {}, False), SynReply(3, {}, False)]),
        (bytes.fromhex("00000003000000026869"), [Data(3, b"hi", False)]),
        (bytes.fromhex("0000000301000000"), [Data(3, b"", True)]),
        (bytes.fromhex("80030003000000080000000300000005"), [RstStream(3, spdy.CANCEL)]),
        (bytes.fromhex("800300060000000400000001"), [Ping(1)]),
        (bytes.fromhex("80030007000000080000000000000000"), [GoAway(0, spdy.OK)]),
    ],
)
def test_frames_of_other_implementations(raw: bytes, frames: list[Frame]) -> None:
    assert decoded([raw]) == frames
    assert decoded(bytewise(raw)) == frames


def test_payload_is_handed_out_as_it_comes_and_the_end_only_with_its_last_byte() -> None:
    decoder = FrameDecoder(LIMIT)
    raw = wire.data(1, b"a" * 1000 + b"b" * 1000, wire.FIN)
    assert decoder.feed(raw[:8]) == []
    assert decoder.feed(raw[8:1008]) == [Data(1, b"a" * 1000, False)]
    assert decoder.feed(raw[1008:]) == [Data(1, b"b" * 1000, True)]


def test_a_large_payload_is_no_copy_and_a_small_one_keeps_no_message_alive() -> None:
    message = wire.data(1, b"x" * 32768) + wire.data(1, b"y")
    large, small = FrameDecoder(LIMIT).feed(message)
    assert isinstance(large, Data)
    assert isinstance(large.payload, memoryview)
    assert large.payload.obj is message
    assert small == Data(1, b"y", False)
    assert isinstance(small.payload, bytes)


@pytest.mark.parametrize("empty", [b"", memoryview(b"")])
def test_empty_messages_mean_nothing(empty: bytes | memoryview) -> None:
    decoder = FrameDecoder(LIMIT)
    head, rest = EVERYTHING[:13], EVERYTHING[13:]
    assert decoder.feed(empty) == []
    assert decoder.feed(head) == []
    assert decoder.feed(empty) == []
    assert len(decoder.feed(rest)) == len(MEANING)


def test_views_are_read_as_bytes_are() -> None:
    assert decoded([memoryview(EVERYTHING)]) == MERGED
    assert decoded(memoryview(EVERYTHING)[at : at + 3] for at in range(0, len(EVERYTHING), 3)) == MERGED


def test_reserved_bits_and_unknown_flags_are_passed_over() -> None:
    raw = wire.Deflater().syn_stream(0x80000001, {}, 0xFC) + wire.data(1, b"x", 0xFE)
    raw += wire.frame(wire.RST, wire.words(0x80000001, 5), 0xFF) + wire.frame(wire.GOAWAY, wire.words(2**31 + 1, 0))
    assert decoded([raw]) == [SynStream(1, {}, False), Data(1, b"x", False), RstStream(1, 5), GoAway(1, 0)]


BROKEN = {
    "DATA of stream 0": (wire.data(0, b"x"), "stream 0"),
    "empty DATA of stream 0": (wire.data(0), "stream 0"),
    "SYN_STREAM of stream 0": (wire.Deflater().syn_stream(0, {}), "stream 0"),
    "SYN_STREAM of the reserved bit": (wire.Deflater().syn_stream(2**31, {}), "stream 0"),
    "SYN_REPLY of stream 0": (wire.Deflater().syn_reply(0), "stream 0"),
    "HEADERS of stream 0": (wire.Deflater().headers(0, {}), "stream 0"),
    "RST_STREAM of stream 0": (wire.frame(wire.RST, wire.words(0, 5)), "stream 0"),
    "RST_STREAM without a status": (wire.frame(wire.RST, wire.words(1, 0)), "without a status"),
    "PING without an id": (wire.frame(wire.PING, wire.words(0)), "without an id"),
    "PING with flags": (wire.frame(wire.PING, wire.words(1), 1), "type 6 with flags"),
    "GOAWAY with flags": (wire.frame(wire.GOAWAY, wire.words(1, 0), 1), "type 7 with flags"),
    "WINDOW_UPDATE with flags": (wire.frame(wire.WINDOW_UPDATE, wire.words(1, 1), 1), "type 9 with flags"),
    "SPDY/2": (b"\x80\x02" + wire.frame(wire.PING, wire.words(1))[2:], "SPDY version 2"),
    "all bits": (b"\xff" * 8, "SPDY version 32767"),
    "SYN_STREAM with the headers of HTTP": (wire.Deflater().syn_stream(1, {"host": "x"}), "belongs to HTTP"),
    "SYN_REPLY with the headers of HTTP": (wire.Deflater().syn_reply(1, {"keep-alive": "x"}), "belongs to HTTP"),
    "capitals": (wire.Deflater().syn_stream(1, {"Port": "80"}), "capitals"),
    "a block that is none": (wire.frame(wire.SYN_REPLY, wire.words(1) + b"nonsense"), "does not inflate"),
    "no block": (wire.frame(wire.SYN_REPLY, wire.words(1)), "ends in the middle"),
    "SETTINGS of a wrong count": (wire.frame(wire.SETTINGS, wire.words(2, 1, 1)), "SETTINGS"),
    "SETTINGS of a huge count": (wire.frame(wire.SETTINGS, wire.words(2**32 - 1)), "SETTINGS"),
    **{f"type {kind}": (wire.frame(kind, bytes(8)), f"unknown type {kind}") for kind in (0, 5, 10, 65535)},
    **{
        f"type {kind} with {size} bytes": (wire.frame(kind, b"\1" * size), f"type {kind} with {size} bytes")
        for kind, sizes in (
            (1, (0, 9)),
            (2, (3,)),
            (3, (7, 9)),
            (4, (3,)),
            (6, (0, 5)),
            (7, (4, 9)),
            (8, (3,)),
            (9, (12,)),
        )
        for size in sizes
    },
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_told_once_behind_what_was_right(name: str) -> None:
    raw, reason = BROKEN[name]
    good, later = wire.data(1, b"good"), wire.data(1, b"later")
    for pieces in ([good + raw + later, later], bytewise(good + raw + later)):
        frames = decoded(pieces)
        assert frames[0] == Data(1, b"good", False)
        assert len(frames) == 2
        assert isinstance(frames[1], Broken)
        assert reason in str(frames[1].error)


def test_nothing_is_read_behind_goaway() -> None:
    goaway = wire.frame(wire.GOAWAY, wire.words(0, 0))
    assert decoded([goaway + wire.data(1, b"x"), wire.data(1, b"y"), b"\xff" * 8]) == [GoAway(0, 0)]


@pytest.mark.parametrize("kind", [wire.SYN_STREAM, wire.SYN_REPLY, wire.HEADERS, wire.SETTINGS])
def test_a_control_frame_is_refused_when_its_length_is_announced(kind: int) -> None:
    head = wire.frame(kind, bytes(2000))[:8]
    (frame,) = decoded([head], limit=1000)
    assert isinstance(frame, Broken)
    assert decoded([wire.frame(kind, bytes(1000))[:8]], limit=1000) == []


def test_frames_of_a_fixed_length_need_no_limit() -> None:
    raw = wire.frame(wire.RST, wire.words(1, 5)) + wire.frame(wire.PING, wire.words(1))
    assert decoded([raw], limit=1) == [RstStream(1, 5), Ping(1)]


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_garbage_never_raises(pieces: list[bytes]) -> None:
    whole, cut = decoded([b"".join(pieces)], limit=64), decoded(pieces, limit=64)
    assert sum(isinstance(frame, Broken) for frame in whole) <= 1
    assert [str(frame) for frame in whole] == [str(frame) for frame in cut]


@given(st.binary(max_size=40), st.sampled_from(range(12)), st.integers(0, 3))
def test_control_frames_of_garbage_never_raise(payload: bytes, kind: int, flags: int) -> None:
    raw = wire.frame(kind, payload, flags)
    frames = decoded([raw])
    assert len(frames) == 1
    assert [str(frame) for frame in decoded(bytewise(raw))] == [str(frame) for frame in frames]


def test_what_is_announced_takes_no_memory() -> None:
    decoders = [FrameDecoder(2**23) for _ in range(20)]
    tracemalloc.start()
    try:
        for decoder in decoders[:10]:
            decoder.feed(bytes.fromhex("00000001 01ffffff"))  # 16 MiB of DATA
            decoder.feed(b"x")
        for decoder in decoders[10:]:
            decoder.feed(bytes.fromhex("80030001 00400000"))  # 4 MiB of SYN_STREAM
            decoder.feed(b"x")
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


# Writing --------------------------------------------------------------------------------------------------------------


def test_what_is_written() -> None:
    assert spdy.data_header(3, 2) + b"hi" == bytes.fromhex("00000003000000026869")
    assert spdy.data_header(3, 0, fin=True) == bytes.fromhex("0000000301000000")
    assert spdy.encode_rst_stream(3, spdy.CANCEL) == bytes.fromhex("80030003000000080000000300000005")
    assert spdy.encode_ping(1) == bytes.fromhex("800300060000000400000001")
    assert spdy.encode_go_away(0) == bytes.fromhex("80030007000000080000000000000000")
    assert spdy.encode_syn_stream(1, b"BLOCK", fin=True) == wire.frame(1, wire.words(1, 0) + b"\0\0BLOCK", wire.FIN)
    assert spdy.encode_syn_stream(1, SYN_STREAM_1[18:]) == SYN_STREAM_1
    assert spdy.encode_syn_reply(3, SYN_REPLY_3[12:]) == SYN_REPLY_3
    assert spdy.encode_syn_reply(3, b"", fin=True) == wire.frame(2, wire.words(3), wire.FIN)


@pytest.mark.parametrize("stream_id", [0, -1, 2**31])
def test_ids_that_no_stream_has_are_not_written(stream_id: int) -> None:
    with pytest.raises(ValueError, match="cannot be the id of a stream"):
        spdy.data_header(stream_id, 0)
    with pytest.raises(ValueError, match="cannot be the id of a stream"):
        spdy.encode_syn_stream(stream_id, b"")
    with pytest.raises(ValueError, match="cannot be the id of a stream"):
        spdy.encode_syn_reply(stream_id, b"")
    with pytest.raises(ValueError, match="cannot be the id of a stream"):
        spdy.encode_rst_stream(stream_id, spdy.CANCEL)


def test_what_does_not_fit_is_not_written() -> None:
    assert spdy.data_header(1, spdy.MAX_DATA) == bytes.fromhex("0000000100ffffff")
    with pytest.raises(ValueError, match="16777216 bytes do not fit"):
        spdy.data_header(1, 2**24)
    with pytest.raises(ValueError, match="16777216 bytes do not fit"):
        spdy.control_frame(Kind.SETTINGS, bytes(2**24))
    with pytest.raises(ValueError, match="no status 0"):
        spdy.encode_rst_stream(1, 0)
