"""Selectors are checked before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest

from kubex_stream.watch.selectors import field_selector_text, label_selector_text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app=web",
        "app==web",
        "app!=web",
        "app = web , tier != cache",
        "app=",
        "app",
        "!app",
        "! app",
        "tier in (a, b),x notin (c)",
        "app.kubernetes.io/name=my-app_1.2",
        "size>5,size<-1",
        "x in (,a)",
    ],
)
def test_label_selectors(text: str) -> None:
    assert label_selector_text(text) == text


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("app=web,,x", ""),
        ("=web", "=web"),
        ("app=web=x", "app=web=x"),
        ("app in a", "app in a"),
        ("app in (a", "app in (a"),
        ("app is web", "app is web"),
        ("app=my web", "app=my web"),
        ("a/b/c=1", "a/b/c=1"),
        ("app=-x", "app=-x"),
        ("ok=1,&evil", "&evil"),
    ],
)
def test_what_is_no_label_selector_names_the_term(text: str, term: str) -> None:
    with pytest.raises(ValueError, match="is no term of a label selector; there are key=value") as caught:
        label_selector_text(text)
    assert str(caught.value).startswith(repr(term))


@pytest.mark.parametrize(
    "text", ["", "metadata.name=web", "status.phase!=Running,spec.nodeName==a", r"x=a\,b", "metadata.name="]
)
def test_field_selectors(text: str) -> None:
    assert field_selector_text(text) == text


@pytest.mark.parametrize("text", ["metadata.name", "=x", "a=b,", "a=b=c", "!a"])
def test_what_is_no_field_selector(text: str) -> None:
    with pytest.raises(ValueError, match="is no term of a field selector; there are path=value"):
        field_selector_text(text)


def test_mappings() -> None:
    assert label_selector_text({"app": "web", "tier": "a"}) == "app=web,tier=a"
    assert field_selector_text({"metadata.name": "a,b=c"}) == r"metadata.name=a\,b\=c"
    with pytest.raises(ValueError, match="is no term"):
        label_selector_text({"app": "not a value"})


@pytest.mark.parametrize("labels", [{"app": "a,b=c"}, {"app": "a)"}, {"a=b": "c"}, {"!app": ""}, {"": "a"}])
def test_a_label_of_a_mapping_is_one_term(labels: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is no term of a label selector: keys and values have"):
        label_selector_text(labels)


@pytest.mark.parametrize("wrong", [{"a": 5}, {"a": None}, {5: "a"}])
def test_mappings_of_other_things(wrong: Any) -> None:
    with pytest.raises(TypeError, match="the keys and values of label_selector must be strings"):
        label_selector_text(wrong)
    with pytest.raises(TypeError, match="the keys and values of field_selector must be strings"):
        field_selector_text(wrong)


@pytest.mark.parametrize("wrong", [5, ["app=web"], b"app=web"])
def test_other_types(wrong: Any) -> None:
    with pytest.raises(TypeError, match="label_selector must be a string or a mapping"):
        label_selector_text(wrong)
