"""The channel table, row by row: what each subprotocol puts on the wire, and what it makes of what comes."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kubex_stream.protocol.channels import (
    CLOSE_CHANNEL,
    ERROR_CHANNEL,
    MAX_SERVER_PAYLOAD,
    PROTOCOLS,
    RESIZE_CHANNEL,
    STDERR_CHANNEL,
    STDIN_CHANNEL,
    STDOUT_CHANNEL,
    V1,
    V1_BASE64,
    V4,
    V4_BASE64,
    V5,
    ChannelProtocol,
    encode_resize,
)

UNNAMED = PROTOCOLS[""]
BINARY = [V5, V4, V1, UNNAMED]
TEXT = [V4_BASE64, V1_BASE64]
rows = st.sampled_from([*BINARY, *TEXT])


def named(row: ChannelProtocol) -> str:
    return row.name or "unnamed"


def test_channel_numbers_are_those_of_every_server() -> None:
    numbers = (STDIN_CHANNEL, STDOUT_CHANNEL, STDERR_CHANNEL, ERROR_CHANNEL, RESIZE_CHANNEL, CLOSE_CHANNEL)
    assert numbers == (0, 1, 2, 3, 4, 255)


def test_the_largest_payload_is_that_of_the_servers_library() -> None:
    assert MAX_SERVER_PAYLOAD == 33_554_432


@pytest.mark.parametrize(
    ("name", "half_close", "json_status", "is_base64"),
    [
        ("v5.channel.k8s.io", True, True, False),
        ("v4.channel.k8s.io", False, True, False),
        ("v4.base64.channel.k8s.io", False, True, True),
        ("channel.k8s.io", False, False, False),
        ("base64.channel.k8s.io", False, False, True),
        ("", False, False, False),
    ],
)
def test_each_row_of_the_table(name: str, half_close: bool, json_status: bool, is_base64: bool) -> None:
    row = PROTOCOLS[name]
    assert (row.name, row.half_close, row.json_status, row.base64) == (name, half_close, json_status, is_base64)


def test_the_table_has_no_other_rows() -> None:
    assert set(PROTOCOLS) == {row.name for row in (V5, V4, V4_BASE64, V1, V1_BASE64)} | {""}


@pytest.mark.parametrize("name", ["v2.channel.k8s.io", "v3.channel.k8s.io", "V5.channel.k8s.io", "v5.channel.k8s.io "])
def test_names_of_spdy_protocols_and_other_spellings_are_unknown(name: str) -> None:
    assert name not in PROTOCOLS


@pytest.mark.parametrize("row", BINARY, ids=named)
@pytest.mark.parametrize(
    ("channel", "payload", "wire"),
    [
        (0, "", "00"),
        (0, "61 62 63", "00 61 62 63"),
        (1, "68 65 6c 6c 6f 0a", "01 68 65 6c 6c 6f 0a"),
        (2, "65 72 72 0a", "02 65 72 72 0a"),
        (3, "7b 7d", "03 7b 7d"),
        (4, "7b 7d 0a", "04 7b 7d 0a"),
        (0, "00 ff 80", "00 00 ff 80"),
        (255, "00", "ff 00"),
    ],
)
def test_binary_rows_on_the_wire(row: ChannelProtocol, channel: int, payload: str, wire: str) -> None:
    assert row.encode(channel, bytes.fromhex(payload)) == bytes.fromhex(wire)
    assert row.decode(bytes.fromhex(wire)) == (channel, bytes.fromhex(payload))


@pytest.mark.parametrize("row", TEXT, ids=named)
@pytest.mark.parametrize(
    ("channel", "payload", "wire"),
    [
        (1, b"", b"1"),
        (0, b"abc", b"0YWJj"),
        (0, b"def", b"0ZGVm"),
        (1, b"hello\n", b"1aGVsbG8K"),
        (2, b"a", b"2YQ=="),
        (3, b"ab", b"3YWI="),
        (1, b"\xfb\xff\xfe", b"1+//+"),
        (9, b"\x00", b"9AA=="),
    ],
)
def test_base64_rows_on_the_wire(row: ChannelProtocol, channel: int, payload: bytes, wire: bytes) -> None:
    assert row.encode(channel, payload) == wire
    assert row.decode(wire) == (channel, payload)


@pytest.mark.parametrize("row", TEXT, ids=named)
@pytest.mark.parametrize(
    "message",
    [
        b"0!!!!",
        b"0YWJ",
        b"0YQ",
        b"0=",
        b"0YQ==YQ==",
        b"0YWJj=",
        b"0YWJj==",
        b"0YWJj====",
        b"0Y WJj",
        b"0-_-_",
        b"0\xff\xfe",
    ],
    ids=repr,
)
def test_invalid_base64_is_dropped(row: ChannelProtocol, message: bytes) -> None:
    assert row.decode(message) is None


@pytest.mark.parametrize("row", TEXT, ids=named)
@pytest.mark.parametrize("message", [b"xYWJj", b"\x00YWJj", b"/YWJj", b":YWJj", "٣YWJj".encode()], ids=repr)
def test_a_base64_message_without_a_digit_is_dropped(row: ChannelProtocol, message: bytes) -> None:
    assert row.decode(message) is None


@pytest.mark.parametrize("row", [*BINARY, *TEXT], ids=named)
def test_an_empty_message_says_nothing(row: ChannelProtocol) -> None:
    assert row.decode(b"") is None


@pytest.mark.parametrize("row", [*BINARY, *TEXT], ids=named)
@pytest.mark.parametrize("channel", [-1, 256, 1000])
def test_no_such_channel(row: ChannelProtocol, channel: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 255"):
        row.encode(channel, b"x")


@pytest.mark.parametrize("row", TEXT, ids=named)
def test_base64_has_one_digit_for_the_channel(row: ChannelProtocol) -> None:
    with pytest.raises(ValueError, match="one digit"):
        row.encode(10, b"x")


def test_close_is_two_bytes_and_only_v5_has_it() -> None:
    assert V5.encode_close(STDIN_CHANNEL) == bytes.fromhex("ff 00")
    assert V5.encode_close(STDERR_CHANNEL) == bytes.fromhex("ff 02")
    for row in (V4, V4_BASE64, V1, V1_BASE64):
        with pytest.raises(ValueError, match=row.name):
            row.encode_close(STDIN_CHANNEL)
    with pytest.raises(ValueError, match="without subprotocol cannot half-close"):
        UNNAMED.encode_close(STDIN_CHANNEL)


def test_resize_is_the_json_that_kubectl_sends() -> None:
    assert encode_resize(width=100, height=40) == b'{"Width":100,"Height":40}\n'
    assert encode_resize(width=1, height=65535) == b'{"Width":1,"Height":65535}\n'


@pytest.mark.parametrize("size", [0, -1, 65536, True, 80.0, "80", None])
@pytest.mark.parametrize("name", ["width", "height"])
def test_a_size_that_no_terminal_has_is_named(name: str, size: object) -> None:
    sizes: dict[str, object] = {"width": 80, "height": 24, name: size}
    with pytest.raises(ValueError, match=f"^{name} must be an integer from 1 to 65535"):
        encode_resize(**sizes)  # type: ignore[arg-type]  # wrong on purpose


@given(width=st.integers(1, 65535), height=st.integers(1, 65535))
def test_every_size_is_one_json_object_and_a_line_feed(width: int, height: int) -> None:
    payload = encode_resize(width=width, height=height)
    assert payload.endswith(b"}\n")
    assert json.loads(payload) == {"Width": width, "Height": height}


@given(row=rows, channel=st.integers(0, 255), payload=st.binary(max_size=2000))
def test_what_is_encoded_is_decoded(row: ChannelProtocol, channel: int, payload: bytes) -> None:
    assume(channel <= 9 or not row.base64)
    message = row.encode(channel, payload)
    assert row.decode(message) == (channel, payload)
    assert row.encode(channel, bytearray(payload)) == row.encode(channel, memoryview(payload)) == message


@given(row=rows, message=st.binary(max_size=200))
def test_decoding_never_raises_and_invents_nothing(row: ChannelProtocol, message: bytes) -> None:
    decoded = row.decode(message)
    if decoded is None:
        assert row.base64 or not message
    elif not row.base64:
        assert bytes((decoded[0],)) + decoded[1] == message
    else:
        assert 0 <= decoded[0] <= 9
        # Bits that padding leaves over may differ; everything else is canonical.
        assert base64.b64decode(row.encode(*decoded)[1:]) == base64.b64decode(message[1:])


@given(row=st.sampled_from(TEXT), digit=st.integers(0, 9), rest=st.text("ABCab+/=9", max_size=12))
def test_near_base64_is_decoded_or_dropped(row: ChannelProtocol, digit: int, rest: str) -> None:
    message = f"{digit}{rest}".encode()
    decoded = row.decode(message)
    if decoded is not None:
        assert decoded[0] == digit
        assert len(row.encode(*decoded)) == len(message)
