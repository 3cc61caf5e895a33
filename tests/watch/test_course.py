"""The course of a watch: what it asks for, where it goes on from, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.watch.course import Course, Notice, Told
from kubex_stream.watch.decoding import RawEvent, encode
from kubex_stream.watch.known import Change


def item(name: str, version: int, uid: str = "u", **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n", "uid": uid, "resourceVersion": str(version)}, **more}


def page(version: int, *items: dict[str, Any], more: str = "") -> dict[str, Any]:
    return {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": str(version), "continue": more},
        "items": list(items),
    }


def bookmark(version: int, *, end: bool = False) -> RawEvent:
    annotations = {"k8s.io/initial-events-end": "true"} if end else {}
    return encode("BOOKMARK", {"metadata": {"resourceVersion": str(version), "annotations": annotations}})


def brief(told: Any) -> list[str]:
    def one(each: Told) -> str:
        if isinstance(each, Notice):
            return f"{each.kind} {each.version}"
        return f"{each.type} {each.object['metadata']['name']}{' initial' * each.initial}{' relisted' * each.relisted}"

    return [one(each) for each in told]


def asked(course: Course) -> dict[str, str]:
    ask = course.ask()
    query = dict(ask.query)
    assert ask.watch == ("watch" in query)
    return query


WATCH = {"watch": "1", "allowWatchBookmarks": "true"}


def test_a_given_version_is_where_it_begins_and_too_old_is_for_the_caller() -> None:
    course = Course("7")
    assert asked(course) == {**WATCH, "resourceVersion": "7"}
    assert course.synced
    assert brief(course.take(encode("MODIFIED", item("a", 9)))) == ["MODIFIED a"]
    assert asked(course)["resourceVersion"] == "9"
    assert not course.expired()


def test_a_streamed_state() -> None:
    course = Course()
    assert asked(course) == {**WATCH, "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    # In any order, so their versions say nothing.
    assert brief(course.take(encode("ADDED", item("b", 90)))) == ["ADDED b initial"]
    assert brief(course.take(encode("ADDED", item("a", 3)))) == ["ADDED a initial"]
    assert (course.version, course.synced) == ("", False)
    assert brief(course.take(bookmark(100, end=True))) == ["synced 100"]
    assert (course.version, course.synced) == ("100", True)
    assert brief(course.take(encode("DELETED", item("a", 101)))) == ["DELETED a"]
    assert asked(course) == {**WATCH, "resourceVersion": "101"}


def test_a_streamed_state_that_breaks_begins_again_and_tells_nothing_twice() -> None:
    course = Course()
    course.ask()
    list(course.take(encode("ADDED", item("a", 3))))
    list(course.take(encode("ADDED", item("b", 4))))
    assert "sendInitialEvents" in asked(course)
    assert brief(course.take(encode("ADDED", item("b", 4)))) == []
    assert brief(course.take(encode("ADDED", item("c", 5)))) == ["ADDED c initial"]
    assert brief(course.take(bookmark(9, end=True))) == ["DELETED a initial", "synced 9"]


def test_a_listed_state_in_pages() -> None:
    course = Course(initial="list")
    assert asked(course) == {"limit": "500"}
    assert brief(course.listed(page(5, item("a", 1), more="next"))) == ["ADDED a initial"]
    assert asked(course) == {"limit": "500", "continue": "next"}
    assert brief(course.listed(page(5, item("b", 2)))) == ["ADDED b initial", "synced 5"]
    assert asked(course) == {**WATCH, "resourceVersion": "5"}


def test_listed_objects_are_as_complete_as_watched_ones() -> None:
    (change, _) = Course(initial="list").listed(page(5, item("a", 1)))
    assert isinstance(change, Change)
    assert (change.object["kind"], change.object["apiVersion"]) == ("Pod", "v1")


def test_a_list_that_expires_between_its_pages_comes_in_one_piece() -> None:
    course = Course(initial="list")
    course.ask()
    list(course.listed(page(5, item("a", 1), item("b", 2), more="next")))
    assert asked(course)["continue"] == "next"
    assert course.expired()
    assert asked(course) == {}
    assert brief(course.listed(page(9, item("b", 2)))) == ["DELETED a initial", "synced 9"]


def test_any_version_is_a_list_that_may_be_old_but_only_the_first_time() -> None:
    course = Course("0")
    assert asked(course) == {"resourceVersion": "0"}
    list(course.listed(page(5)))
    assert course.expired()
    assert asked(course) == {"limit": "500"}


def test_servers_that_do_not_stream() -> None:
    course = Course()
    course.ask()
    streamed = course.streams_state
    assert course.list_instead()
    assert (streamed, course.streams_state) == (True, False)
    assert asked(course) == {"limit": "500"}
    assert not Course(initial="stream").list_instead()


def test_a_version_that_is_too_old_is_a_comparison() -> None:
    course = Course(initial="list")
    course.ask()
    list(course.listed(page(5, item("same", 1), item("changed", 2), item("gone", 3), item("new-uid", 4, "one"))))
    list(course.take(encode("ADDED", item("added", 6))))
    list(course.take(encode("DELETED", item("same-again", 7))))
    assert course.expired()
    assert course.synced, "the first state is complete, and stays so"
    course.ask()
    again = page(90, item("same", 1), item("changed", 80), item("new-uid", 81, "two"), item("new", 82))
    assert brief(course.listed(again)) == [
        "MODIFIED changed relisted",
        "DELETED new-uid relisted",
        "ADDED new-uid relisted",
        "ADDED new relisted",
        "DELETED added relisted",
        "DELETED gone relisted",
        "relisted 90",
    ]
    assert asked(course) == {**WATCH, "resourceVersion": "90"}


def test_what_has_vanished_is_told_as_it_was_last_seen() -> None:
    course = Course(initial="list")
    list(course.listed(page(5, item("a", 1, data="old"))))
    list(course.take(encode("MODIFIED", item("a", 6, data="new"))))
    course.expired()
    course.ask()
    (deleted, _) = course.listed(page(9))
    assert isinstance(deleted, Change)
    assert (deleted.type, deleted.object["data"]) == ("DELETED", "new")


LAST: dict[str, Callable[[Course, dict[str, Any]], Any]] = {
    "listed": lambda course, last: course.listed(page(5, last)),
    "streamed": lambda course, last: [*course.take(encode("ADDED", last)), *course.take(bookmark(5, end=True))],
}


@pytest.mark.parametrize("way", LAST)
@pytest.mark.parametrize("replaced", [False, True], ids=["vanished", "replaced"])
def test_what_is_told_of_last_is_as_it_came_whatever_became_of_what_was_handed_out(way: str, replaced: bool) -> None:
    course = Course(initial="list" if way == "listed" else "stream")
    course.ask()
    last = item("a", 1, kind="Pod", apiVersion="v1", spec={"size": 1.5, "words": ["ä", "\ud800", None, 2**63]})
    (first, _) = LAST[way](course, deepcopy(last))
    assert isinstance(first, Change)
    assert first.object == last
    first.object.clear()
    course.expired()
    course.list_instead()
    course.ask()
    deleted, *_ = course.listed(page(9, *[item("a", 8, uid="another")] * replaced))
    assert deleted == Change("DELETED", last, relisted=True)


def test_a_row_that_has_vanished_is_told_as_a_table() -> None:
    course = Course(initial="list")
    table = {"kind": "Table", "metadata": {"resourceVersion": "5"}, "columnDefinitions": [{"name": "Name"}]}
    row = {"cells": ["a"], "object": item("a", 1)}
    list(course.listed({**table, "rows": [row]}))
    course.expired()
    course.ask()
    (deleted, _) = course.listed({**table, "rows": []})
    expected = {"kind": "Table", "columnDefinitions": [{"name": "Name"}], "rows": [row]}
    assert deleted == Change("DELETED", expected, relisted=True)


def test_bookmarks_move_on() -> None:
    course = Course("7")
    assert brief(course.take(bookmark(50))) == ["bookmark 50"]
    assert asked(course)["resourceVersion"] == "50"


def test_a_bookmark_within_a_streamed_state_is_no_end() -> None:
    course = Course()
    course.ask()
    assert brief(course.take(bookmark(50))) == []
    assert course.version == ""


def test_types_of_the_future_are_left_out() -> None:
    assert brief(Course("7").take(encode("INVENTED", item("a", 9)))) == []


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"metadata": {}},
        {"metadata": {"resourceVersion": 5}},
        {"metadata": {"resourceVersion": "5"}, "items": 5},
    ],
)
def test_what_is_no_list(wrong: Any) -> None:
    with pytest.raises(ValueError, match="no list"):
        list(Course(initial="list").listed(wrong))


def test_an_empty_list_of_go_is_null() -> None:
    assert brief(
        Course(initial="list").listed({"kind": "PodList", "metadata": {"resourceVersion": "5"}, "items": None})
    ) == ["synced 5"]


class Mirror:
    """A cluster, and the state as the events tell it."""

    def __init__(self, streamed: bool) -> None:
        self.streamed = streamed
        self.course = Course(initial="stream" if streamed else "list")
        self.state: dict[str, dict[str, Any]] = {}
        self.told: dict[str, str] = {}
        self.version = 1

    def apply(self, told: Any) -> None:
        for change in told:
            if isinstance(change, Change):
                name = change.object["metadata"]["name"]
                assert (change.type == "ADDED") == (name not in self.told)
                if change.type == "DELETED":
                    del self.told[name]
                else:
                    self.told[name] = change.object["metadata"]["resourceVersion"]

    def relist(self) -> None:
        self.course.expired()
        self.course.ask()
        if self.streamed:
            for each in self.state.values():
                self.apply(self.course.take(encode("ADDED", each)))
            self.apply(self.course.take(bookmark(self.version, end=True)))
        else:
            self.apply(self.course.listed(page(self.version, *self.state.values())))

    def change(self, name: str, delete: bool) -> RawEvent | None:
        """Something happens to an object; nothing happens to one that is not there."""
        self.version += 1
        before = self.state.pop(name, None)
        if before is None and delete:
            return None
        uid = f"u{self.version}" if before is None else before["metadata"]["uid"]
        after = item(name, self.version, uid)
        if not delete:
            self.state[name] = after
        return encode("DELETED" if delete else "ADDED" if before is None else "MODIFIED", after)


Edits = st.lists(
    st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from(["told", "missed", "relist"])), max_size=30
)


@given(Edits, st.booleans())
def test_whatever_is_missed_the_told_state_is_the_state(edits: list[tuple[str, bool, str]], streamed: bool) -> None:
    """Objects come, change and go; some changes are missed, each time until a re-list."""
    mirror = Mirror(streamed)
    mirror.relist()
    connected = True
    for name, delete, fate in edits:
        event = mirror.change(name, delete)
        connected = connected and fate != "missed"
        if fate == "relist":
            mirror.relist()
            connected = True
        elif connected and event is not None:
            mirror.apply(mirror.course.take(event))
    mirror.relist()
    assert mirror.told == {name: each["metadata"]["resourceVersion"] for name, each in mirror.state.items()}
