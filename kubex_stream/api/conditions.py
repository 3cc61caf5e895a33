"""What can be waited for, in kubectl's words."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubex_stream.watch.jsonpath import as_text, json_path

__all__ = ("Condition", "parse_condition")

#: A path and what follows it.  In one without braces, == and != belong to a filter.
_PATH: Final = re.compile(r"(\{.*\}|(?:[^={]|==|(?<=!)=)*)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that an object has or has not.

    :ivar text: as it was given
    :ivar holds: whether an object has it
    :ivar deletion: it is that the object is gone
    :ivar creation: it is that the object is there
    :ivar final: a pod that has ended will not come to it any more
    """

    text: str
    holds: Callable[[Mapping[str, Any]], bool]
    deletion: bool = False
    creation: bool = False
    final: bool = False


def parse_condition(text: str) -> Condition:
    """``Ready``, ``Running``, ``condition=Ready=False``, ``phase=Running``, ``jsonpath={.status.podIP}``,
    ``jsonpath={.status.phase}=Running``, ``delete``, ``create``.

    :raises TypeError: no string
    :raises ValueError: none of these
    """
    if not isinstance(text, str):
        raise TypeError(f"condition must be a string, as 'Ready', not {type(text).__name__}")
    if not text:
        raise ValueError("condition is empty; name one, as 'Ready'")
    kind, equals, rest = text.partition("=")
    word = kind.lower()
    if word in ("delete", "deleted") and not equals:
        return Condition(text, lambda _: False, deletion=True)
    if word == "create" and not equals:
        return Condition(text, lambda _: True, creation=True)
    if word == "jsonpath" and equals:
        return Condition(text, _path_holds(rest))
    name, second, value = rest.partition("=")
    if word == "phase" and name and not second:
        return Condition(text, lambda item: _has_phase(item, name), final=True)
    if word == "condition" and name and (value or not second):
        wanted = value or "True"
        return Condition(text, lambda item: _has_condition(item, name, wanted), final=wanted.lower() == "true")
    if equals:
        raise ValueError(
            f"{text!r} cannot be waited for; there are 'Ready' and other conditions, 'Running' and other phases, 'condition=NAME=VALUE', "
            "'phase=NAME', 'jsonpath={.PATH}=VALUE', 'delete' and 'create'"
        )
    return Condition(text, lambda item: _has_phase(item, text) or _has_condition(item, text, "True"), final=True)


def _path_holds(text: str) -> Callable[[Mapping[str, Any]], bool]:
    inner, rest = _PATH.fullmatch(text).groups()  # type: ignore[union-attr]
    path = json_path(inner)
    if rest:
        wanted = rest[1:].strip("\"'")
        if not rest.startswith("=") or not wanted:
            raise ValueError(
                f"{text!r} cannot be waited for, as {rest!r} says no value; write {inner}=VALUE, or leave it out"
            )
        return lambda item: any(as_text(found) == wanted for found in path(item))
    return lambda item: any(found not in (None, "") for found in path(item))


def _status(item: Mapping[str, Any]) -> Mapping[str, Any]:
    status = item.get("status")
    return status if isinstance(status, dict) else {}


def _has_phase(item: Mapping[str, Any], name: str) -> bool:
    return str(_status(item).get("phase", "")).lower() == name.lower()


def _has_condition(item: Mapping[str, Any], name: str, value: str) -> bool:
    current = (item.get("metadata") or {}).get("generation")
    for entry in _status(item).get("conditions") or ():
        if str(entry.get("type", "")).lower() == name.lower():
            observed = entry.get("observedGeneration")
            stale = isinstance(observed, int) and isinstance(current, int) and observed < current
            return not stale and str(entry.get("status", "")).lower() == value.lower()
    return False
