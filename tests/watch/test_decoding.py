"""Events from lines, and errors from events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.errors import ApiError, Forbidden, Gone, TooManyRequests
from kubex_stream.watch.decoding import decode, encode, error_of, metadata_of
from kubex_stream.watch.documents import parse

KEYS = ["kind", "rows", "object", "metadata", "resourceVersion", "annotations", "code", "reason", "message", "details"]
TABLE = {"kind": "Table", "rows": [{"cells": ["a"], "object": {"metadata": {"name": "a", "resourceVersion": "7"}}}]}


def test_an_event() -> None:
    item = {"kind": "Pod", "metadata": {"name": "ünïcode", "resourceVersion": "5"}}
    event = decode(json.dumps({"type": "ADDED", "object": item}, ensure_ascii=False).encode())
    assert (event.type, event.object) == ("ADDED", item)
    assert event.version == "5"
    assert not event.ends_initial_state


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"{}",
        b'{"type":"ADDED"}',
        b'{"type":5,"object":{}}',
        b'{"type":"A","object":[]}',
        b"\xff{}",
    ],
)
def test_what_is_no_event(line: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(line)


def test_nesting_without_end_is_no_crash() -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(b"[" * 1_000_000)


def test_lone_surrogates_are_accepted_by_either_parser() -> None:
    assert parse(b'"\\ud800"') == "\ud800"


@given(
    st.dictionaries(
        st.text(st.characters()),  # lone surrogates too
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**64 - 1)
            | st.floats(allow_nan=False)
            | st.text(st.characters()),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=10,
        ),
    )
)
def test_an_event_is_read_again_from_its_line(item: dict[str, Any]) -> None:
    event = encode("ADDED", item)
    assert decode(event.line) == event
    assert b"\n" not in event.line


def test_what_no_line_can_say() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        encode("ADDED", {"deep": deep})


@pytest.mark.parametrize("version", [None, 5, ["5"]])
def test_an_odd_version_is_none(version: Any) -> None:
    assert encode("ADDED", {"metadata": {"resourceVersion": version}}).version == ""


def test_the_bookmark_behind_the_initial_state() -> None:
    metadata = {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}}
    assert encode("BOOKMARK", {"metadata": metadata}).ends_initial_state
    assert not encode("ADDED", {"metadata": metadata}).ends_initial_state
    assert not encode("BOOKMARK", {"metadata": {"resourceVersion": "9"}}).ends_initial_state


def test_a_table_has_the_metadata_of_its_row() -> None:
    assert metadata_of(TABLE)["name"] == "a"
    assert encode("ADDED", TABLE).version == "7"
    empty = {"kind": "Table", "metadata": {"resourceVersion": "8"}, "rows": None}
    assert encode("BOOKMARK", empty).version == "8"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ({"code": 410, "reason": "Expired", "message": "too old resource version: 1 (9)"}, Gone, 410),
        ({"code": 403, "reason": "Forbidden"}, Forbidden, 403),
        ({"code": 429, "details": {"retryAfterSeconds": 3}}, TooManyRequests, 429),
        ({"code": 504}, ApiError, 504),
        ({"reason": "Expired"}, Gone, 410),
        ({"code": 500, "reason": "Gone"}, Gone, 410),
        ({}, ApiError, 500),
        ({"code": "odd"}, ApiError, 500),
        ({"code": 200}, ApiError, 500),
    ],
)
def test_errors(status: dict[str, Any], kind: type[ApiError], code: int) -> None:
    error = error_of({"kind": "Status", "status": "Failure", **status}, "/api/v1/pods")
    assert type(error) is kind
    assert error.status_code == code
    assert "GET /api/v1/pods" in str(error)
    assert str(status.get("message", "")) in str(error)
    assert error.retry_after == (3 if code == 429 else None)


JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["", "Table", "5"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(["ADDED", "BOOKMARK", "ERROR"]), st.dictionaries(st.sampled_from(KEYS), JSON))
def test_whatever_an_object_looks_like_it_is_read(kind: str, item: dict[str, Any]) -> None:
    event = decode(json.dumps({"type": kind, "object": item}).encode())
    assert isinstance(event.version, str)
    assert event.ends_initial_state in (True, False)
    assert error_of(event.object, "/api/v1/pods").status_code >= 400
