"""The part of JSONPath that a wait understands."""

from __future__ import annotations

from typing import Any

import pytest

from kubex_stream.watch.jsonpath import as_text, json_path

POD = {
    "metadata": {"labels": {"app.kubernetes.io/name": "web", "a": "b"}},
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "False"}],
        "containers": [{"name": "a", "ready": True}, {"name": "b", "ready": False}],
    },
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("{.status.phase}", ["Running"]),
        (".status.phase", ["Running"]),
        ("status.phase", ["Running"]),
        ("{ .status.phase }", ["Running"]),
        ("{.status['phase']}", ["Running"]),
        (r"{.metadata.labels.app\.kubernetes\.io/name}", ["web"]),
        ('{.metadata.labels["app.kubernetes.io/name"]}', ["web"]),
        ("{.status.containers[0].name}", ["a"]),
        ("{.status.containers[-1].name}", ["b"]),
        ("{.status.containers[-3].name}", []),
        ("{.status.containers[9].name}", []),
        ("{.status.containers[*].ready}", [True, False]),
        ("{.metadata.labels.*}", ["web", "b"]),
        ('{.status.conditions[?(@.type=="Ready")].status}', ["True"]),
        ("{.status.conditions[?(@.type!='Ready')].status}", ["False"]),
        ("{.status.containers[?(@.ready==true)].name}", ["a"]),
        ("{.status.nothing.there}", []),
        ("{.status.phase.deeper}", []),
        ("{.status.phase[0]}", []),
    ],
)
def test_paths(path: str, found: list[Any]) -> None:
    assert json_path(path)(POD) == found


@pytest.mark.parametrize("path", ["", "{}", "{..phase}", "{.a[1:2]}", "{.a[?(@.b>1)]}", "{.a", "{.a} {.b}", "{.a[]}"])
def test_what_is_none(path: str) -> None:
    with pytest.raises(ValueError, match=r"is no JSONPath.*one is {\.status\.phase}"):
        json_path(path)


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false"), (None, ""), (5, "5"), ("a", "a")])
def test_texts(value: Any, text: str) -> None:
    assert as_text(value) == text
