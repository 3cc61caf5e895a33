"""One named entry of a kubeconfig, read key by key, with errors that name the file, the entry and the key.

Only keys that are asked for are looked at: a kubeconfig may hold anything else.  As in kubectl, null and empty mean "not given", and a
value of the wrong type is an error rather than a guess.  No error shows a value: many of them are secrets.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from kubex_stream.errors import ConfigurationError

__all__ = ("Entry",)

_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "a mapping"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A cluster, a user or a context: ``body`` is what stands under the key of that name."""

    kind: str
    name: str
    file: str
    base: Path
    body: Mapping[str, object] = field(repr=False)
    prefix: str = ""

    @property
    def label(self) -> str:
        """How errors call this entry."""
        return f"{self.kind} {self.name!r} in {self.file}"

    def error(self, text: str) -> ConfigurationError:
        """An error about this entry."""
        return ConfigurationError(f"{self.label}: {text}")

    def text(self, key: str) -> str | None:
        value = self.body.get(key)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self._wrong(key, value, "a string; put it in quotes")
        return value

    def required(self, key: str, why: str) -> str:
        value = self.text(key)
        if value is None:
            raise self.error(f"{self.prefix}{key} is missing; {why}")
        return value

    def flag(self, key: str) -> bool:
        value = self.body.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self._wrong(key, value, "true or false, without quotes")
        return value

    def items(self, key: str) -> list[object]:
        value = self.body.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(key, value, "a list")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        values = self.items(key)
        for value in values:
            if not isinstance(value, str):
                raise self._wrong(key, value, "a list of strings; put each in quotes")
        return tuple(cast("list[str]", values))

    def child(self, key: str) -> Entry | None:
        """The mapping under ``key``, as an entry of the same name."""
        value = self.body.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self._wrong(key, value, "a mapping")
        return self.inside(f"{key}.", value)

    def inside(self, prefix: str, body: Mapping[str, object]) -> Entry:
        return Entry(self.kind, self.name, self.file, self.base, body, self.prefix + prefix)

    def children(self, key: str) -> list[Entry]:
        """The mappings in the list under ``key``."""
        found = []
        for index, value in enumerate(self.items(key)):
            if not isinstance(value, Mapping):
                raise self._wrong(f"{key}[{index}]", value, "a mapping")
            found.append(self.inside(f"{key}[{index}].", value))
        return found

    def path(self, key: str) -> Path | None:
        """A file name; a relative one starts at the folder of the kubeconfig that holds the entry.  ``~`` is an ordinary character."""
        value = self.text(key)
        return None if value is None else self.base / value

    def data(self, key: str) -> bytes | None:
        """Bytes in base64; white space inside is ignored."""
        value = self.text(key)
        if value is None:
            return None
        try:
            return base64.b64decode("".join(value.split()), validate=True)
        except (binascii.Error, ValueError):
            if value.lstrip().startswith("-----BEGIN"):
                text = "is PEM text, but must be base64 of it; encode it (base64 -w0), or put it into a file and name that with"
            else:
                text = "is not valid base64; encode the PEM file again (base64 -w0), or name the file itself with"
            raise self.error(f"{self.prefix}{key} {text} {key.removesuffix('-data')}") from None

    def _wrong(self, key: str, value: object, expected: str) -> ConfigurationError:
        kind = _KINDS.get(type(value), type(value).__name__)
        return self.error(f"{self.prefix}{key} is {kind}, but must be {expected}")
