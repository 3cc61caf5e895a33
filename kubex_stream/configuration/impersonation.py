"""Acting as somebody else: the ``as`` keys of a kubeconfig, and the headers that they become."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from kubex_stream.errors import ConfigurationError

__all__ = ("Impersonation",)

#: What may stand in a header name (RFC 9110, 5.6.2), except ``%``, which here starts an escape.
_HEADER_NAME = frozenset(b"!#$&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def _escape(key: str) -> str:
    """Percent-encode, byte by byte, what a header name cannot hold; the server undoes it."""
    return "".join(chr(byte) if byte in _HEADER_NAME else f"%{byte:02X}" for byte in key.encode())


def _value(value: str) -> str:
    if _CONTROL.search(value):
        raise ConfigurationError(
            "impersonation: a name, uid, group or extra value holds a line break or another control character"
        )
    return value


def _extra(value: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    return {key: tuple(_value(item) for item in items) for key, items in value.items()}


class Impersonation(BaseModel):
    """Whom to act as.  The real user needs the RBAC verb ``impersonate`` on each of these.

    :ivar user: the user name, e.g. ``jane`` or ``system:serviceaccount:ns:name``
    :ivar uid: the user's unique id
    :ivar groups: the groups; with none, the server adds only ``system:authenticated``
    :ivar extra: further facts about the user, each with one or more values
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: Annotated[str, Field(min_length=1), AfterValidator(_value)]
    uid: Annotated[str, AfterValidator(_value)] | None = None
    groups: Annotated[Sequence[Annotated[str, AfterValidator(_value)]], AfterValidator(tuple)] = ()
    extra: Annotated[Mapping[str, Sequence[str]], AfterValidator(_extra)] = Field(default_factory=dict)

    def headers(self) -> list[tuple[str, str]]:
        """The request headers; a name comes once for each value.

        ref: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation
        """
        found = [("Impersonate-User", self.user)]
        if self.uid:
            found.append(("Impersonate-Uid", self.uid))
        found += [("Impersonate-Group", group) for group in self.groups]
        for key, values in self.extra.items():
            found += [(f"Impersonate-Extra-{_escape(key)}", value) for value in values]
        return found
