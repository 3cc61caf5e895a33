"""Names: what can be none is told before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubex_stream.api.request import check_name, pod_path, pods_path

GOOD = ["a", "web-0", "1", "my-pod-7d4b9c-x2x5z", "a" * 63]
BAD = [
    "",
    " ",
    "/",
    "..",
    ".",
    "a/b",
    "../secrets",
    "a%2Fb",
    "a?b",
    "a#b",
    "Web",
    "WEB-0",
    "a_b",
    "-a",
    "a-",
    "a b",
    "a\n",
    "\na",
    "a\0",
    "ä",
    "٣",
    "a\\b",
]
KINDS = ["pod", "container", "namespace"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", GOOD)
def test_a_name_is_given_back(kind: str, name: str) -> None:
    assert check_name(kind, name) == name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD, ids=repr)
def test_what_no_object_can_be_called_is_refused(kind: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"is not the name of a {kind}: at most"):
        check_name(kind, name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [None, 5, b"web-0", ["web-0"], {"name": "web-0"}, True], ids=repr)
def test_what_is_no_string_is_a_type_error(kind: str, name: object) -> None:
    with pytest.raises(TypeError, match=f"the {kind} must be a string, not {type(name).__name__}"):
        check_name(kind, name)


def test_dots_and_length_are_for_pods() -> None:
    assert check_name("pod", "web.example.com") == "web.example.com"
    assert len(check_name("pod", "a" * 253)) == 253
    for name in ("a" * 254, "a..b", ".a", "a.", "a.-b"):
        with pytest.raises(ValueError, match="name of a pod"):
            check_name("pod", name)
    for kind in ("container", "namespace"):
        for name in ("a.b", "a" * 64):
            with pytest.raises(ValueError, match=f"name of a {kind}: at most 63"):
                check_name(kind, name)


def test_a_very_long_name_makes_a_short_text() -> None:
    with pytest.raises(ValueError, match="not the name") as caught:
        check_name("pod", "a" * 10**6)
    assert len(str(caught.value)) < 500


def test_paths() -> None:
    assert pods_path("default") == "/api/v1/namespaces/default/pods"
    assert pod_path("default", "web-0") == "/api/v1/namespaces/default/pods/web-0"
    assert pod_path("default", "web-0", "exec") == "/api/v1/namespaces/default/pods/web-0/exec"


@pytest.mark.parametrize("name", ["", "..", None])
def test_a_path_never_loses_a_segment(name: Any) -> None:
    calls: list[Callable[[], str]] = [
        lambda: pods_path(name),
        lambda: pod_path(name, "web-0"),
        lambda: pod_path("default", name),
        lambda: pod_path("default", name, "exec"),
    ]
    for call in calls:
        with pytest.raises((ValueError, TypeError), match=r"pod|namespace"):
            call()
