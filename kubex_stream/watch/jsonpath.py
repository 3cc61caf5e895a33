"""The part of kubectl's JSONPath that asks one question of one object.

    {.status.phase}   .spec.containers[0].image   {.metadata.labels.app\\.kubernetes\\.io/name}   {.metadata.labels['a.b']}
    {.status.conditions[?(@.type=="Ready")].status}   {.status.containerStatuses[*].ready}

No recursive descent, slices or unions: a condition that needs them is better written in Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

__all__ = ("JsonPath", "json_path")

JsonPath = Callable[[Any], list[Any]]
_Step = Callable[[Any], Iterable[Any]]

_FIELD: Final = re.compile(r"\.((?:[^.\[\]\\{}\s]|\\.)+)")
_QUOTED: Final = re.compile(r"\[\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")\s*\]")
_INDEX: Final = re.compile(r"\[\s*(-?\d+|\*)\s*\]")
_FILTER: Final = re.compile(
    r"\[\?\(\s*@((?:\.(?:[^.\[\]\\{}\s=!]|\\.)+)+)\s*(==|!=)\s*(\"[^\"]*\"|'[^']*'|[\w.-]+)\s*\)\]"
)


def json_path(text: str) -> JsonPath:
    """What finds the values that a path leads to.

    :raises ValueError: it is none, or none of this part
    """
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
    if inner and inner[0] not in ".[":
        inner = f".{inner}"
    steps, place = [], 0
    while place < len(inner):
        found = _step(inner, place)
        if found is None:
            raise ValueError(
                f"{text!r} is no JSONPath that can be waited for, from {inner[place:]!r} on; one is {{.status.phase}}"
            )
        step, place = found
        steps.append(step)
    if not steps:
        raise ValueError(f"{text!r} is no JSONPath; one is {{.status.phase}}")
    return lambda document: _walk([document], steps)


def _walk(values: list[Any], steps: Iterable[_Step]) -> list[Any]:
    for step in steps:
        values = [each for value in values for each in step(value)]
    return values


def _step(text: str, place: int) -> tuple[_Step, int] | None:
    if match := _FIELD.match(text, place):
        name = re.sub(r"\\(.)", r"\1", match[1])
        return (_every if name == "*" else _field(name)), match.end()
    if match := _QUOTED.match(text, place):
        return _field(re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2])), match.end()
    if match := _INDEX.match(text, place):
        return (_every if match[1] == "*" else _index(int(match[1]))), match.end()
    if match := _FILTER.match(text, place):
        return _filter(json_path(match[1]), match[2] == "==", match[3].strip("\"'")), match.end()
    return None


def _field(name: str) -> _Step:
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else []


def _index(number: int) -> _Step:
    return lambda value: value[number:][:1] if isinstance(value, list) and -len(value) <= number else []


def _every(value: Any) -> Iterator[Any]:
    yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _filter(path: JsonPath, equal: bool, wanted: str) -> _Step:
    def chosen(value: Any) -> Iterator[Any]:
        for each in value if isinstance(value, list) else ():
            if any((as_text(found) == wanted) is equal for found in path(each)):
                yield each

    return chosen


def as_text(value: Any) -> str:
    """A value as kubectl writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
