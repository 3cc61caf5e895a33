"""What has come and was not taken: text, lines, and the order of all."""

from __future__ import annotations

import threading
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.compat.kubernetes.inbox import LIMIT, End, Inbox
from kubex_stream.compat.kubernetes.pieces import binary_pieces, text_pieces


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@given(st.text(alphabet="aé€😀\n", max_size=60), st.lists(st.integers(0, 200), max_size=12))
def test_text_is_the_same_however_it_is_cut(text: str, places: list[int]) -> None:
    pieces = text_pieces()
    for number, part in enumerate(cut(text.encode(), places)):
        pieces.put(part, number)
    pieces.put(b"", 99, last=True)
    assert pieces.size == len(text)
    assert pieces.peek() == text
    assert pieces.take() == text
    assert (pieces.size, pieces.peek()) == (0, "")


@given(
    st.text(alphabet="ab\n", max_size=60),
    st.lists(st.integers(0, 200), max_size=12),
    st.lists(st.sampled_from(["line", "peek"]), max_size=30),
)
def test_lines_are_those_of_the_whole(text: str, places: list[int], steps: list[str]) -> None:
    pieces, lines, given_out = binary_pieces(), [], iter(steps)
    for number, part in enumerate(cut(text.encode(), places)):
        pieces.put(part, number)
        while next(given_out, "peek") == "line" and (line := pieces.line()) is not None:
            lines.append(line)
        assert pieces.size == len(pieces.peek())
    while (line := pieces.line()) is not None:
        lines.append(line)
    assert [*lines, pieces.take()] == text.encode().split(b"\n")


def test_a_character_that_never_comes_to_its_end() -> None:
    pieces = text_pieces()
    pieces.put("é".encode()[:1], 1)
    assert pieces.size == 0
    pieces.put(b"", 2, last=True)
    assert pieces.take() == "\ufffd"


def test_everything_is_in_the_order_in_which_it_came() -> None:
    inbox = Inbox({1: binary_pieces(), 2: binary_pieces()})
    for channel, data in ((1, b"a"), (2, b"b"), (2, b"c"), (1, b"d")):
        inbox.put(channel, data)
    assert inbox.take_all() == [b"a", b"b", b"c", b"d"]
    assert inbox.unread == 0


def test_it_is_full_for_who_does_nothing_and_flows_for_who_waits() -> None:
    inbox = Inbox({1: binary_pieces()})
    resumed = threading.Event()
    inbox.resume = resumed.set
    assert inbox.put(1, b"x" * (LIMIT - 1))
    assert not inbox.put(1, b"x")
    assert not inbox.wanted()
    with inbox.flowing():
        assert resumed.is_set()
        assert inbox.put(1, b"x" * LIMIT)
    assert inbox.put(1, b"x" * (LIMIT - 1))
    assert not inbox.put(1, b"x")
    resumed.clear()
    assert not inbox.wait(lambda: False, 0)  # a look lets as much come again
    assert resumed.is_set()
    assert inbox.put(1, b"x")


def test_only_the_first_end_counts() -> None:
    inbox = Inbox({1: text_pieces()})
    inbox.finish(End(code=3))
    inbox.finish(End())
    assert inbox.end == End(code=3)
    assert not inbox.wait(lambda: False, None)
