"""Reading objects whose classes are not known here: attribute by attribute, with errors that name what was wrong and no value."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubex_stream.configuration.tls import read_file
from kubex_stream.errors import ConfigurationError

__all__ = ("Reader", "package_of")

#: What ``tempfile`` calls its files unless told otherwise: those packages write data there that OpenSSL wants in files.
_TEMPORARY = re.compile(r"tmp[a-z0-9_]{8}")


def package_of(value: object) -> str:
    """The top-level package of a value's class."""
    return type(value).__module__.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Reader:
    """An object of another package.

    :ivar value: the object
    :ivar label: how errors call it
    """

    value: object
    label: str

    def __repr__(self) -> str:
        return f"Reader({self.label!r})"

    def error(self, text: str) -> ConfigurationError:
        return ConfigurationError(f"{self.label}: {text}")

    def get(self, name: str) -> object:
        """An attribute; None where there is none."""
        found: object = getattr(self.value, name, None)
        return found

    def text(self, name: str) -> str | None:
        """A string; what is empty counts as not given."""
        found = self.get(name)
        if found is None or found == "":
            return None
        if not isinstance(found, str):
            raise self.error(f"{name} is a {type(found).__name__}, not a string")
        return found

    def mapping(self, name: str) -> Mapping[object, object]:
        """A mapping of any kind; empty where there is none."""
        found = self.get(name)
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            raise self.error(f"{name} is a {type(found).__name__}, not a mapping")
        return found

    def file(self, name: str, field: str) -> dict[str, object]:
        """A file as fields of a ClientConfiguration.

        A temporary file may be gone before we need it, so its content is taken; any other is read again when it changes.

        :param field: ``server_ca``, ``client_cert`` or ``client_key``
        """
        found = self.get(name)
        if found is None or found == "":
            return {}
        if not isinstance(found, str | os.PathLike):
            raise self.error(f"{name} is a {type(found).__name__}, not the name of a file")
        path = Path(os.path.abspath(os.fsdecode(found)))
        if _TEMPORARY.fullmatch(path.name):
            return {f"{field}_data": read_file(path, f"{self.label}: {name}")}
        return {f"{field}_file": path}
