"""Lines and their times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.core.lines import LineSplitter
from kubex_stream.logs.lines import split_stamp, stamp_ns, stamp_time


@given(
    st.binary(max_size=200).map(lambda data: data.replace(b"\x01", b"\n")), st.lists(st.integers(0, 200), max_size=20)
)
def test_lines_are_the_same_however_the_bytes_come(data: bytes, cuts: list[int]) -> None:
    splitter, lines, place = LineSplitter(), list[bytes](), 0
    for cut in [*sorted(cuts), len(data)]:
        lines += splitter.feed(data[place:cut])
        place = max(place, cut)
    assert [*lines, splitter.rest()] == data.split(b"\n")


def test_the_rest_is_given_once() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"no end") == []
    assert splitter.rest() == b"no end"
    assert splitter.rest() == b""


def test_a_line_of_many_pieces_takes_linear_time() -> None:
    splitter, piece = LineSplitter(), b"x" * 1024
    for _ in range(64 * 1024):
        assert splitter.feed(piece) == []
    assert splitter.feed(b"\n") == [b"x" * (64 * 1024 * 1024)]


@pytest.mark.parametrize(
    ("stamp", "nanoseconds"),
    [
        (b"1970-01-01T00:00:01.000000002Z", 1_000_000_002),
        (b"1970-01-01T02:00:00.5+02:00", 500_000_000),
        (b"1969-12-31T19:00:00.000000001-05:00", 1),
        (b"2026-11-21T15:55:48Z", 1_795_276_548_000_000_000),
        (b"2026-11-21T21:25:48.353147230+05:30", 1_795_276_548_353_147_230),
    ],
)
def test_times_in_any_zone(stamp: bytes, nanoseconds: int) -> None:
    assert split_stamp(stamp + b" some text") == (stamp, b"some text")
    assert split_stamp(stamp + b" ") == (stamp, b"")
    assert stamp_ns(stamp) == nanoseconds
    moment = stamp_time(stamp)
    assert moment is not None
    assert moment - datetime(1970, 1, 1, tzinfo=UTC) == timedelta(microseconds=nanoseconds // 1000)


def test_a_time_keeps_its_zone() -> None:
    moment = stamp_time(b"2026-11-21T21:25:48.353147230+05:30")
    assert moment == datetime(2026, 11, 21, 21, 25, 48, 353147, timezone(timedelta(hours=5, minutes=30)))
    assert moment.utcoffset() == timedelta(hours=5, minutes=30)


@pytest.mark.parametrize("line", [b"", b"text", b"2026-11-21 15:55:48 text", b"2026-11-21T15:55:48Z", b"\xff\xfe Z "])
def test_lines_without_a_time(line: bytes) -> None:
    assert split_stamp(line) == (b"", line)
    assert stamp_ns(b"") == 0
    assert stamp_time(b"") is None
