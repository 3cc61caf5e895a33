"""Header blocks: one compressed stream a direction, and what a peer may not do with it."""

from __future__ import annotations

import hashlib
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.protocol.spdy_headers import DICTIONARY, HeaderCompressor, HeaderDecompressor, SpdyError
from tests.protocol import wire

LIMIT = 65536
names = st.text(
    st.characters(codec="ascii", exclude_categories=["Lu"], exclude_characters="\0"), min_size=1, max_size=20
)
values = st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=40)
forbidden = {"connection", "host", "keep-alive", "proxy-connection", "transfer-encoding"}
headers = st.dictionaries(names.filter(lambda name: name not in forbidden), values, max_size=8)


def block(raw: bytes) -> bytes:
    """The first block of a connection, from the bytes before compression."""
    return wire.Deflater().block(raw)


def decompressed(raw: bytes, limit: int = LIMIT) -> dict[str, str]:
    return HeaderDecompressor(limit).decompress(block(raw))


def test_the_dictionary_is_that_of_the_draft() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2
    assert hashlib.sha256(DICTIONARY).hexdigest() == "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"


# Sending --------------------------------------------------------------------------------------------------------------


@given(st.lists(headers, max_size=6))
def test_what_is_sent_is_one_zlib_stream_with_an_end_behind_every_block(sent: list[dict[str, str]]) -> None:
    compressor, inflate = HeaderCompressor(), zlib.decompressobj(zdict=DICTIONARY)
    for number, one in enumerate(sent):
        compressed = compressor.compress(one)
        assert compressed.startswith(bytes.fromhex("78f9e3c6a7c2")) == (number == 0)
        assert compressed.endswith(bytes.fromhex("0000ffff"))
        assert inflate.decompress(compressed) == wire.plain_block(list(one.items()))


def test_a_block_builds_on_those_before() -> None:
    compressor, headers = HeaderCompressor(), {"streamtype": "data", "port": "8080", "requestid": "3141592653"}
    assert 2 * len(compressor.compress(headers)[6:]) > 3 * len(compressor.compress(headers))


@given(st.lists(headers, max_size=6))
def test_both_ends_agree(sent: list[dict[str, str]]) -> None:
    compressor, decompressor = HeaderCompressor(), HeaderDecompressor(LIMIT)
    assert [decompressor.decompress(compressor.compress(one)) for one in sent] == sent


REFUSED = [
    ({"Port": "80"}, "'Port' cannot be the name"),
    ({"": "80"}, "'' cannot be the name"),
    ({"host": "x"}, "'host' cannot be the name"),
    ({"transfer-encoding": "x"}, "'transfer-encoding' cannot be the name"),
    ({"é": "x"}, "ascii"),
    ({"a": "€"}, "latin-1"),
    ({"a": "x\0y"}, "holds a NUL"),
    ({"a\0": "x"}, "holds a NUL"),
    ({str(number): "" for number in range(257)}, "257 headers are too many"),
    ({"a": "x" * LIMIT}, "65549 bytes are too large"),
]


