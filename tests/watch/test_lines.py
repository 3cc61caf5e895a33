"""Lines from pieces: the same whatever the pieces, in linear time, and never without a limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.errors import ProtocolViolation
from kubex_stream.watch.lines import LineSplitter


@given(
    st.lists(st.binary(max_size=6).map(lambda line: line.replace(b"\n", b"x"))),
    st.integers(1, 7),
    st.binary(max_size=3),
)
def test_lines_do_not_depend_on_the_pieces(lines: list[bytes], size: int, rest: bytes) -> None:
    rest = rest.replace(b"\n", b"x")
    content = b"".join(line + b"\n" for line in lines) + rest
    splitter = LineSplitter()
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    assert [line for piece in pieces for line in splitter.feed(piece)] == lines
    assert splitter.unfinished == len(rest)


def test_a_line_of_many_pieces_is_joined_once() -> None:
    splitter = LineSplitter()
    piece = b"x" * 1024
    for _ in range(64 * 1024):  # 64 MiB; joining at every piece would copy a terabyte
        assert splitter.feed(piece) == []
    (line,) = splitter.feed(b"y\n")
    assert len(line) == 64 * 1024 * 1024 + 1


def test_a_line_without_an_end_has_a_limit() -> None:
    splitter = LineSplitter(longest=10)
    assert splitter.feed(b"0123456789") == []
    with pytest.raises(ProtocolViolation, match="more than 10 bytes"):
        splitter.feed(b"0")


def test_the_limit_is_for_a_line_not_for_all() -> None:
    splitter = LineSplitter(longest=10)
    for _ in range(10):
        splitter.feed(b"1234")
        assert splitter.feed(b"5678\n") == [b"12345678"]
