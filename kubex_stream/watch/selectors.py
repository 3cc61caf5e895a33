"""Selectors, checked before they are sent: what the server would not understand is said here, and says where."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ("field_selector_text", "label_selector_text")

_KEY: Final = r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?/)?[a-zA-Z0-9](?:[-\w.]*[a-zA-Z0-9])?"
_VALUE: Final = r"(?:[a-zA-Z0-9](?:[-\w.]*[a-zA-Z0-9])?)?"
_TERM: Final = re.compile(
    rf"\s*(?:!\s*{_KEY}|{_KEY}|{_KEY}\s*(?:==|=|!=)\s*{_VALUE}|{_KEY}\s*[<>]\s*-?\d+"
    rf"|{_KEY}\s+(?:in|notin)\s*\(\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\))\s*",
    re.ASCII,
)
_COMMA: Final = re.compile(r",(?![^(]*\))")
_FIELD: Final = re.compile(r"[^=!,\s\\]+(?:==|!=|=)(?:[^=!,\\]|\\[,=\\])*")
_FIELD_COMMA: Final = re.compile(r"(?<!\\),")


def label_selector_text(selector: str | Mapping[str, str]) -> str:
    """``selector`` as the server takes it.

    :param selector: as ``app=web,tier in (a, b),!old``, or the labels that are wanted
    :raises TypeError: neither text nor a mapping of texts
    :raises ValueError: the server would not understand it
    """
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
        selector = {key: re.sub(r"([\\,=])", r"\\\1", value) for key, value in selector.items()}
    text = _text(selector, "field_selector")
    for term in _FIELD_COMMA.split(text) if text.strip() else ():
        if not _FIELD.fullmatch(term.strip()):
            raise ValueError(
                f"{term.strip()!r} is no term of a field selector; there are path=value and path!=value, as in "
                "metadata.name=web,status.phase!=Running"
            )
    return text


def _text(selector: str | Mapping[str, str], what: str) -> str:
    if isinstance(selector, Mapping):
        selector = ",".join(f"{key}={value}" for key, value in selector.items())
    if not isinstance(selector, str):
        raise TypeError(f"{what} must be a string or a mapping, not {type(selector).__name__}")
    return selector
