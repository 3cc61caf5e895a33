"""Selectors, checked before they are sent: what the server would not understand is said here, and says where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ("field_selector_text", "label_selector_text")

_KEY: Final = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[a-zA-Z0-9](?:[-\w.]*[a-zA-Z0-9])?"
_VALUE: Final = r"(?:[a-zA-Z0-9](?:[-\w.]*[a-zA-Z0-9])?)?"
_TERM: Final = re.compile(
    rf"\s*(?:!\s*{_KEY}|{_KEY}|{_KEY}\s*(?:==|=|!=)\s*{_VALUE}|{_KEY}\s*[<>]\s*-?\d+"
    rf"|{_KEY}\s+(?:in|notin)\s*\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\))\s*",
    re.ASCII,
)
_LABEL_KEY: Final = re.compile(_KEY, re.ASCII)
_LABEL_VALUE: Final = re.compile(_VALUE, re.ASCII)
_COMMA: Final = re.compile(r",(?![^(]*\))")
_FIELD: Final = re.compile(r"[^=!,\s\\]+(?:==|!=|=)(?:[^=!,\\]|\\[,=\\])*")
_SPECIAL: Final = re.compile(r"([\\,=])")
_ESCAPED: Final = r"\\\1"
_FIELD_COMMA: Final = re.compile(r"(?<!\\),")


def label_selector_text(selector: str | Mapping[str, str]) -> str:
    """``selector`` as the server takes it.

    :param selector: as ``app=web,tier in (a, b),!old``, or the labels that are wanted
    :raises TypeError: neither text nor a mapping of texts
    :raises ValueError: the server would not understand it
    """
    if isinstance(selector, Mapping):
        return ",".join(_label(key, value) for key, value in _pairs(selector, "label_selector"))
    text = _text(selector, "label_selector")
    for term in _COMMA.split(text) if text.strip() else ():
        if not _TERM.fullmatch(term):
            raise ValueError(
                f"{term.strip()!r} is no term of a label selector; there are key=value, key!=value, key in (a, b), key notin (a, b), key and "
                "!key, with commas between them"
            )
    return text


def field_selector_text(selector: str | Mapping[str, str]) -> str:
    """``selector`` as the server takes it.

    :param selector: as ``metadata.name=web,status.phase!=Running``, or the fields that are wanted
    :raises TypeError: neither text nor a mapping of texts
    :raises ValueError: the server would not understand it
    """
    if isinstance(selector, Mapping):
        pairs = _pairs(selector, "field_selector")
        selector = ",".join(f"{key}={_SPECIAL.sub(_ESCAPED, value)}" for key, value in pairs)
    text = _text(selector, "field_selector")
    for term in _FIELD_COMMA.split(text) if text.strip() else ():
        if not _FIELD.fullmatch(term.strip()):
            raise ValueError(
                f"{term.strip()!r} is no term of a field selector; there are path=value and path!=value, as in "
                "metadata.name=web,status.phase!=Running"
            )
    return text


def _label(key: str, value: str) -> str:
    # Each by itself: a value with a comma in it would be a second term, which parses.
    if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
        raise ValueError(
            f"{f'{key}={value}'!r} is no term of a label selector: keys and values have letters, digits, '-', '_' and '.', begin and end with "
            "a letter or digit, and before a key there may be a prefix and '/'"
        )
    return f"{key}={value}"


def _pairs(selector: Mapping[Any, Any], what: str) -> list[tuple[str, str]]:
    for key, value in selector.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"the keys and values of {what} must be strings, not as in {key!r}: {value!r}")
    return list(selector.items())


def _text(selector: str, what: str) -> str:
    if not isinstance(selector, str):
        raise TypeError(f"{what} must be a string or a mapping, not {type(selector).__name__}")
    return selector
