"""Going on with a log in another answer: every line once, in order, whatever the times of the lines and wherever it was cut."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubex_stream.logs.lines import split_stamp, stamp_ns
from kubex_stream.logs.position import LogPosition
from kubex_stream.testing.logs import stamp

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def at(nanoseconds: int, text: bytes) -> bytes:
    """A line of that time after the start."""
    return stamp(START + nanoseconds) + b" " + text


def answer(log: list[bytes], since: str) -> list[bytes]:
    """What a server sends: it compares whole seconds, and keeps the log's order."""
    limit = int(datetime.fromisoformat(since).timestamp()) * SECOND
    return [line for line in log if stamp_ns(split_stamp(line)[0]) >= limit]


def take(position: LogPosition, lines: list[bytes], sizes: list[int]) -> tuple[list[bytes], str]:
    """What is new in an answer that comes in batches of these sizes; and whether it is the same log."""
    overlap, taken, place = position.overlap(), list[bytes](), 0
    for size in sizes:
        new = overlap.new(lines[place : place + size])
        place += size
        if new:
            position.advance(new)
            taken += new
    return taken, overlap.continuity


#: Steps between lines: mostly some, often none, and now and then a little backwards, as two outputs have it.
STEPS = st.lists(
    st.one_of(st.just(0), st.integers(1, SECOND // 2), st.integers(-1000, -1), st.integers(SECOND, 5 * SECOND)),
    min_size=1,
    max_size=40,
)
CONTENTS = st.sampled_from([b"a", b"b", b""])


@settings(max_examples=400, deadline=None)
@given(st.data(), STEPS)
def test_every_line_once_and_in_order(data: st.DataObject, steps: list[int]) -> None:
    log, now = list[bytes](), 0
    for step in steps:
        now += step
        log.append(at(now, data.draw(CONTENTS)))
    position, taken = LogPosition(), list[bytes]()
    for _ in range(100):
        lines = answer(log, position.since) if position.begun else log
        sizes = data.draw(st.lists(st.integers(1, 12), max_size=5))
        taken += take(position, lines, sizes)[0]
        if len(taken) >= len(log):
            break
        if not sizes:
            taken += take(position, lines, [len(lines)])[0]
    assert taken == log


@settings(max_examples=200, deadline=None)
@given(st.data(), STEPS, st.integers(0, 40))
def test_what_was_before_the_tail_stays_away(data: st.DataObject, steps: list[int], before: int) -> None:
    log, now = list[bytes](), 0
    for number, step in enumerate(steps):
        now += max(step, 0)
        log.append(at(now, b"%d" % number))
    tail = log[before:]
    position, first = LogPosition(), data.draw(st.integers(1, 10))
    taken = take(position, tail, [first])[0]
    if taken:
        taken += take(position, answer(log, position.since), [3] * 20)[0]
    assert taken == tail


def test_of_equal_lines_as_many_as_there_are() -> None:
    log = [at(5, b"same")] * 7
    position = LogPosition()
    assert take(position, log, [3])[0] == log[:3]
    assert take(position, answer(log, position.since), [1, 1, 1, 1, 1])[0] == log[:2]
    assert take(position, answer(log, position.since), [20])[0] == log[:2]


def test_a_clock_that_is_set_back_loses_nothing_and_repeats_nothing() -> None:
    log = [at(3600 * SECOND + number * SECOND, b"%d" % number) for number in range(10)]
    log += [at(number * SECOND, b"later %d" % number) for number in range(10)]
    position = LogPosition()
    taken = take(position, log, [13])[0]
    taken += take(position, answer(log, position.since), [1] * 15)[0]
    taken += take(position, answer(log, position.since), [40])[0]
    assert taken == log


def test_two_outputs_are_stamped_apart_around_a_full_second() -> None:
    log = [at(SECOND + 5, b"out"), at(SECOND - 5, b"err"), at(SECOND + 9, b"out")]
    position = LogPosition()
    assert take(position, log[:1], [1])[0] == log[:1]
    assert take(position, answer(log, position.since), [3])[0] == log[1:]


def test_a_rotated_log_is_told() -> None:
    log = [at(number * SECOND // 4, b"%d" % number) for number in range(20)]
    position = LogPosition()
    take(position, log, [10])
    assert take(position, answer(log[12:], position.since), [8]) == (log[12:], "broken")
    assert take(position, answer(log[16:], position.since), [8]) == ([], "whole")
    assert take(position, [], [8]) == ([], "open")


def test_the_rest_of_a_long_line_is_not_taken_for_a_line() -> None:
    log = [at(0, b"long"), at(2 * SECOND, b"next")]
    position = LogPosition()
    take(position, log, [2])
    more = at(3 * SECOND, b"last")
    assert take(position, [b"of a long line", log[1], more], [3]) == ([more], "whole")


def test_memory_does_not_grow_with_the_log() -> None:
    position = LogPosition()
    for second in range(1000):
        position.advance([at(second * SECOND + number, b"line") for number in range(10)])
    assert sum(len(hashes) for _, hashes in position._recent) <= 50


@pytest.mark.parametrize("zone", [b"+02:00", b"-07:00"])
def test_nodes_in_other_zones(zone: bytes) -> None:
    position = LogPosition()
    position.advance([b"2026-03-01T08:15:30.5" + zone + b" text"])
    shift = {b"+02:00": "06:15:29", b"-07:00": "15:15:29"}[zone]
    assert position.since == f"2026-03-01T{shift}Z"