@pytest.mark.parametrize(("bad", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_peers_refuse_is_not_sent_and_harms_no_later_block(bad: dict[str, str], reason: str) -> None:
    compressor, decompressor = HeaderCompressor(), HeaderDecompressor(LIMIT)
    assert decompressor.decompress(compressor.compress({"port": "80"})) == {"port": "80"}
    with pytest.raises(ValueError, match=reason):
        compressor.compress(bad)
    assert decompressor.decompress(compressor.compress({"port": "81"})) == {"port": "81"}


def test_the_most_that_is_sent_is_read() -> None:
    for most in ({"a": "x" * (LIMIT - 13)}, {str(number): "" for number in range(256)}):
        assert HeaderDecompressor(LIMIT).decompress(HeaderCompressor().compress(most)) == most


# Receiving ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_any_compressor_is_read(level: int) -> None:
    deflater, decompressor = wire.Deflater(level), HeaderDecompressor(LIMIT)
    for port in ("80", "80", "8080"):
        assert decompressor.decompress(deflater.block(wire.plain_block([("port", port)]))) == {"port": port}


def test_a_block_that_was_left_out_makes_the_next_one_unreadable() -> None:
    deflater, one = wire.Deflater(), [("streamtype", "error"), ("requestid", "314159")]
    deflater.block(wire.plain_block(one))
    with pytest.raises(SpdyError, match="does not inflate"):
        HeaderDecompressor(LIMIT).decompress(deflater.block(wire.plain_block(one)))


def test_the_first_of_several_values_counts() -> None:
    raw = wire.plain_block([("port", "80"), ("a", "1\0" + "2"), ("port", "81")])
    assert decompressed(raw) == {"port": "80", "a": "1"}


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "ends in the middle"),
        (b"\0\0\0", "ends in the middle"),
        (wire.words(1), "ends in the middle"),
        (wire.words(1, 1) + b"a", "ends in the middle"),
        (wire.words(1, 1) + b"a" + wire.words(2) + b"x", "ends in the middle"),
        (wire.words(1, 2**32 - 1) + b"a", "ends in the middle"),
        (wire.words(1, 2**31) + b"a", "ends in the middle"),
        (wire.words(2**32 - 1), "4294967295 headers"),
        (wire.plain_block([(str(number), "") for number in range(257)]), "257 headers"),
        (wire.plain_block([("a", "b")]) + b"\0", "something behind"),
        (wire.words(0, 0), "something behind"),
        (wire.plain_block([("", "b")]), "without a name"),
        (wire.plain_block([("a", "b"), ("Port", "80")]), "with capitals"),
        (wire.plain_block([("\xc9", "80")]), "with capitals"),
        (wire.plain_block([("connection", "upgrade")]), "belongs to HTTP"),
        (wire.plain_block([("keep-alive", "")]), "belongs to HTTP"),
        (wire.plain_block([("proxy-connection", "")]), "belongs to HTTP"),
        (wire.plain_block([("transfer-encoding", "")]), "belongs to HTTP"),
    ],
)
def test_what_is_no_block(raw: bytes, reason: str) -> None:
    with pytest.raises(SpdyError, match=reason):
        decompressed(raw)


@pytest.mark.parametrize(
    ("compressed", "reason"),
    [
        (b"", "ends in the middle"),
        (b"nonsense", "does not inflate"),
        (b"\x78\xf9\0\0\0\0", "does not inflate"),
        (block(wire.words(0))[:6] + b"\xff" * 8, "does not inflate"),
        (block(wire.plain_block([("a", "b")]))[:-9], "ends in the middle"),
        (zlib.compress(wire.words(0)), "ends the compressed stream"),
    ],
)
def test_what_is_no_zlib_stream(compressed: bytes, reason: str) -> None:
    with pytest.raises(SpdyError, match=reason):
        HeaderDecompressor(LIMIT).decompress(compressed)


def test_the_limit_is_exact_and_of_each_block() -> None:
    deflater, decompressor = wire.Deflater(), HeaderDecompressor(1000)
    for _ in range(5):
        assert decompressor.decompress(deflater.block(wire.plain_block([("a", "x" * 987)]))) == {"a": "x" * 987}
    with pytest.raises(SpdyError, match="more than 1000 bytes"):
        decompressor.decompress(deflater.block(wire.plain_block([("a", "x" * 988)])))


@pytest.mark.parametrize("raw", [bytes(2**26), wire.words(1, 1) + b"a" + wire.words(2**26) + bytes(2**26)])
def test_a_bomb_is_not_inflated(raw: bytes) -> None:
    bomb, decompressor = block(raw), HeaderDecompressor(LIMIT)
    assert len(bomb) < 2**17
    tracemalloc.start()
    try:
        with pytest.raises(SpdyError, match="more than 65536 bytes"):
            decompressor.decompress(bomb)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_bomb_of_headers_is_not_taken_apart() -> None:
    bomb, decompressor = block(wire.plain_block([("a", "")] * 7000)), HeaderDecompressor(LIMIT)
    tracemalloc.start()
    try:
        with pytest.raises(SpdyError, match="7000 headers"):
            decompressor.decompress(bomb)
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_but_raises_nothing_else(raw: bytes) -> None:
    for compressed in (block(raw), raw):
        try:
            found = HeaderDecompressor(LIMIT).decompress(compressed)
        except SpdyError:
            continue
        assert compressed is not raw or raw.startswith(b"\x78")
        assert len(wire.plain_block(list(found.items()))) <= LIMIT
