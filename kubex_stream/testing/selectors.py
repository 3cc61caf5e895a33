"""Label and field selectors, as far as a list or watch of pods takes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ("Filter", "SelectorError", "object_filter", "pod_filter")

_SET: Final = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)")
_EQUALITY: Final = re.compile(r"([^=!\s]+)\s*(==|=|!=)\s*([^=!\s]*)")
_EXISTS: Final = re.compile(r"(!?)\s*([^=!\s(),]+)")
_SPLIT: Final = re.compile(r",(?![^(]*\))")
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "metadata.name": ("metadata", "name"),
    "metadata.namespace": ("metadata", "namespace"),
    "status.phase": ("status", "phase"),
    "spec.nodeName": ("spec", "nodeName"),
}

#: The fields that are indexed for each resource besides those of the metadata.
_INDEXED: Final[Mapping[str, tuple[str, ...]]] = {
    "pods": ("status.phase", "spec.nodeName"),
    "namespaces": ("status.phase",),
}
Filter = Callable[[Mapping[str, Any]], bool]


class SelectorError(ValueError):
    """A selector that the API server does not take either; the text is what it would say."""


def _label_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    if match := _SET.fullmatch(term):
        key, operator, listed = match[1], match[2], {value.strip() for value in match[3].split(",")}
        if operator == "in":
            return lambda labels: labels.get(key) in listed
        return lambda labels: labels.get(key) not in listed
    if match := _EQUALITY.fullmatch(term):
        key, wanted = match[1], match[3]
        if match[2] == "!=":
            return lambda labels: labels.get(key) != wanted
        return lambda labels: labels.get(key) == wanted
    if match := _EXISTS.fullmatch(term):
        key, absent = match[2], bool(match[1])
        return lambda labels: (key in labels) is not absent
    raise SelectorError(f"unable to parse requirement: {term}")


def _field_term(term: str, resource: str) -> Filter:
    match = _EQUALITY.fullmatch(term)
    if match is None:
        raise SelectorError(f"invalid selector: '{term}'; can't understand '{term}'")
    path, wanted, equal = _FIELDS.get(match[1]), match[3], match[2] != "!="
    if path is None or (path[0] != "metadata" and match[1] not in _INDEXED.get(resource, ())):
        raise SelectorError(f"field label not supported: {match[1]}")
    outer, inner = path
    return lambda item: (item[outer].get(inner, "") == wanted) is equal


def pod_filter(labels: str, fields: str) -> Filter:
    """As :func:`object_filter`, of pods."""
    return object_filter(labels, fields, "pods")


def object_filter(labels: str, fields: str, resource: str) -> Filter:
    """Which objects of a resource the two selectors choose; empty ones choose all.

    :raises SelectorError: one of them is none
    """
    label_terms = [_label_term(term.strip()) for term in _SPLIT.split(labels) if term.strip()]
    field_terms = [_field_term(term.strip(), resource) for term in fields.split(",") if term.strip()]

    def chosen(item: Mapping[str, Any]) -> bool:
        found = item["metadata"].get("labels", {})
        return all(term(found) for term in label_terms) and all(term(item) for term in field_terms)

    return chosen
