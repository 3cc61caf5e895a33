"""The frames of the embedded cluster and of scripted peers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.testing.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    Frame,
    FrameReader,
    FrameTooLarge,
    close_payload,
    encode_frame,
    xor_mask,
)

_FRAMES = st.builds(Frame, st.integers(0, 15), st.binary(max_size=300), st.booleans(), st.integers(0, 7), st.booleans())


def _all(reader: FrameReader) -> list[Frame]:
    found = []
    while (frame := reader.next_frame()) is not None:
        found.append(frame)
    return found


def _encode(frame: Frame) -> bytes:
    return encode_frame(frame.opcode, frame.payload, fin=frame.fin, rsv=frame.rsv, masked=frame.masked)


@given(st.lists(_FRAMES, max_size=5), st.integers(1, 40))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(sent: list[Frame], step: int) -> None:
    data = b"".join(map(_encode, sent))
    reader, found = FrameReader(), []
    for start in range(0, len(data), step):
        reader.feed(data[start : start + step])
        found += _all(reader)
    assert found == sent
    assert reader.buffered == 0


@pytest.mark.parametrize(
    ("hex_bytes", "frame"),
    [
        ("820101", Frame(BINARY, b"\x01")),
        ("880203e8", Frame(CLOSE, close_payload(1000))),
        ("8104" + "30594d4b", Frame(1, b"0YMK")),
        ("0203" + "006162", Frame(BINARY, b"\x00ab", fin=False)),
        ("8003" + "006364", Frame(CONTINUATION, b"\x00cd")),
        # RFC 6455, 5.7: a masked "Hello".
        ("818537fa213d7f9f4d5158", Frame(1, b"Hello", masked=True)),
    ],
)
def test_known_bytes(hex_bytes: str, frame: Frame) -> None:
    reader = FrameReader()
    reader.feed(bytes.fromhex(hex_bytes))
    assert reader.next_frame() == frame
    assert reader.next_frame() is None
    if not frame.masked:
        assert _encode(frame).hex() == hex_bytes


@pytest.mark.parametrize(
    ("size", "head"), [(125, "827d"), (126, "827e007e"), (65535, "827effff"), (65536, "827f" + "0" * 11 + "10000")]
)
def test_the_length_is_written_in_its_shortest_form(size: int, head: str) -> None:
    data = encode_frame(BINARY, bytes(size))
    assert data[: len(data) - size].hex() == head
    reader = FrameReader()
    reader.feed(data)
    assert reader.next_frame() == Frame(BINARY, bytes(size))


def test_a_frame_over_the_limit_is_refused_at_its_header() -> None:
    reader = FrameReader(max_payload=1000)
    reader.feed(encode_frame(BINARY, bytes(1000)))
    assert reader.next_frame() is not None
    reader.feed(encode_frame(BINARY, bytes(1001))[:4])
    with pytest.raises(FrameTooLarge, match="1001"):
        reader.next_frame()


@given(st.binary(max_size=70), st.binary(min_size=4, max_size=4))
def test_masking_twice_is_nothing(payload: bytes, key: bytes) -> None:
    masked = xor_mask(payload, key)
    assert masked == bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    assert xor_mask(masked, key) == payload


@pytest.mark.parametrize(("opcode", "rsv"), [(16, 0), (-1, 0), (2, 8)])
def test_a_header_that_does_not_exist_is_a_value_error(opcode: int, rsv: int) -> None:
    with pytest.raises(ValueError, match="opcode from 0 to 15"):
        encode_frame(opcode, b"", rsv=rsv)
