"""Detach keys: how they are written, and how they are found however the typing is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.terminal.keys import DetachKeys, parse_keys


@pytest.mark.parametrize(
    ("text", "sequence"),
    [
        ("ctrl-p,ctrl-q", b"\x10\x11"),
        ("CTRL-P,Ctrl-q", b"\x10\x11"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\x00\x1b\x1c\x1d\x1e\x1f"),
        ("a,Z, ,~", b"aZ ~"),
        ("ctrl-]", b"\x1d"),
        ("c,t,r,l,-,p", b"ctrl-p"),
    ],
)
def test_a_sequence_is_what_a_terminal_sends(text: str, sequence: bytes) -> None:
    assert parse_keys(text) == sequence


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "empty"),
        ("ctrl-p,,ctrl-q", "empty key"),
        ("ctrl-p,", "empty key"),
        ("ctrl-1", "'ctrl-1'"),
        ("ctrl-", "'ctrl-'"),
        ("a,ctrl-pq", "'ctrl-pq'"),
        ("^P,^Q", "'\\^P'"),
        ("é", "'é'"),
        ("\n", "is not a key"),
    ],
)
def test_what_is_no_key_is_named(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        parse_keys(text)
    assert "'ctrl-p,ctrl-q'" in str(caught.value), "it says how"


def test_bytes_are_no_sequence() -> None:
    with pytest.raises(TypeError, match="string"):
        parse_keys(b"\x10\x11")


def fed(keys: DetachKeys, pieces: list[bytes]) -> bytes:
    """What gets through."""
    return b"".join(keys.feed(piece) for piece in pieces)


TYPED = b"ls\r\x10x\x10\x10\x11"


@pytest.mark.parametrize("cut", range(len(TYPED) + 1))
def test_it_is_found_wherever_the_typing_is_cut(cut: int) -> None:
    keys = DetachKeys(b"\x10\x11")
    assert fed(keys, [TYPED[:cut], TYPED[cut:]]) == b"ls\r\x10x\x10"
    assert keys.found
    assert keys.rest() == b""


def test_what_may_become_it_waits_and_goes_once_it_cannot() -> None:
    keys = DetachKeys(b"abc")
    assert keys.feed(b"xab") == b"x"
    assert keys.feed(b"d") == b"abd"
    assert keys.feed(b"ab") == b""
    assert keys.rest() == b"ab"
    assert keys.rest() == b""
    assert not keys.found


def test_nothing_behind_it_is_taken() -> None:
    keys = DetachKeys(b"abc")
    assert keys.feed(b"1abc2") == b"1"
    assert keys.feed(b"345") == b""


@given(
    st.binary(min_size=1, max_size=5).map(lambda each: bytes(b"ab"[byte & 1] for byte in each)),
    st.lists(st.lists(st.sampled_from(b"ab")).map(bytes)),
)
def test_it_is_found_where_a_search_finds_it(sequence: bytes, pieces: list[bytes]) -> None:
    keys, whole = DetachKeys(sequence), b"".join(pieces)
    passed = fed(keys, pieces)
    before, found, _ = whole.partition(sequence)
    assert keys.found == bool(found)
    assert passed + keys.rest() == before
    if not found:
        # No more is held back than may still become it.
        held = len(whole) - len(passed)
        assert held == max(size for size in range(len(sequence)) if whole.endswith(sequence[:size]))
