"""Which part of a log is wanted, and what it is made into."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from kubex_stream.logs.line import LogLine, LogSource
from kubex_stream.logs.shapes import Limit, RawShaper, Shape, line_shaper
from kubex_stream.logs.wanted import Wanted

SOURCE = LogSource("default", "web-0", "app")
STAMP = b"2026-03-01T08:15:30.123456789Z"


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({}, []),
        ({"follow": True}, [("follow", "true")]),
        ({"previous": True}, [("previous", "true")]),
        ({"since": 90}, [("sinceSeconds", "90")]),
        ({"since": 0.2}, [("sinceSeconds", "1")]),
        ({"since": timedelta(minutes=2)}, [("sinceSeconds", "120")]),
        ({"since": datetime(2026, 3, 1, 8, tzinfo=UTC)}, [("sinceTime", "2026-03-01T08:00:00Z")]),
        (
            {"since": datetime(2026, 3, 1, 8, tzinfo=timezone(timedelta(hours=2)))},
            [("sinceTime", "2026-03-01T06:00:00Z")],
        ),
        ({"tail": 0}, [("tailLines", "0")]),
        ({"tail": 10, "limit_bytes": 5}, [("tailLines", "10")]),
    ],
)
def test_what_is_asked_for(given: dict[str, Any], query: list[tuple[str, str]]) -> None:
    assert Wanted(**given).query() == query


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"since": 0}, ValueError, "higher than zero"),
        ({"since": -1}, ValueError, "higher than zero"),
        ({"since": float("nan")}, ValueError, "higher than zero"),
        ({"since": timedelta(0)}, ValueError, "higher than zero"),
        ({"since": datetime(2026, 3, 1)}, ValueError, "no time zone"),
        ({"since": "1h"}, TypeError, "not str"),
        ({"since": True}, TypeError, "not bool"),
        ({"tail": -1}, ValueError, "at least 0"),
        ({"tail": 1.5}, TypeError, "whole number"),
        ({"tail": True}, TypeError, "whole number"),
        ({"limit_bytes": 0}, ValueError, "at least 1"),
        ({"limit_bytes": "1"}, TypeError, "whole number"),
        ({"follow": True, "previous": True}, ValueError, "nothing to follow"),
    ],
)
def test_what_makes_no_sense(given: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Wanted(**given)


def shape(**given: Any) -> Shape:
    """A shape, of bytes without times where nothing else is said."""
    return Shape(**({"lines": True, "timestamps": False, "encoding": None, "errors": "replace"} | given))


def test_a_line_knows_whose_it_is_and_when() -> None:
    [line] = line_shaper(shape())(SOURCE, [STAMP + b" text"], True)
    assert (line.data, line.pod, line.container, line.stamp) == (b"text", "web-0", "app", STAMP)
    assert line.timestamp == datetime(2026, 3, 1, 8, 15, 30, 123456, UTC)
    assert line.timestamp_ns % 1_000_000_000 == 123_456_789
    assert (str(line), bytes(line)) == ("text", b"text")


def test_a_time_of_few_digits_is_not_read_on_into_the_text() -> None:
    [line] = line_shaper(shape())(SOURCE, [b"2026-03-01T08:15:30.5Z 123456Z text"], True)
    assert (line.stamp, line.data) == (b"2026-03-01T08:15:30.5Z", b"123456Z text")


def test_times_stay_where_they_are_wanted() -> None:
    [line] = line_shaper(shape(timestamps=True, encoding="utf-8"))(SOURCE, [STAMP + b" text"], True)
    assert (line.data, line.stamp) == ("2026-03-01T08:15:30.123456789Z text", STAMP)


def test_lines_without_a_time_and_of_other_zones() -> None:
    zone = b"2026-03-01T08:15:30.123456789+02:00"
    lines = [b"the rest of a line", zone + b" text", b"looks like a time, and is no Z "]
    assert [(line.data, line.stamp) for line in line_shaper(shape())(SOURCE, lines, True)] == [
        (b"the rest of a line", b""),
        (b"text", zone),
        (b"looks like a time, and is no Z ", b""),
    ]


def test_the_last_line_may_have_no_end() -> None:
    lines = [STAMP + b" one", STAMP + b" two"]
    assert [line.complete for line in line_shaper(shape())(SOURCE, lines, False)] == [True, False]
    assert b"".join(RawShaper(shape(lines=False), stamped=True)(SOURCE, lines, False)) == b"one\ntwo"
    assert b"".join(RawShaper(shape(lines=False), stamped=True)(SOURCE, lines, True)) == b"one\ntwo\n"


def test_text_that_is_none() -> None:
    lines = [STAMP + b" good", STAMP + b" b\xffd", STAMP + b" good"]
    replaced = line_shaper(shape(encoding="utf-8"))(SOURCE, lines, True)
    assert [line.data for line in replaced] == ["good", "b\ufffdd", "good"]
    strict, seen = line_shaper(shape(encoding="utf-8", errors="strict"))(SOURCE, lines, True), list[LogLine[Any]]()
    seen.append(next(strict))
    with pytest.raises(UnicodeDecodeError, match="the log of web-0/app is not all utf-8: errors='replace'"):
        next(strict)
    assert [line.data for line in [*seen, *strict]] == ["good", "good"]


def test_a_character_that_is_cut_between_two_pieces_stays_one() -> None:
    make = RawShaper(shape(lines=False, encoding="utf-8", errors="strict"), stamped=False)
    data = "grün".encode()
    assert [*make(SOURCE, [data[:3]], False), *make(SOURCE, [data[3:]], False)] == ["gr", "ün"]


@pytest.mark.parametrize(
    ("given", "error"), [({"encoding": "none"}, LookupError), ({"encoding": "utf-8", "errors": "none"}, LookupError),
                         ({"encoding": "utf-16"}, ValueError)],
)  # fmt: skip
def test_encodings_that_cannot_be(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        shape(**given)


@pytest.mark.parametrize(
    ("size", "seen"), [(3, b"one"), (4, b"one\n"), (5, b"one\nt"), (7, b"one\ntwo"), (9, b"one\ntwo\n")]
)
def test_a_limit_counts_what_is_seen(size: int, seen: bytes) -> None:
    limit = Limit(size, shape())
    lines, cut, full = limit.cut(SOURCE, [STAMP + b" one", STAMP + b" two"])
    assert b"".join(RawShaper(shape(lines=False), stamped=True)(SOURCE, lines, not cut)) == seen
    assert full == (size <= 8)
    assert limit.cut(LogSource("default", "other", ""), [STAMP + b" x"])[0] == [STAMP + b" x"]
